"""The steps of elementwise programs: each an expression of up to three float32, from which its loop is made.

What is true is 1, and what is false is 0. NaN goes through, as numpy has it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from bb_plugins.backends.cpu.kernels._jit import Native
from bb_plugins.backends.cpu.kernels.generated import native_of

ELEMENTS: Final = {
    "abs": "abs(a)",
    "add": "a + b",
    "and": "a * b",
    "ceil": "np.ceil(a)",
    "copy": "a",
    "div": "a / b",
    "equal": "select(a == b, ONE, ZERO)",
    "erf": "f.erf(a)",
    "exp": "f.exp(a)",
    "floor": "np.floor(a)",
    "gelu": "f.gelu(a)",
    "greater": "select(a > b, ONE, ZERO)",
    "greater_equal": "select(a >= b, ONE, ZERO)",
    "less": "select(a < b, ONE, ZERO)",
    "less_equal": "select(a <= b, ONE, ZERO)",
    "log": "f.log(a)",
    "max": "select(a >= b, a, select(a != a, a, b))",
    "min": "select(a <= b, a, select(a != a, a, b))",
    "mul": "a * b",
    "neg": "-a",
    "not": "ONE - a",
    "or": "a + b - a * b",
    "reciprocal": "ONE / a",
    "relu": "select(a <= ZERO, ZERO, a)",
    "sigmoid": "f.sigmoid(a)",
    "sign": "select(a > ZERO, ONE, select(a < ZERO, -ONE, a))",
    "softplus": "f.softplus(a)",
    "sqrt": "np.sqrt(a)",
    "sub": "a - b",
    "tanh": "f.tanh(a)",
    "where": "select(a != ZERO, b, c)",
}
"""Name -> what it computes of a, b and c."""

_HEAD: Final = '''"""Made by {maker} for functions {digest}; it is made again when it is missing."""

import numpy as np

from bb_plugins.backends.cpu.kernels import functions as f
from bb_plugins.backends.cpu.kernels._memory import floats, longs, octets, place, select

ZERO, ONE = np.float32(0), np.float32(1)
'''

_LOOP = '''

def {name}(out, first, second, third, n):
    """{expression}"""
    o, x, y, z = floats(out, n), floats(first, n), floats(second, n), floats(third, n)
    for i in range(n):
        a, b, c = x[i], y[i], z[i]
        o[i] = {expression}
'''


@cache
def head(maker: str) -> str:
    """Return the beginning of a source. It names what is called, so that a kernel of other functions is another."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in ("functions.py", "_memory.py", "_jit.py")]
    return _HEAD.format(maker=maker, digest=hashlib.sha256(b"".join(parts)).hexdigest()[:16])


@cache
def element_loop(name: str) -> Native:
    """Return the loop of one step over a tile."""
    source = head(__name__) + _LOOP.format(name=f"each_{name}", expression=ELEMENTS[name])
    return native_of(source, f"each_{name}", 5)


def arity(name: str) -> int:
    """Return how many operands a step has."""
    expression = ELEMENTS[name]
    if "c)" in expression:
        return 3
    return 2 if " b" in expression or "b)" in expression else 1
