"""Ops that move elements, or only show them in another shape."""

from __future__ import annotations

from typing import Final

import numpy as np

from bb_plugins.backends.cpu.plans.lowered.common import Lower, all_f32, copy, itemsize, shape_of
from bb_plugins.backends.cpu.plans.program import (
    ABSENT,
    Draft,
    Op,
    bits,
    broadcast_strides,
    contiguous_strides,
)


def _view(draft: Draft, op: Op) -> bool:
    """Let the output be the same memory."""
    source = op.inputs[0]
    if any(op.outputs[1:]) or draft.root(source) in draft.made_by_python:
        return False
    if draft.known[source].dtype != draft.known[op.outputs[0]].dtype:
        return False
    draft.alias(op.outputs[0], source)
    return True


def _dropout(draft: Draft, op: Op) -> bool:
    trained = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    flag = draft.known[trained].constant if trained else False
    return flag is not None and not bool(np.any(flag)) and _view(draft, op)


def _transpose(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    shape, size = shape_of(draft, source), itemsize(draft, source, out)
    if not size:
        return False
    perm = op.node.ints("perm") or tuple(reversed(range(len(shape))))
    strides = contiguous_strides(shape)
    onto = [shape[p] for p in perm]
    copy(draft, onto, size, (draft.at(source), [strides[p] for p in perm]), (draft.at(out), contiguous_strides(onto)))
    return True


def _expand(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    size = itemsize(draft, source, out)
    if not size:
        return False
    shape = shape_of(draft, out)
    strides = broadcast_strides(shape_of(draft, source), shape)
    copy(draft, shape, size, (draft.at(source), strides), (draft.at(out), contiguous_strides(shape)))
    return True


def _concat(draft: Draft, op: Op) -> bool:
    out = op.outputs[0]
    size = itemsize(draft, *op.inputs, out)
    if not size:
        return False
    whole = shape_of(draft, out)
    axis = int(op.node.get("axis", 1)) % len(whole)
    strides, at = contiguous_strides(whole), 0
    for source in op.inputs:
        shape = shape_of(draft, source)
        place = draft.at(out, at * strides[axis] * size)
        copy(draft, shape, size, (draft.at(source), contiguous_strides(shape)), (place, strides))
        at += shape[axis]
    return True


def _slice(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    size = itemsize(draft, source, out)
    given = [None if v == ABSENT else draft.known[v].constant for v in op.inputs[1:]]
    if not size or op.node.version < 10:
        return False
    starts, _, axes, steps = [*given, None, None][:4]
    assert starts is not None
    shape = shape_of(draft, source)
    along = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    strides, at = contiguous_strides(shape), 0
    read = list(strides)
    for i, axis in enumerate(along):
        step = 1 if steps is None else int(steps[i])
        if step < 1:
            return False
        first = int(starts[i])
        first = min(max(first + shape[axis] if first < 0 else first, 0), shape[axis])
        at += first * strides[axis]
        read[axis] = strides[axis] * step
    onto = shape_of(draft, out)
    copy(draft, onto, size, (draft.at(source, at * size), read), (draft.at(out), contiguous_strides(onto)))
    return True


def _split(draft: Draft, op: Op) -> bool:
    source = op.inputs[0]
    size = itemsize(draft, source, *[v for v in op.outputs if v])
    if not size or not all(op.outputs) or op.node.version < 13:
        return False
    shape = shape_of(draft, source)
    axis = int(op.node.get("axis", 0)) % len(shape)
    strides, at = contiguous_strides(shape), 0
    for out in op.outputs:
        onto = shape_of(draft, out)
        place = draft.at(source, at * strides[axis] * size)
        copy(draft, onto, size, (place, strides), (draft.at(out), contiguous_strides(onto)))
        at += onto[axis]
    return True


def _pad(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.moving import fill

    source, out = op.inputs[0], op.outputs[0]
    if op.node.text("mode", "constant") != "constant" or op.node.version < 11 or not all_f32(draft, source, out):
        return False
    given = [None if v == ABSENT else draft.known[v].constant for v in op.inputs[1:]]
    pads, value, axes = [*given, None, None][:3]
    if len(op.inputs) > 2 and op.inputs[2] != ABSENT and value is None:
        return False
    assert pads is not None
    shape, whole = shape_of(draft, source), shape_of(draft, out)
    along = range(len(shape)) if axes is None else [int(a) % len(shape) for a in axes]
    half = len(pads) // 2
    if any(int(p) < 0 for p in pads):
        return False
    strides = contiguous_strides(whole)
    at = sum(int(before) * strides[axis] for before, axis in zip(pads[:half], along, strict=True))
    number = 0.0 if value is None else float(value.reshape(-1)[0])
    draft.step(fill.address, [draft.known[out].size, bits(number), draft.at(out)])
    copy(draft, shape, 4, (draft.at(source), contiguous_strides(shape)), (draft.at(out, at * 4), strides))
    return True


def _scatter(draft: Draft, op: Op) -> bool:
    """ScatterElements of one axis, adding up."""
    from bb_plugins.backends.cpu.kernels.moving import scatter_add

    source, places, updates = op.inputs
    shape = shape_of(draft, source)
    if op.node.text("reduction", "none") != "add" or len(shape) != 1 or not all_f32(draft, source, updates):
        return False
    if draft.root(places) not in draft.indices:
        return False  # its kernel checks them
    count = draft.known[updates].size
    draft.step(
        scatter_add.address,
        [shape[0], count, draft.at(source), draft.at(places), draft.at(updates), draft.at(op.outputs[0])],
    )
    return True


def _one_hot(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.moving import one_hot

    labels, _, values = op.inputs
    known = draft.known[values]
    out = shape_of(draft, op.outputs[0])
    last = int(op.node.get("axis", -1)) in (-1, len(out) - 1)
    if not last or known.constant is None or not all_f32(draft, op.outputs[0]) or draft.known[labels].dtype != np.int64:
        return False
    off, on = (float(v) for v in known.constant)
    rows = draft.known[labels].size
    draft.step(one_hot.address, [rows, out[-1], bits(off), bits(on), draft.at(labels), draft.at(op.outputs[0])])
    return True


MOVING: Final[dict[str, Lower]] = {
    "Dropout": _dropout,
    "Flatten": _view,
    "Identity": _view,
    "Reshape": _view,
    "Squeeze": _view,
    "Unsqueeze": _view,
    "Concat": _concat,
    "Expand": _expand,
    "OneHot": _one_hot,
    "Pad": _pad,
    "ScatterElements": _scatter,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
