"""Softmax, and the losses that ONNX has as ops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from bb_plugins.training.rules.table import Grads, rule, saves
from bb_plugins.training.tape import Tape, attributes_of

saves("SoftmaxCrossEntropyLoss", 2)


@rule("Softmax")
def _softmax(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    axis = attributes_of(node).get("axis", -1)
    weighted = t.op("Mul", grads[0], y, like=x)
    total = t.op("ReduceSum", weighted, t.ints(axis), keepdims=1)
    return [t.op("Sub", weighted, t.op("Mul", y, total, like=x), like=x)]


@rule("LogSoftmax")
def _log_softmax(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    axis = attributes_of(node).get("axis", -1)
    total = t.op("ReduceSum", grads[0], t.ints(axis), keepdims=1)
    return [t.op("Sub", grads[0], t.op("Mul", t.op("Exp", y, like=x), total, like=x), like=x)]


@rule("SoftmaxCrossEntropyLoss")
def _cross_entropy(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """(p - 1 at the label) for each example, weighted as the loss is. From log p, the op's second output."""
    x = node.input[0]
    labels = _shares(t, node, grads[0])
    p = t.op("Exp", node.output[1], like=x)
    left = t.op("Sub", p, _one_hot(t, node), like=x)
    flow = t.op("Mul", left, labels, like=x)
    if len(grads) > 1 and grads[1] is not None:  # log p is used elsewhere too
        total = t.op("ReduceSum", grads[1], t.ints(1), keepdims=1)
        flow = t.op("Add", flow, t.op("Sub", grads[1], t.op("Mul", p, total, like=x), like=x), like=x)
    return [flow, *([None] * (len(node.input) - 1))]


@rule("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    flow = t.op("Neg", t.op("Mul", _one_hot(t, node), _shares(t, node, grads[0]), like=x), like=x)
    return [flow, *([None] * (len(node.input) - 1))]


def _one_hot(t: Tape, node: onnx.NodeProto) -> str:
    x, labels = node.input[:2]
    depth = t.dims(x)[1]
    deep = (
        t.constant(depth, np.int64) if isinstance(depth, int) else t.op("Gather", t.shape(x), t.constant(1, np.int64))
    )
    return t.op("OneHot", labels, deep, t.constant([0, 1], t.dtype(x)), axis=1, like=x)


def _shares(t: Tape, node: onnx.NodeProto, grad: str | None) -> str:
    """What each example's loss counts, (N, 1, d...): its weight, over the sum of all where the loss is a mean."""
    x, labels = node.input[:2]
    assert grad is not None
    given = attributes_of(node)
    reduction = given.get("reduction", "mean")
    ignored = given.get("ignore_index")
    weights = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if ignored is None and weights is None:
        if reduction == "none":
            return t.op("Unsqueeze", grad, t.ints(1))
        if reduction == "sum":
            return grad
        count = t.op("Cast", t.op("Size", labels), to=t.known[x].elem)
        return t.op("Div", grad, count)
    counts = None
    if ignored is not None:
        other = t.op("Equal", labels, t.constant(ignored, t.dtype(labels)))
        counts = t.op("Cast", t.op("Not", other), to=t.known[x].elem)
        labels = t.op("Where", other, t.constant(0, t.dtype(labels)), labels)
    if weights is not None:
        of_label = t.op("Gather", weights, labels)
        counts = of_label if counts is None else t.op("Mul", of_label, counts)
    assert counts is not None
    if reduction == "mean":
        counts = t.op("Div", counts, t.op("ReduceSum", counts, keepdims=0))
    return t.op("Unsqueeze", t.op("Mul", counts, grad), t.ints(1))
