"""Products of matrices, convolutions and their transposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.table import Grads, rule
from bb_plugins.training.rules.windows_of import Windows, windows_of
from bb_plugins.training.tape import Tape, attributes_of


def _swapped(t: Tape, x: str) -> str:
    """Swap the last two axes."""
    rank = t.rank(x)
    return t.op("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


@rule("MatMul")
def _matmul(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """DA = G B', dB = A' G. A vector counts as a matrix of one row, or of one column."""
    a, b = node.input
    grad = grads[0]
    assert grad is not None
    ranks = t.rank(a), t.rank(b)
    if ranks[0] == 1:
        grad = t.op("Unsqueeze", grad, t.ints(-1 if ranks[1] == 1 else -2))
    if ranks[1] == 1:
        grad = t.op("Unsqueeze", grad, t.ints(-1))
    wide_a = t.op("Unsqueeze", a, t.ints(0)) if ranks[0] == 1 else a
    wide_b = t.op("Unsqueeze", b, t.ints(1)) if ranks[1] == 1 else b
    dims_a = (1, *t.dims(a)) if ranks[0] == 1 else t.dims(a)
    dims_b = (*t.dims(b), 1) if ranks[1] == 1 else t.dims(b)
    for name, dims, like in ((wide_a, dims_a, a), (wide_b, dims_b, b)):
        t.known.setdefault(name, type(t.known[like])(t.known[like].elem, dims))
    left = _product(t, grad, _swapped(t, wide_b), dims_a, dims_b, a)
    if ranks[0] > 2 and ranks[1] == 2 and all(isinstance(n, int) for n in dims_b):
        return [left, _of_weight(t, a, grad, b)]
    right = _product(t, _swapped(t, wide_a), grad, dims_b, dims_a, b)
    return [left, right]


def _of_weight(t: Tape, a: str, grad: str, weight: str) -> str:
    """One product for all rows of a stack, where a product for each matrix of it and a sum would do as well."""
    n_in, n_out = t.dims(weight)
    rows = (t.op("Reshape", v, t.constant([-1, n], np.int64)) for v, n in ((a, n_in), (grad, n_out)))
    return t.op("Gemm", *rows, transA=1, like=weight)


def _product(t: Tape, x: str, y: str, dims: tuple[object, ...], other: tuple[object, ...], target: str) -> str:
    """Multiply, sum over the leading axes along which the target was repeated, and give it the target's shape."""
    product = t.op("MatMul", x, y)
    lead = max(len(dims), len(other)) - 2
    mine = (1,) * (lead - len(dims) + 2) + dims[:-2]
    theirs = (1,) * (lead - len(other) + 2) + other[:-2]
    extra = lead - len(dims) + 2
    axes = [i for i in range(lead) if i < extra or (mine[i] == 1 and theirs[i] != 1)]
    if axes:
        product = t.op("ReduceSum", product, t.ints(*axes), keepdims=1)
    if axes or len(dims) != t.rank(target):
        product = t.op("Reshape", product, t.shape(target))
    t.known[product] = t.known[target]
    return product


