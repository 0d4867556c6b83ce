"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.table import Grads, rule
from bb_plugins.training.tape import Tape, attributes_of


def axes_of(t: Tape, node: onnx.NodeProto) -> list[int]:
    """The axes that a node reduces, counted from the front; they must be constants."""
    rank = t.rank(node.input[0])
    given = attributes_of(node)
    axes = given.get("axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        known = t.constants.get(node.input[1])
        if known is None:
            raise NotDifferentiable(f"the axes of {node.op_type} are not a constant")
        axes = known.tolist()
    if not axes and not given.get("noop_with_empty_axes", 0):
        axes = range(rank)
    return [int(axis) % rank for axis in axes or ()]


def _kept(t: Tape, node: onnx.NodeProto, name: str) -> str:
    """Put back the axes that were dropped."""
    if attributes_of(node).get("keepdims", 1):
        return name
    axes = axes_of(t, node)
    return t.op("Unsqueeze", name, t.ints(*axes)) if axes else name


def _rest(node: onnx.NodeProto) -> list[None]:
    return [None] * (len(node.input) - 1)


@rule("ReduceSum")
def _sum(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    assert grads[0] is not None
    return [t.op("Expand", _kept(t, node, grads[0]), t.shape(x), like=x), *_rest(node)]


@rule("ReduceMean")
def _mean(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    assert grads[0] is not None
    axes = axes_of(t, node)
    dims = t.dims(x)
    spread = t.op("Expand", _kept(t, node, grads[0]), t.shape(x), like=x)
    if all(isinstance(dims[axis], int) for axis in axes):
        count = t.number(1 / float(np.prod([dims[axis] for axis in axes])), x)  # type: ignore[arg-type]
        return [t.op("Mul", spread, count, like=x), *_rest(node)]
    lengths = t.op("Gather", t.shape(x), t.ints(*axes))
    count = t.op("Cast", t.op("ReduceProd", lengths, keepdims=0), to=t.known[x].elem)
    return [t.op("Div", spread, count, like=x), *_rest(node)]


@rule("ReduceMax", "ReduceMin")
def _extreme(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Those that are as large as the result share the gradient."""
    x, y = node.input[0], node.output[0]
    assert grads[0] is not None
    if not axes_of(t, node):
        return [grads[0], *_rest(node)]
    hit = t.op("Cast", t.op("Equal", x, _kept(t, node, y)), to=t.known[x].elem, like=x)
    count = t.op("ReduceSum", hit, t.ints(*axes_of(t, node)), keepdims=1)
    share = t.op("Div", _kept(t, node, grads[0]), count)
    return [t.op("Mul", share, hit, like=x), *_rest(node)]


@rule("ReduceSumSquare")
def _sum_square(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    assert grads[0] is not None
    twice = t.op("Mul", t.number(2, x), x, like=x)
    return [t.op("Mul", _kept(t, node, grads[0]), twice, like=x), *_rest(node)]


@rule("ReduceL1")
def _l1(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    assert grads[0] is not None
    return [t.op("Mul", _kept(t, node, grads[0]), t.op("Sign", x, like=x), like=x), *_rest(node)]


@rule("ReduceL2")
def _l2(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Along x; at 0, where there is no one direction, nothing."""
    x, y = node.input[0], _kept(t, node, node.output[0])
    assert grads[0] is not None
    length = t.op("Where", t.op("Equal", y, t.number(0, x)), t.number(1, x), y)
    share = t.op("Div", _kept(t, node, grads[0]), length)
    return [t.op("Mul", share, x, like=x), *_rest(node)]


@rule("ReduceLogSumExp")
def _log_sum_exp(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    assert grads[0] is not None
    share = t.op("Exp", t.op("Sub", x, _kept(t, node, y), like=x), like=x)
    return [t.op("Mul", _kept(t, node, grads[0]), share, like=x), *_rest(node)]


@rule("ReduceLogSum")
def _log_sum(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    assert grads[0] is not None
    share = t.op("Div", _kept(t, node, grads[0]), t.op("Exp", _kept(t, node, y)))
    return [t.op("Expand", share, t.shape(x), like=x), *_rest(node)]


@rule("ReduceProd")
def _prod(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """The product of the others; where an element is 0 it is not told, as by dividing."""
    x, y = node.input[0], node.output[0]
    assert grads[0] is not None
    others = t.op("Div", _kept(t, node, y), x, like=x)
    return [t.op("Mul", _kept(t, node, grads[0]), others, like=x), *_rest(node)]


@rule("CumSum")
def _cum_sum(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    given = attributes_of(node)
    x = node.input[0]
    back = t.op(
        "CumSum",
        grads[0],
        node.input[1],
        exclusive=given.get("exclusive", 0),
        reverse=1 - given.get("reverse", 0),
        like=x,
    )
    return [back, None]
