"""Ops that work on each element by itself, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.table import Grads, rule
from bb_plugins.training.tape import Tape, attributes_of

Slope = Callable[[Tape, str, str, onnx.NodeProto], str]
"""Of the tape, x, y and the node: dy/dx."""


def _by_slope(*ops: str) -> Callable[[Slope], Slope]:
    """Register an op of one input by its slope."""

    def register(slope: Slope) -> Slope:
        def backward(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
            (grad,) = grads[:1]
            assert grad is not None
            x, y = node.input[0], node.output[0]
            found = t.op("Mul", grad, slope(t, x, y, node), like=x)
            return [found, *([None] * (len(node.input) - 1))]

        rule(*ops)(backward)
        return slope

    return register


# --- one input --------------------------------------------------------------------------------------------------------


@rule("Identity")
def _identity(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    return grads


@rule("Neg")
def _neg(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    return [t.op("Neg", grads[0], like=node.input[0])]


@rule("Cast", "CastLike")
def _cast(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    if not t.known[x].is_float:
        return [None] * len(node.input)
    return [t.op("Cast", grads[0], to=t.known[x].elem, like=x), *([None] * (len(node.input) - 1))]


@_by_slope("Abs")
def _abs(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Sign", x, like=x)


@_by_slope("Exp")
def _exp(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return y


@_by_slope("Log")
def _log(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Reciprocal", x, like=x)


@_by_slope("Sqrt")
def _sqrt(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Div", t.number(0.5, x), y, like=x)


@_by_slope("Reciprocal")
def _reciprocal(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Neg", t.op("Mul", y, y, like=x), like=x)


@_by_slope("Sin")
def _sin(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Cos", x, like=x)


@_by_slope("Cos")
def _cos(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Neg", t.op("Sin", x, like=x), like=x)


@_by_slope("Erf")
def _erf(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    bell = t.op("Exp", t.op("Neg", t.op("Mul", x, x, like=x), like=x), like=x)
    return t.op("Mul", t.number(2 / sqrt(pi), x), bell, like=x)


@_by_slope("Tanh")
def _tanh(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Sub", t.number(1, x), t.op("Mul", y, y, like=x), like=x)


@_by_slope("Sigmoid")
def _sigmoid(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Mul", y, t.op("Sub", t.number(1, x), y, like=x), like=x)


@_by_slope("Softplus")
def _softplus(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Sigmoid", x, like=x)


@_by_slope("Softsign")
def _softsign(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    below = t.op("Add", t.number(1, x), t.op("Abs", x, like=x), like=x)
    return t.op("Reciprocal", t.op("Mul", below, below, like=x), like=x)


def _where_positive(t: Tape, x: str, above: str, below: str) -> str:
    return t.op("Where", t.op("Greater", x, t.number(0, x)), above, below, like=x)


@_by_slope("Relu")
def _relu(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    return t.op("Cast", t.op("Greater", y, t.number(0, x)), to=t.known[x].elem, like=x)


@_by_slope("LeakyRelu")
def _leaky(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    alpha = attributes_of(node).get("alpha", 0.01)
    return _where_positive(t, x, t.number(1, x), t.number(alpha, x))


@_by_slope("ThresholdedRelu")
def _thresholded(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    alpha = attributes_of(node).get("alpha", 1.0)
    return t.op("Cast", t.op("Greater", x, t.number(alpha, x)), to=t.known[x].elem, like=x)


@_by_slope("Elu")
def _elu(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    alpha = attributes_of(node).get("alpha", 1.0)
    return _where_positive(t, x, t.number(1, x), t.op("Add", y, t.number(alpha, x), like=x))


@_by_slope("Selu")
def _selu(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    given = attributes_of(node)
    alpha, gamma = given.get("alpha", 1.67326319217681884765625), given.get("gamma", 1.05070102214813232421875)
    return _where_positive(t, x, t.number(gamma, x), t.op("Add", y, t.number(alpha * gamma, x), like=x))


@_by_slope("Celu")
def _celu(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    alpha = attributes_of(node).get("alpha", 1.0)
    return _where_positive(t, x, t.number(1, x), t.op("Exp", t.op("Div", x, t.number(alpha, x), like=x), like=x))


@_by_slope("HardSigmoid")
def _hard_sigmoid(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    inside = t.op("And", t.op("Greater", y, t.number(0, x)), t.op("Less", y, t.number(1, x)))
    alpha = attributes_of(node).get("alpha", 0.2)
    return t.op("Where", inside, t.number(alpha, x), t.number(0, x), like=x)


@_by_slope("Clip")
def _clip(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    """One inside the limits, and on them: as torch has it."""
    return t.op("Cast", t.op("Equal", x, y), to=t.known[x].elem, like=x)


@_by_slope("Gelu")
def _gelu(t: Tape, x: str, y: str, node: onnx.NodeProto) -> str:
    """The slope of x * Phi(x), or of its approximation by tanh."""
    if attributes_of(node).get("approximate", "none") == "tanh":
        return _gelu_tanh(t, x)
    scaled = t.op("Mul", x, t.number(1 / sqrt(2), x), like=x)
    phi = t.op("Mul", t.number(0.5, x), t.op("Add", t.number(1, x), t.op("Erf", scaled, like=x), like=x), like=x)
    bell = t.op("Exp", t.op("Neg", t.op("Mul", scaled, scaled, like=x), like=x), like=x)
    return t.op("Add", phi, t.op("Mul", x, t.op("Mul", t.number(1 / sqrt(2 * pi), x), bell, like=x), like=x), like=x)


def _gelu_tanh(t: Tape, x: str) -> str:
    a, b = sqrt(2 / pi), 0.044715
    square = t.op("Mul", x, x, like=x)
    bent = t.op("Add", t.number(1, x), t.op("Mul", t.number(b, x), square, like=x), like=x)
    tanh = t.op("Tanh", t.op("Mul", t.number(a, x), t.op("Mul", x, bent, like=x), like=x), like=x)
    slope = t.op("Sub", t.number(1, x), t.op("Mul", tanh, tanh, like=x), like=x)
    inner = t.op("Add", t.number(a, x), t.op("Mul", t.number(3 * a * b, x), square, like=x), like=x)
    left = t.op("Add", t.number(1, x), tanh, like=x)
    right = t.op("Mul", x, t.op("Mul", slope, inner, like=x), like=x)
    return t.op("Mul", t.number(0.5, x), t.op("Add", left, right, like=x), like=x)


# --- two inputs -------------------------------------------------------------------------------------------------------


def _both(t: Tape, node: onnx.NodeProto, left: str | None, right: str | None) -> list[str | None]:
    """Sum what was repeated."""
    out = node.output[0]
    pairs = zip((left, right), node.input, strict=True)
    return [None if g is None or not t.known[x].is_float else t.sum_to(g, out, x) for g, x in pairs]


@rule("Add")
def _add(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    return _both(t, node, grads[0], grads[0])


@rule("Sub")
def _sub(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    return _both(t, node, grads[0], t.op("Neg", grads[0], like=node.output[0]))


@rule("Mul")
def _mul(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    a, b = node.input
    out = node.output[0]
    return _both(t, node, t.op("Mul", grads[0], b, like=out), t.op("Mul", grads[0], a, like=out))


@rule("Div")
def _div(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    b, out = node.input[1], node.output[0]
    left = t.op("Div", grads[0], b, like=out)
    return _both(t, node, left, t.op("Neg", t.op("Mul", left, out, like=out), like=out))


@rule("Pow")
def _pow(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """x^y: y x^(y-1) and x^y log x; where x is not above 0, the exponent gets nothing."""
    x, y = node.input
    out = node.output[0]
    known = t.constants.get(y)
    if known is not None and known.size == 1:  # squares and the like, without the pole at 0
        less = t.constant(known.astype(t.dtype(x)) - 1, t.dtype(x))
        factor = t.constant(known.astype(t.dtype(x)), t.dtype(x))
    else:
        factor = t.op("Cast", y, to=t.known[x].elem) if not t.known[y].is_float else y
        less = t.op("Sub", factor, t.number(1, x))
    slope = t.op("Mul", factor, t.op("Pow", x, less, like=out), like=out)
    left = t.op("Mul", grads[0], slope, like=out)
    if not t.known[y].is_float or known is not None:
        return [t.sum_to(left, out, x), None]
    positive = t.op("Greater", x, t.number(0, x))
    log = t.op("Log", t.op("Where", positive, x, t.number(1, x), like=x), like=x)
    right = t.op("Mul", grads[0], t.op("Mul", out, log, like=out), like=out)
    return _both(t, node, left, right)


@rule("PRelu")
def _prelu(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, slope = node.input
    out = node.output[0]
    above = t.op("Greater", x, t.number(0, x))
    nothing = t.number(0, x)
    left = t.op("Where", above, grads[0], t.op("Mul", grads[0], slope, like=out), like=out)
    right = t.op("Where", above, nothing, t.op("Mul", grads[0], x, like=out), like=out)
    return _both(t, node, left, right)


@rule("Where")
def _where(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    chosen, a, b = node.input
    out = node.output[0]
    nothing = t.number(0, out)
    left, right = (t.op("Where", chosen, *pair, like=out) for pair in ((grads[0], nothing), (nothing, grads[0])))
    return [None, t.sum_to(left, out, a), t.sum_to(right, out, b)]


# --- many inputs ------------------------------------------------------------------------------------------------------


@rule("Sum")
def _sum(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    assert grads[0] is not None
    return [t.sum_to(grads[0], node.output[0], x) for x in node.input]


@rule("Mean")
def _mean(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    out = node.output[0]
    share = t.op("Mul", grads[0], t.number(1 / len(node.input), out), like=out)
    return [t.sum_to(share, out, x) for x in node.input]


@rule("Max", "Min")
def _extreme(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Those that are as large as the result share the gradient."""
    out = node.output[0]
    hits = [t.op("Cast", t.op("Equal", x, out), to=t.known[out].elem, like=out) for x in node.input]
    share = t.op("Div", grads[0], t.add(hits), like=out)
    return [t.sum_to(t.op("Mul", share, hit, like=out), out, x) for hit, x in zip(hits, node.input, strict=True)]


@rule("Dropout")
def _dropout(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Through the mask that the forward pass has drawn, its second output."""
    x, mask = node.input[0], node.output[1]
    ratio = node.input[1] if len(node.input) > 1 and node.input[1] else None
    if ratio is not None and ratio not in t.constants:
        raise NotDifferentiable("the ratio of a Dropout is not a constant")
    known = 0.5 if ratio is None else float(t.constants[ratio])
    kept = t.op("Mul", grads[0], t.op("Cast", mask, to=t.known[x].elem, like=x), like=x)
    return [t.op("Mul", kept, t.number(1 / (1 - known), x), like=x), *([None] * (len(node.input) - 1))]
