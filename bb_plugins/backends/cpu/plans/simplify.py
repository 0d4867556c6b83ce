"""Leaves out ops whose outputs nobody reads, and ops that would work out again what there is already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.plans.program import Op

_DRAWS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def without_repeats(ops: Sequence[Op], kept: Collection[int]) -> list[Op]:
    """Let ops read the first of equal values. Those in `kept` stay, as they are outputs of the graph."""
    same: dict[int, int] = {}
    seen: dict[Any, Op] = {}
    found = []
    for given in ops:
        op = Op(given.node, given.kernel, tuple(same.get(v, v) for v in given.inputs), given.outputs)
        key = _key(op)
        first = None if key is None else seen.setdefault(key, op)
        if first is None or first is op or any(v in kept for v in op.outputs):
            found.append(op)
            continue
        same |= {v: u for v, u in zip(op.outputs, first.outputs, strict=True) if v}
    return found


def _key(op: Op) -> Any:
    """What two ops must share to give the same; None for one that may differ in each run."""
    if op.node.op in _DRAWS or op.node.domain or "captures" in op.node.attributes:
        return None
    wanted = tuple(bool(v) for v in op.outputs)
    return (op.node.op, _hashable(op.node.attributes), op.inputs, wanted)


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((k, _hashable(v)) for k, v in value.items()))
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return repr(value)


def without_unread(ops: Sequence[Op], outputs: Collection[int]) -> list[Op]:
    """Leave out what no output depends on."""
    wanted = set(outputs)
    found = []
    for op in reversed(ops):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            found.append(op)
    return found[::-1]