@rule("Gemm")
def _gemm(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    given = attributes_of(node)
    alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
    flip_a, flip_b = bool(given.get("transA", 0)), bool(given.get("transB", 0))
    a, b = node.input[:2]
    grad = grads[0]
    assert grad is not None
    if flip_a:
        left = t.op("Gemm", b, grad, alpha=alpha, transA=int(flip_b), transB=1, like=a)
    else:
        left = t.op("Gemm", grad, b, alpha=alpha, transB=int(not flip_b), like=a)
    if flip_b:
        right = t.op("Gemm", grad, a, alpha=alpha, transA=1, transB=int(flip_a), like=b)
    else:
        right = t.op("Gemm", a, grad, alpha=alpha, transA=int(not flip_a), like=b)
    if len(node.input) < 3 or not node.input[2]:
        return [left, right]
    scaled = grad if beta == 1 else t.op("Mul", grad, t.number(beta, a), like=node.output[0])
    return [left, right, t.sum_to(scaled, node.output[0], node.input[2])]


@rule("Einsum")
def _einsum(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """The gradient of an operand: what is left of the equation, with the result in its place."""
    equation = str(attributes_of(node)["equation"]).replace(" ", "")
    terms, _, result = equation.partition("->")
    operands = terms.split(",")
    if "..." in equation or "->" not in equation:
        raise NotDifferentiable(
            f"the equation {equation!r} has no gradient rule", expected="one with -> and without ..."
        )
    found: list[str | None] = []
    for i, (mine, name) in enumerate(zip(operands, node.input, strict=True)):
        others = [o for j, o in enumerate(operands) if j != i]
        names = [n for j, n in enumerate(node.input) if j != i]
        there = set(result).union(*others) if others else set(result)
        if len(set(mine)) < len(mine) or not set(mine) <= there:
            raise NotDifferentiable(f"the equation {equation!r} has no gradient rule for its term {mine!r}")
        found.append(t.op("Einsum", grads[0], *names, equation=f"{','.join([result, *others])}->{mine}", like=name))
    return found


# --- convolutions -----------------------------------------------------------------------------------------------------


@rule("Conv")
def _conv(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, weight = node.input[:2]
    grad, windows = grads[0], windows_of(t, node)
    assert grad is not None
    left = _spread(t, grad, weight, x, node.output[0], windows)
    found: list[str | None] = [left, _weight(t, x, grad, weight, windows)]
    if len(node.input) > 2 and node.input[2]:
        axes = [0, *range(2, t.rank(x))]
        found.append(t.op("ReduceSum", grad, t.ints(*axes), keepdims=0, like=node.input[2]))
    return found


def _spread(t: Tape, grad: str, weight: str, x: str, y: str, windows: Windows) -> str:
    """Give each place of x what the windows over it have got."""
    space = range(2, t.rank(x))
    inside = t.lengths(x, space, "the gradient of a convolution")
    outside = t.lengths(y, space, "the gradient of a convolution")
    reach = [
        stride * (out - 1) + (size - 1) * dilation + 1 - sum(pad)
        for stride, out, size, dilation, pad in zip(
            windows.strides, outside, windows.sizes, windows.dilations, windows.pads, strict=True
        )
    ]
    return t.op(
        "ConvTranspose",
        grad,
        weight,
        strides=windows.strides,
        dilations=windows.dilations,
        pads=windows.flat_pads,
        group=windows.group,
        output_padding=[full - have for full, have in zip(inside, reach, strict=True)],
        like=x,
    )


def _weight(t: Tape, x: str, grad: str, weight: str, windows: Windows) -> str:
    """A convolution of x with the gradient as its weight, examples as channels: strides and dilations change places."""
    group, rank = windows.group, t.rank(x)
    space = list(range(2, rank))
    channels, *sides = t.lengths(x, [1, *space], "the gradient of a convolution's weight")
    if group == 1:
        turned = t.op("Transpose", x, perm=[1, 0, *space])
    else:
        parts = t.op("Reshape", x, t.ints(-1, group, channels // group, *sides))
        moved = t.op("Transpose", parts, perm=[2, 1, 0, *(s + 1 for s in space)])
        turned = t.op("Reshape", moved, t.ints(channels // group, -1, *sides))
    kernel = t.op("Transpose", grad, perm=[1, 0, *space])
    found = t.op(
        "Conv",
        turned,
        kernel,
        strides=windows.dilations,
        dilations=windows.strides,
        pads=windows.flat_pads,
        group=group,
    )
    cropped = t.op("Slice", found, t.ints(*[0] * len(space)), t.ints(*windows.sizes), t.ints(*space))
    return t.op("Transpose", cropped, perm=[1, 0, *space], like=weight)


@rule("ConvTranspose")
def _conv_transpose(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """It is a convolution's gradient by its input, so its own are those of the convolution with both ends swapped."""
    x, weight = node.input[:2]
    y = node.output[0]
    grad = grads[0]
    assert grad is not None
    given = attributes_of(node)
    if given.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in given:
        raise NotDifferentiable("ConvTranspose has a gradient rule for explicit pads only", expected="pads=...")
    windows = windows_of(t, node)
    t.known[grad] = t.known[y]
    left = t.op(
        "Conv", grad, weight, strides=windows.strides, dilations=windows.dilations, pads=windows.flat_pads,
        group=windows.group, like=x,
    )  # fmt: skip
    found: list[str | None] = [left, _weight(t, grad, x, weight, windows)]
    if len(node.input) > 2 and node.input[2]:
        axes = [0, *range(2, t.rank(x))]
        found.append(t.op("ReduceSum", grad, t.ints(*axes), keepdims=0, like=node.input[2]))
    return found


def ones(t: Tape, like: str, sizes: Sequence[int]) -> str:
    """A kernel of one channel that sums its window."""
    return t.constant(np.ones((1, 1, *sizes)), t.dtype(like))
