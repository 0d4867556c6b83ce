"""Memory by address, for kernels that a plan calls without Python.

Such a kernel takes two addresses: its parameters, int64 each, and the base address of every buffer of the plan. A value
is two parameters: the number of its buffer and the offset in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.extending
from llvmlite import ir
from numba import types

from bb_plugins.backends.cpu.kernels._jit import inlined


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make a function whose LLVM instructions are written by hand; numba's own has no types."""
    return numba.extending.intrinsic(function)


carray: Any = numba.carray  # type: ignore[attr-defined]  # it is there


def _pointer(element: Any) -> Any:
    @intrinsic
    def pointer(typingctx: Any, address: Any) -> Any:
        target = types.CPointer(element)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(target))

        return target(types.int64), generate

    return pointer


_to_floats = _pointer(types.float32)
_to_longs = _pointer(types.int64)
_to_octets = _pointer(types.uint8)


@inlined
def floats(address, count):
    """View `count` float32 at an address."""
    return carray(_to_floats(address), (count,))


@inlined
def longs(address, count):
    """View `count` int64 at an address."""
    return carray(_to_longs(address), (count,))


@inlined
def octets(address, count):
    """View `count` bytes at an address."""
    return carray(_to_octets(address), (count,))


@inlined
def place(params, bases, at):
    """Return the address of the value whose parameters stand at `at`."""
    return bases[params[at]] + params[at + 1]


@intrinsic
def float_of_bits(typingctx: Any, bits: Any) -> Any:
    """Read an int32 as the float32 of the same bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def bits_of_float(typingctx: Any, value: Any) -> Any:
    """Read a float32 as the int32 of the same bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def select(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Return one of two float32. Both are computed: a branch would keep a loop from becoming vector code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(args[0], args[1], args[2])

    return types.float32(types.boolean, types.float32, types.float32), generate


@intrinsic
def call_loop(typingctx: Any, function: Any, out: Any, a: Any, b: Any, c: Any, count: Any) -> Any:
    """Call the function at an address, which takes five int64 and returns nothing."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word] * 5)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate
