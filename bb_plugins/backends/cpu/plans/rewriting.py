"""Puts fewer ops in the place of several: what is normalised by constants, and gradients of filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Node
from bb_plugins.backends.cpu.plans.program import ABSENT, FILTER_GRADIENT, Draft, Op


def rewritten(draft: Draft, ops: Sequence[Op], outputs: Sequence[int]) -> list[Op]:
    """Rewrite a program. What nobody reads any more is left in it."""
    book = _Book(ops, outputs)
    found = []
    for op in ops:
        better = _gradient(draft, op, book) or _folded(draft, op, book)
        found.append(better)
        book.makers |= dict.fromkeys((v for v in better.outputs if v), better)
    return found


class _Book:
    """Who makes each value, and how many read it."""

    def __init__(self, ops: Sequence[Op], outputs: Sequence[int]) -> None:
        self.makers: dict[int, Op] = {v: op for op in ops for v in op.outputs if v}
        self.readers: dict[int, int] = {}
        for v in (*(v for op in ops for v in op.inputs), *outputs):
            self.readers[v] = self.readers.get(v, 0) + 1

    def only(self, value: int, name: str) -> Op | None:
        """Return the op of a name that makes a value which one op reads; None if it is another."""
        op = self.makers.get(value)
        return op if op is not None and op.node.op == name and self.readers.get(value, 0) == 1 else None


def _folded(draft: Draft, op: Op, book: _Book) -> Op:
    """Let a convolution by constant filters scale and shift itself, in place of a BatchNormalization behind it."""
    if (
        op.node.op != "BatchNormalization"
        or op.node.flag("training_mode")
        or any(op.outputs[1:])
        or op.node.version < 9
    ):
        return op
    conv = book.only(op.inputs[0], "Conv")
    if conv is None or not draft.known[op.outputs[0]].is_f32():
        return op
    bias = conv.inputs[2] if len(conv.inputs) > 2 else ABSENT
    parts = [draft.known[v].constant for v in (conv.inputs[1], *op.inputs[1:5])]
    if any(p is None for p in parts) or (bias and draft.known[bias].constant is None):
        return op
    weight, scale, shift, mean, variance = parts
    factor = scale / np.sqrt(variance + np.float32(op.node.get("epsilon", 1e-5)))
    first = 0 if bias == ABSENT else draft.known[bias].constant
    filters = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
    moved = (shift + (first - mean) * factor).astype(np.float32)
    inputs = (conv.inputs[0], draft.constant(filters), draft.constant(moved))
    return Op(conv.node, conv.kernel, inputs, op.outputs)


def _gradient(draft: Draft, op: Op, book: _Book) -> Op | None:
    """Find the gradient of a convolution's filters, as training writes it: a convolution of transposed tensors."""
    if op.node.op != "Transpose" or not _swaps(op.node):
        return None
    at = op.inputs[0]
    cut = book.only(at, "Slice")
    conv = book.only(cut.inputs[0] if cut is not None else at, "Conv")
    if conv is None or len(conv.inputs) != 2 or int(conv.node.get("group", 1)) != 1:
        return None
    sides = [book.makers.get(v) for v in conv.inputs]
    if not all(s is not None and s.node.op == "Transpose" and _swaps(s.node) for s in sides):
        return None
    if cut is not None and not _cuts_ends(draft, cut):
        return None
    rank = len(draft.known[op.outputs[0]].shape or ()) - 2
    pads = conv.node.ints("pads") or (0,) * 2 * rank
    if conv.node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    attributes: dict[str, Any] = {
        "before": pads[:rank],
        "strides": conv.node.ints("dilations") or (1,) * rank,
        "dilations": conv.node.ints("strides") or (1,) * rank,
    }
    x, grad = (s.inputs[0] for s in sides if s is not None)

    def in_python(x: Any, grad: Any) -> Any:
        made = conv.kernel(*(s.kernel(v) for s, v in zip(sides, (x, grad), strict=True) if s is not None))
        made = made[0] if type(made) is tuple else made
        return op.kernel(made if cut is None else cut.kernel(made, *[draft.known[v].constant for v in cut.inputs[1:]]))

    return Op(Node(FILTER_GRADIENT, attributes, op.node.opsets), in_python, (x, grad), op.outputs)


def _swaps(node: Node) -> bool:
    """Say whether a Transpose swaps the first two axes alone."""
    perm = node.ints("perm")
    return perm is not None and perm[:2] == (1, 0) and perm[2:] == tuple(range(2, len(perm)))


def _cuts_ends(draft: Draft, cut: Op) -> bool:
    """Say whether a Slice leaves out the ends of axes alone."""
    given = [None if v == ABSENT else draft.known[v].constant for v in cut.inputs[1:]]
    starts, steps = given[0], given[3] if len(given) > 3 else None
    return starts is not None and not starts.any() and (steps is None or bool((steps == 1).all()))
