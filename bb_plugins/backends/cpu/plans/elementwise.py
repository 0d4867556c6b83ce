"""Ops that work element by element: joined into groups, each of which runs tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.plans.program import ABSENT, Known, Op, bits

Operand = int | float
"""A register by number, or a constant."""


@dataclass(slots=True)
class Tape:
    """The steps of one group, on registers that are each written once.

    Attributes:
        steps: Name of the step, its operands.
        constants: Constant -> the register that holds it.
    """

    steps: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    constants: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def register(self) -> int:
        """Return a new register."""
        self.count += 1
        return self.count - 1

    def constant(self, value: float) -> int:
        """Return the register of a constant."""
        key = bits(value)
        if key not in self.constants:
            self.constants[key] = self.register()
        return self.constants[key]

    def do(self, name: str, *operands: Operand) -> int:
        """Write a step; a float is a constant."""
        given = tuple(self.constant(o) if isinstance(o, float) else o for o in operands)
        out = self.register()
        self.steps.append((name, (out, *given)))
        return out


Write = Callable[[Tape, Op, Sequence[int]], int]
"""Writes an op's steps, given the registers of its inputs (-1 for an absent one), and returns that of its output."""


def _one(name: str) -> Write:
    return lambda tape, op, x: tape.do(name, *x)


def _folded(name: str) -> Write:
    def write(tape: Tape, op: Op, x: Sequence[int]) -> int:
        found = x[0]
        for other in x[1:]:
            found = tape.do(name, found, other)
        return found if len(x) > 1 else tape.do("copy", found)

    return write


def _mean(tape: Tape, op: Op, x: Sequence[int]) -> int:
    return tape.do("mul", _folded("add")(tape, op, x), 1.0 / len(x))


def _clip(tape: Tape, op: Op, x: Sequence[int]) -> int:
    found = x[0]
    if len(x) > 1 and x[1] >= 0:
        found = tape.do("max", found, x[1])
    if len(x) > 2 and x[2] >= 0:
        found = tape.do("min", found, x[2])
    return found if found != x[0] else tape.do("copy", found)


def _leaky(tape: Tape, op: Op, x: Sequence[int]) -> int:
    below = tape.do("mul", x[0], float(op.node.get("alpha", 0.01)))
    return tape.do("where", tape.do("less", x[0], 0.0), below, x[0])


def _elu(tape: Tape, op: Op, x: Sequence[int]) -> int:
    raised = tape.do("sub", tape.do("exp", tape.do("min", x[0], 0.0)), 1.0)
    return tape.do("where", tape.do("less", x[0], 0.0), tape.do("mul", raised, float(op.node.get("alpha", 1.0))), x[0])


def _hard_sigmoid(tape: Tape, op: Op, x: Sequence[int]) -> int:
    scaled = tape.do("mul", x[0], float(op.node.get("alpha", 0.2)))
    moved = tape.do("add", scaled, float(op.node.get("beta", 0.5)))
    return tape.do("min", tape.do("max", moved, 0.0), 1.0)


def _hard_swish(tape: Tape, op: Op, x: Sequence[int]) -> int:
    moved = tape.do("add", tape.do("mul", x[0], 1 / 6), 0.5)
    return tape.do("mul", x[0], tape.do("min", tape.do("max", moved, 0.0), 1.0))


def _swish(tape: Tape, op: Op, x: Sequence[int]) -> int:
    scaled = tape.do("mul", x[0], float(op.node.get("alpha", 1.0)))
    return tape.do("mul", x[0], tape.do("sigmoid", scaled))


def _mish(tape: Tape, op: Op, x: Sequence[int]) -> int:
    return tape.do("mul", x[0], tape.do("tanh", tape.do("softplus", x[0])))


def _softsign(tape: Tape, op: Op, x: Sequence[int]) -> int:
    return tape.do("div", x[0], tape.do("add", tape.do("abs", x[0]), 1.0))


def _gelu(tape: Tape, op: Op, x: Sequence[int]) -> int:
    if op.node.text("approximate", "none") == "none":
        return tape.do("gelu", x[0])
    cubed = tape.do("mul", tape.do("mul", x[0], x[0]), x[0])
    inner = tape.do("mul", tape.do("add", x[0], tape.do("mul", cubed, 0.044715)), float(np.sqrt(2 / np.pi)))
    half = tape.do("mul", x[0], 0.5)
    return tape.do("mul", half, tape.do("add", tape.do("tanh", inner), 1.0))


def _batch_norm(tape: Tape, op: Op, x: Sequence[int]) -> int:
    data, scale, bias, mean, variance = x[:5]
    rest = tape.do("sqrt", tape.do("add", variance, float(op.node.get("epsilon", 1e-5))))
    return tape.do("add", tape.do("mul", tape.do("div", tape.do("sub", data, mean), rest), scale), bias)


_POWERS: Final[dict[float, Callable[[Tape, int], int]]] = {
    -1.0: lambda tape, x: tape.do("reciprocal", x),
    -0.5: lambda tape, x: tape.do("reciprocal", tape.do("sqrt", x)),
    0.5: lambda tape, x: tape.do("sqrt", x),
    1.0: lambda tape, x: tape.do("copy", x),
    2.0: lambda tape, x: tape.do("mul", x, x),
    3.0: lambda tape, x: tape.do("mul", tape.do("mul", x, x), x),
}

