"""Losses, written behind a graph's output in standard ops. All are means over what they compare.

| name               | prediction            | labels                        | loss of one                            |
|--------------------|-----------------------|-------------------------------|----------------------------------------|
| `cross_entropy`    | (b, ..., classes)     | (b, ...) integers             | -log softmax(prediction)[label]        |
| `mse`              | any                   | of the same shape             | (p - y)^2                              |
| `l1`               | any                   | of the same shape             | abs(p - y)                             |
| `huber`            | any                   | of the same shape             | 0.5 d^2 below 1, d - 0.5 from there on |
| `bce_with_logits`  | any                   | of the same shape, 0 to 1     | softplus(p) - p y                      |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx
from onnx import TensorProto, helper

from bb_core.errors import NotDifferentiable
from bb_plugins.training.tape import Tape, tape_of

LABELS = "labels"
LOSS = "loss"


def with_loss(graph: onnx.GraphProto, opset: int, loss: str) -> onnx.GraphProto:
    """Return a graph with the further input `labels` and, as its only output, the mean loss of its first output.

    Raises:
        NotDifferentiable: the output does not have a shape that the loss takes.
    """
    tape = tape_of(graph, opset, "loss/")
    prediction = graph.output[0].name
    known = tape.known[prediction]
    if not known.is_float:
        raise NotDifferentiable(f"the output {prediction!r} has no floating point elements")
    dims = tape.dims(prediction)
    classes = loss == "cross_entropy"
    if classes and len(dims) < 2:
        raise NotDifferentiable(
            f"cross_entropy was given an output of shape {dims}",
            expected="(b, ..., classes)",
            hint="choose another loss",
        )
    labels = helper.make_tensor_value_info(
        LABELS, TensorProto.INT64 if classes else known.elem, dims[:-1] if classes else dims
    )
    tape.known[LABELS] = type(known)(labels.type.tensor_type.elem_type, dims[:-1] if classes else dims)
    value = LOSSES[loss](tape, prediction)
    tape.nodes.append(helper.make_node("Identity", [value], [LOSS], LOSS))
    out = helper.make_tensor_value_info(LOSS, known.elem, ())
    have = {i.name for i in graph.initializer}
    more = [onnx.numpy_helper.from_array(v, k) for k, v in tape.constants.items() if k not in have]
    return helper.make_graph(
        tape.nodes, graph.name or "loss", [*graph.input, labels], [out], [*graph.initializer, *more]
    )


def _cross_entropy(t: Tape, p: str) -> str:
    rank = t.rank(p)
    if rank > 2:  # classes stand last; the op wants them second
        p = t.op("Transpose", p, perm=[0, rank - 1, *range(1, rank - 1)])
    return t.op("SoftmaxCrossEntropyLoss", p, LABELS, reduction="mean")


def _mean(t: Tape, x: str) -> str:
    return t.op("ReduceMean", x, keepdims=0)


def _difference(t: Tape, p: str) -> str:
    return t.op("Sub", p, LABELS, like=p)


def _mse(t: Tape, p: str) -> str:
    off = _difference(t, p)
    return _mean(t, t.op("Mul", off, off, like=p))


def _l1(t: Tape, p: str) -> str:
    return _mean(t, t.op("Abs", _difference(t, p), like=p))


def _huber(t: Tape, p: str) -> str:
    off = _difference(t, p)
    size = t.op("Abs", off, like=p)
    near = t.op("Mul", t.number(0.5, p), t.op("Mul", off, off, like=p), like=p)
    far = t.op("Sub", size, t.number(0.5, p), like=p)
    return _mean(t, t.op("Where", t.op("Less", size, t.number(1, p)), near, far, like=p))


def _bce_with_logits(t: Tape, p: str) -> str:
    """max(p, 0) - p y + log(1 + e^-|p|), which does not overflow."""
    small = t.op("Exp", t.op("Neg", t.op("Abs", p, like=p), like=p), like=p)
    log = t.op("Log", t.op("Add", t.number(1, p), small, like=p), like=p)
    linear = t.op("Sub", t.op("Relu", p, like=p), t.op("Mul", p, LABELS, like=p), like=p)
    return _mean(t, t.op("Add", linear, log, like=p))


LOSSES: Final[dict[str, Callable[[Tape, str], str]]] = {
    "bce_with_logits": _bce_with_logits,
    "cross_entropy": _cross_entropy,
    "huber": _huber,
    "l1": _l1,
    "mse": _mse,
}
