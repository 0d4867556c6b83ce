"""Normalisation over features or over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from bb_plugins.training.rules.table import Grads, rule, saves
from bb_plugins.training.tape import Tape, attributes_of

saves("LayerNormalization", 3)


def _mean(t: Tape, x: str, axes: Sequence[int]) -> str:
    return t.op("ReduceMean", x, t.ints(*axes), keepdims=1)


def _centred(t: Tape, x: str, flow: str, normal: str, inverse: str, axes: Sequence[int]) -> str:
    """The gradient through (x - mean) * inverse, whose result is `normal`: flow, less its part along 1 and `normal`."""
    along = t.op("Mul", normal, _mean(t, t.op("Mul", flow, normal, like=x), axes), like=x)
    rest = t.op("Sub", t.op("Sub", flow, _mean(t, flow, axes), like=x), along, like=x)
    return t.op("Mul", inverse, rest, like=x)


def _of_type(t: Tape, name: str, x: str) -> str:
    """The statistics have the type that the op computes in, which may be another one."""
    if name in t.known and t.known[name].elem == t.known[x].elem:
        return name
    return t.op("Cast", name, to=t.known[x].elem)


@rule("LayerNormalization")
def _layer(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Source: Ba, Kiros and Hinton, Layer Normalization (2016). Mean and inverse deviation are the op's outputs."""
    x, scale = node.input[:2]
    mean, inverse = (_of_type(t, name, x) for name in node.output[1:3])
    rank = t.rank(x)
    first = attributes_of(node).get("axis", -1) % rank
    axes = list(range(first, rank))
    normal = t.op("Mul", t.op("Sub", x, mean, like=x), inverse, like=x)
    flow = t.op("Mul", grads[0], scale, like=x)
    left = _centred(t, x, flow, normal, inverse, axes)
    found = [left, t.sum_to(t.op("Mul", grads[0], normal, like=x), x, scale)]
    if len(node.input) > 2 and node.input[2]:
        assert grads[0] is not None
        found.append(t.sum_to(grads[0], x, node.input[2]))
    return found


@rule("BatchNormalization")
def _batch(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Source: Ioffe and Szegedy (2015). In training by the batch's own statistics; else by the kept ones."""
    x, scale, bias, kept_mean, kept_variance = node.input
    given = attributes_of(node)
    rank = t.rank(x)
    axes = [0, *range(2, rank)]
    wide = t.ints(1, -1, *[1] * (rank - 2))

    def channels(name: str) -> str:
        return t.op("Reshape", name, wide)

    epsilon = t.number(given.get("epsilon", 1e-5), x)
    if given.get("training_mode", 0):
        mean = _mean(t, x, axes)
        off = t.op("Sub", x, mean, like=x)
        variance = _mean(t, t.op("Mul", off, off, like=x), axes)
    else:
        off = t.op("Sub", x, channels(kept_mean), like=x)
        variance = channels(kept_variance)
    inverse = t.op("Reciprocal", t.op("Sqrt", t.op("Add", variance, epsilon)))
    normal = t.op("Mul", off, inverse, like=x)
    flow = t.op("Mul", grads[0], channels(scale), like=x)
    if given.get("training_mode", 0):
        left = _centred(t, x, flow, normal, inverse, axes)
    else:
        left = t.op("Mul", flow, inverse, like=x)
    by_scale = t.op("ReduceSum", t.op("Mul", grads[0], normal, like=x), t.ints(*axes), keepdims=0, like=scale)
    by_bias = t.op("ReduceSum", grads[0], t.ints(*axes), keepdims=0, like=bias)
    return [left, by_scale, by_bias, None, None]