_WRITERS: Final[dict[str, Write]] = {
    "Abs": _one("abs"), "Add": _one("add"), "And": _one("and"), "Ceil": _one("ceil"), "Div": _one("div"),
    "Equal": _one("equal"), "Erf": _one("erf"), "Exp": _one("exp"), "Floor": _one("floor"),
    "Greater": _one("greater"), "GreaterOrEqual": _one("greater_equal"), "Less": _one("less"),
    "LessOrEqual": _one("less_equal"), "Log": _one("log"), "Mul": _one("mul"), "Neg": _one("neg"), "Not": _one("not"),
    "Or": _one("or"), "Reciprocal": _one("reciprocal"), "Relu": _one("relu"), "Sigmoid": _one("sigmoid"),
    "Sign": _one("sign"), "Softplus": _one("softplus"), "Sqrt": _one("sqrt"), "Sub": _one("sub"),
    "Tanh": _one("tanh"), "Where": _one("where"),
    "Max": _folded("max"), "Min": _folded("min"), "Sum": _folded("add"), "Mean": _mean,
    "Clip": _clip, "Elu": _elu, "Gelu": _gelu, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
    "LeakyRelu": _leaky, "Mish": _mish, "Softsign": _softsign, "Swish": _swish,
    "BatchNormalization": _batch_norm,
}  # fmt: skip
"""Op -> what writes its steps."""


def writer_of(op: Op, known: Sequence[Known]) -> Write | None:
    """Return what writes an op's steps; None if it is not one that runs tile by tile."""
    out = known[op.outputs[0]]
    if op.node.domain or not (out.is_f32() or out.is_bool()) or any(op.outputs[1:]):
        return None
    if any(v != ABSENT and not (known[v].is_f32() or known[v].is_bool()) for v in op.inputs):
        return None
    match op.node.op:
        case "Cast" | "CastLike":
            source = known[op.inputs[0]]
            if source.is_bool() or out.is_f32():
                return lambda tape, op, x: tape.do("copy", x[0])
            return None
        case "Pow":
            exponent = known[op.inputs[1]].constant
            power = None if exponent is None or exponent.size != 1 else _POWERS.get(float(exponent.reshape(-1)[0]))
            return None if power is None else lambda tape, op, x: power(tape, x[0])
        case "Clip" if op.node.version < 11 or ABSENT in op.inputs[:1]:
            return None
        case "BatchNormalization" if op.node.flag("training_mode") or op.node.version < 9:
            return None
        case "Add" | "Sub" | "Mul" | "Div" | "Equal" | "Greater" | "Less" | "And" | "Or" if op.node.version < 7:
            return None
        case "Gelu" | "Swish" | "Mish" | "HardSwish" | "Max" | "Min" | "Sum" | "Mean" | "Where":
            return _WRITERS[op.node.op]
    return _WRITERS.get(op.node.op)


@dataclass(slots=True)
class Unit:
    """Ops that run together: one, or a group that works element by element."""

    ops: list[Op]
    shape: tuple[int, ...] | None = None
    """Of a group."""


def grouped(ops: Sequence[Op], known: Sequence[Known]) -> list[Unit]:
    """Join ops into groups where that makes no circle, and put all in an order in which they can run."""
    units: list[Unit] = []
    makers: dict[int, int] = {}
    feeds: list[set[int]] = []  # for each unit those that it reads from
    for op in ops:
        sources = {makers[v] for v in op.inputs if v in makers}
        shape = known[op.outputs[0]].shape if writer_of(op, known) else None
        joined = None
        if shape is not None:
            for unit in sorted(sources, reverse=True):
                if units[unit].shape == shape and not _reaches(feeds, sources - {unit}, unit):
                    joined = unit
                    break
        if joined is None:
            joined = len(units)
            units.append(Unit([], shape))
            feeds.append(set())
        units[joined].ops.append(op)
        feeds[joined] |= sources - {joined}
        makers |= dict.fromkeys((v for v in op.outputs if v), joined)
    return [units[i] for i in _in_order(feeds)]


def _reaches(feeds: Sequence[set[int]], starts: set[int], wanted: int) -> bool:
    """Say whether a unit is among those that some units depend on."""
    seen, todo = set(starts), list(starts)
    while todo:
        for source in feeds[todo.pop()]:
            if source == wanted:
                return True
            if source not in seen:
                seen.add(source)
                todo.append(source)
    return False


def _in_order(feeds: Sequence[set[int]]) -> list[int]:
    waiting = [len(f) for f in feeds]
    readers: list[list[int]] = [[] for _ in feeds]
    for unit, sources in enumerate(feeds):
        for source in sources:
            readers[source].append(unit)
    ready = [unit for unit, count in enumerate(waiting) if count == 0]
    heapify(ready)
    found = []
    while ready:
        unit = heappop(ready)
        found.append(unit)
        for reader in readers[unit]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, reader)
    assert len(found) == len(feeds)
    return found
