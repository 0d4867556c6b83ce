"""Convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.ops.convolution import Window, window_of
from bb_plugins.backends.cpu.plans.lowered.common import Lower, all_f32, copy, shape_of
from bb_plugins.backends.cpu.plans.lowered.products import product
from bb_plugins.backends.cpu.plans.program import (
    ABSENT,
    FILTER_GRADIENT,
    Draft,
    Op,
    bits,
    contiguous_strides,
)

_FEW: Final = 64
"""Filters up to which a product is thin, and is done by the kernels for small matrices."""
_IN_CACHE: Final = 1 << 19
"""Bytes of windows that are laid out together for few filters; one line of places at least."""
_AT_ONCE: Final = 1 << 24
"""The same for many, whose product BLAS cuts into blocks itself."""


def _two(lengths: Sequence[int]) -> tuple[int, int]:
    """Write the lengths of one or two axes as two."""
    return (1, int(lengths[0])) if len(lengths) == 1 else (int(lengths[0]), int(lengths[1]))


def _count(lengths: Sequence[int]) -> int:
    return int(np.prod(lengths, dtype=np.int64))


def _flat(window: Window, channels: int, space: Sequence[int]) -> list[int]:
    """A window's parameters, with one axis of space written as two."""
    lack = 2 - len(window.kernel)
    ones, zeros = (1,) * lack, (0,) * lack
    return [
        channels, *ones, *space, *ones, *window.kernel, *ones, *window.strides, *ones, *window.dilations,
        *zeros, *window.before, *ones, *window.out,
    ]  # fmt: skip


