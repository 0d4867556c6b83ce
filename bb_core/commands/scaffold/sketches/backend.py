"""The Backend that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError, did_you_mean


def _relu(x: Any) -> Any:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


_KERNELS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "MatMul": np.matmul,
    "Mul": np.multiply,
    "Relu": _relu,
    "Sub": np.subtract,
}
"""ONNX op -> what computes it."""


@bb.concrete("$package.$Class")
class $Class(bb.roles.Backend):
    """Compute a few ONNX ops by numpy."""

    ops = frozenset(_KERNELS)

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the callable of an ONNX op."""
        if name not in _KERNELS:
            raise RoleError(f"$Class has no op {name!r}", hint=did_you_mean(name, _KERNELS))
        return _KERNELS[name]
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from $package import $Class


def test_bench_relu(row: Any) -> None:
    x = np.linspace(-1, 1, 100_000, dtype=np.float32)
    relu = $Class($Class.Config()).kernel("Relu", {})
    row("Relu of 100,000 x f32", lambda: relu(x), peer=("numpy", lambda: np.maximum(x, 0)))
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import numpy as np

import bb_core as bb
from $package import $Class


class Program(bb.Module):
    compute = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        g.output("y", self.compute.relu(g, x))


def test_a_program_runs_on_it() -> None:
    compiled = bb.Compiler().bind({"compute": $Class}).compile(Program())
    node = bb.install(bb.PeerId.from_int(0), [], compiled, ["Program"])
    node.invoke("Program", {"x": np.asarray([-1, 2], np.float32)}, 0)
    (event,) = node.poll(0).steps
    assert event.value.tolist() == [0.0, 2.0]
'''

SKETCH: Final = Sketch(
    "backend",
    "Computes a few ONNX ops by numpy.",
    _CODE,
    _BENCH,
    _TEST,
)
