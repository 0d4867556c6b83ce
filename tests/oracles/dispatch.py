"""The dispatch loop, slow and plain, written from DESIGN: readiness by looking, no counters, no tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PlainOp:
    """One op: the values that it waits for, reads and writes, and what it calls."""

    waits: Sequence[int]
    inputs: Sequence[int]
    outputs: Sequence[int]
    call: Callable[..., Any]


def run(ops: Sequence[PlainOp], seeds: dict[int, Any]) -> tuple[dict[int, Any], list[int]]:
    """Run what can run; returns every value that was ever written, and the order of the ops.

    An op runs when all that it waits for is written; ops that become ready by one write do so in order of index; an op
    that raises writes nothing.
    """
    values: dict[int, Any] = {}
    order: list[int] = []
    queue: list[int] = [i for i, op in enumerate(ops) if not op.waits]
    for value, item in seeds.items():
        _write(ops, values, queue, order, value, item)
    while queue:
        i = queue.pop(0)
        order.append(i)
        op = ops[i]
        try:
            results = op.call(*(None if v < 0 else values[v] for v in op.inputs))
        except ArithmeticError:
            continue
        for value, item in zip(op.outputs, results, strict=True):
            if value >= 0:
                _write(ops, values, queue, order, value, item)
    return values, order


def _write(
    ops: Sequence[PlainOp], values: dict[int, Any], queue: list[int], order: list[int], value: int, item: Any
) -> None:
    values[value] = item
    for i, op in enumerate(ops):
        if value in op.waits and all(v in values for v in op.waits) and i not in queue and i not in order:
            queue.append(i)