def _conv(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import conv_by_channel, image_columns
    from bb_plugins.backends.cpu.plans.machine import convolver, multiplier

    x, weight = op.inputs[:2]
    bias = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    out = op.outputs[0]
    shape, filters = shape_of(draft, x), shape_of(draft, weight)
    if len(shape) not in (3, 4) or not all_f32(draft, *[v for v in (x, weight, bias, out) if v]):
        return False
    groups = int(op.node.get("group", 1))
    n, channels, *space = shape
    m, inner = filters[0] // groups, channels // groups
    window = window_of(op.node, space, tuple(filters[2:]))
    height, width = _two(window.out)
    deep = inner * _count(window.kernel)
    inside = not any(window.before) and all(s == 1 for s in window.strides)
    plain = inside and all(k == 1 for k in window.kernel) and tuple(window.out) == tuple(space)
    if m == inner == 1 and groups > 1:
        draft.step(
            conv_by_channel.address,
            [*_flat(window, channels, space), n, int(bias != ABSENT), draft.at(x), draft.at(weight),
             draft.at(bias or weight), draft.at(out)],
        )  # fmt: skip
        return True
    room = _IN_CACHE if m <= _FEW else _AT_ONCE
    lines = min(height, max(1, room // (4 * deep * width)))
    columns = draft.scratch(1 if plain else deep * lines * width)
    if bias != ABSENT:
        whole = (n, filters[0], height * width)
        copy(draft, whole, 4, (draft.at(bias), [0, 1, 0]), (draft.at(out), contiguous_strides(whole)))
    multiplier()
    draft.step(
        convolver(),
        [n, groups, m, deep, height, width, lines, 0 if plain else image_columns.address,
         bits(1.0 if bias != ABSENT else 0.0), inner * _count(space) * 4, draft.at(x), draft.at(weight), draft.at(out),
         draft.at(columns), *_flat(window, inner, space)],
    )  # fmt: skip
    return True


def _filter_gradient(draft: Draft, op: Op) -> bool:
    """The gradient by a convolution's filters; see `rewriting`."""
    from bb_plugins.backends.cpu.kernels.windows import image_columns
    from bb_plugins.backends.cpu.plans.machine import filter_gradient, multiplier

    x, grad = op.inputs
    out = op.outputs[0]
    shape, found, filters = shape_of(draft, x), shape_of(draft, grad), shape_of(draft, out)
    if len(shape) not in (3, 4) or not all_f32(draft, x, grad, out):
        return False
    n, channels, *space = shape
    before = op.node.get("before")
    window = Window(
        tuple(filters[2:]), op.node.get("strides"), op.node.get("dilations"), before, before, tuple(found[2:])
    )
    deep, m, places = channels * _count(window.kernel), filters[0], _count(window.out)
    columns, turned, found_turned = (draft.scratch(k) for k in (deep * places, n * m * places, deep * m))
    # Both are turned around, so that no factor of the product is: OpenBLAS is slow where the second one is.
    copy(draft, (n, places, m), 4, (draft.at(grad), [m * places, 1, places]), (draft.at(turned), [m * places, m, 1]))
    multiplier()
    draft.step(
        filter_gradient(),
        [n, m, deep, *_two(window.out), image_columns.address, channels * _count(space) * 4, draft.at(x),
         draft.at(turned), draft.at(found_turned), draft.at(columns), *_flat(window, channels, space)],
    )  # fmt: skip
    copy(draft, (m, deep), 4, (draft.at(found_turned), [1, m]), (draft.at(out), [deep, 1]))
    return True


def _conv_transpose(draft: Draft, op: Op) -> bool:
    """Put products back where a convolution would have taken them from."""
    from bb_plugins.backends.cpu.kernels.windows import add_columns

    x, weight = op.inputs[:2]
    out = op.outputs[0]
    shape, filters, whole = shape_of(draft, x), shape_of(draft, weight), shape_of(draft, out)
    plain = len(op.inputs) == 2 and int(op.node.get("group", 1)) == 1
    if not plain or len(shape) not in (3, 4) or not all_f32(draft, x, weight, out):
        return False
    pads = op.node.ints("pads")
    rank = len(shape) - 2
    if op.node.text("auto_pad", "NOTSET") != "NOTSET" or op.node.ints("output_shape"):
        return False
    before = (pads or (0,) * 2 * rank)[:rank]
    window = Window(
        tuple(filters[2:]), op.node.ints("strides") or (1,) * rank, op.node.ints("dilations") or (1,) * rank,
        tuple(before), tuple(before), tuple(shape[2:]),
    )  # fmt: skip
    n, channels = shape[:2]
    m, places = filters[1], int(np.prod(shape[2:], dtype=np.int64))
    deep = m * int(np.prod(window.kernel, dtype=np.int64))
    columns = draft.scratch(deep * places)
    flat = _flat(window, m, whole[2:])
    image = m * int(np.prod(whole[2:], dtype=np.int64))
    for i in range(n):
        product(
            draft, deep, places, channels, draft.at(weight), draft.at(x, i * channels * places * 4), draft.at(columns),
            turned=(True, False),
        )  # fmt: skip
        draft.step(add_columns.address, [*flat, draft.at(columns), draft.at(out, i * image * 4)])
    return True


def _max_pool(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import max_pool

    x, out = op.inputs[0], op.outputs[0]
    shape = shape_of(draft, x)
    if len(shape) not in (3, 4) or op.node.flag("storage_order") or not all_f32(draft, x, out):
        return False
    places = op.outputs[1] if len(op.outputs) > 1 else ABSENT
    window = window_of(op.node, shape[2:], op.node.ints("kernel_shape") or ())
    flat = _flat(window, shape[1], shape[2:])
    draft.step(
        max_pool.address,
        [*flat, shape[0], int(places != ABSENT), draft.at(x), draft.at(out), draft.at(places or out)],
    )
    draft.indices.add(places)
    return True


def _average_pool(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import average_pool

    x, out = op.inputs[0], op.outputs[0]
    shape = shape_of(draft, x)
    if len(shape) not in (3, 4) or not all_f32(draft, x, out):
        return False
    window = window_of(op.node, shape[2:], op.node.ints("kernel_shape") or ())
    behind = (0,) * (2 - len(window.after)) + tuple(window.after)
    flat = _flat(window, shape[1], shape[2:])
    padding, counts = int(op.node.flag("count_include_pad")), draft.scratch(window.out[-1])
    draft.step(average_pool.address, [*flat, shape[0], padding, *behind, draft.at(x), draft.at(out), draft.at(counts)])
    return True


def _global_average(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.folding import fold_sum

    x, out = op.inputs[0], op.outputs[0]
    shape = shape_of(draft, x)
    if len(shape) < 3 or not all_f32(draft, x, out):
        return False
    n = int(np.prod(shape[2:], dtype=np.int64))
    draft.step(fold_sum.address, [shape[0] * shape[1], n, 1, bits(1 / n), draft.at(x), draft.at(out)])
    return True


WINDOWS: Final[dict[str, Lower]] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    FILTER_GRADIENT: _filter_gradient,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average,
    "MaxPool": _max_pool,
}
