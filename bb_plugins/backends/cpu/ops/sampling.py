"""Ops that read images at places between their pixels: GridSample and DeformConv."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node
from bb_plugins.backends.cpu.ops.convolution import window_of
from bb_plugins.backends.cpu.ops.resizing import cubic, linear


def _reflected(at: Array, low: float, high: float) -> Array:
    """Mirror at the borders until within."""
    span = high - low
    if span <= 0:
        return np.zeros_like(at)
    away = np.mod(at - low, 2 * span)
    return np.where((at >= low) & (at <= high), at, low + np.where(away > span, 2 * span - away, away))


def _border(at: Array, length: int, padding: str, *, align: bool) -> Array:
    if padding == "border":
        return np.clip(at, 0, length - 1)
    if padding == "reflection":
        return _reflected(at, 0 if align else -0.5, length - 1 if align else length - 0.5)
    return at


def sample(x: Array, places: Sequence[Array], mode: str, padding: str, *, align: bool) -> Array:
    """Read x (n, c, *space) at places, one array (n, *out) of pixel coordinates for each space axis."""
    if mode == "nearest":
        places = [np.rint(p) for p in places]
    if mode != "cubic":  # whose pixels, not whose places, are kept within the border, as in PyTorch
        places = [_border(p, d, padding, align=align) for p, d in zip(places, x.shape[2:], strict=True)]
    if mode == "nearest":
        return _pixels(x, places, padding, align=align)
    kernel, offsets = (cubic(-0.75), range(-1, 3)) if mode == "cubic" else (linear, range(2))
    floors = [np.floor(p) for p in places]
    out = np.zeros((*x.shape[:2], *places[0].shape[1:]), np.float64 if x.dtype == np.float64 else np.float32)
    for corner in product(offsets, repeat=len(places)):
        at = [f + o for f, o in zip(floors, corner, strict=True)]
        weight = np.ones_like(places[0])
        for p, a in zip(places, at, strict=True):
            weight = weight * kernel(p - a)
        out += _pixels(x, at, padding, align=align) * weight[:, None].astype(out.dtype)
    return out.astype(x.dtype, copy=False)


def _pixels(x: Array, at: Sequence[Array], padding: str, *, align: bool) -> Array:
    """Read whole pixels; beyond the border there are zeros, the border, or the mirror image."""
    inside = np.ones(at[0].shape, np.bool_)
    index = []
    for a, length in zip(at, x.shape[2:], strict=True):
        if padding == "zeros":
            inside &= (a >= 0) & (a < length)
        bordered = np.trunc(_border(a, length, padding, align=align))
        index.append(np.clip(bordered, 0, length - 1).astype(np.int64))
    rows = np.arange(x.shape[0]).reshape(-1, *[1] * (at[0].ndim - 1))
    found = np.moveaxis(x, 1, -1)[(rows, *index)]
    return np.moveaxis(np.where(inside[..., None], found, 0), -1, 1)


def grid_sample(node: Node) -> Kernel:
    """Read an image at a grid of places, which lie in -1 to 1."""
    mode = node.text("mode", "linear").removeprefix("bi")
    padding, align = node.text("padding_mode", "zeros"), node.flag("align_corners")

    def run(x: Array, grid: Array) -> Array:
        places = []
        for i, length in enumerate(x.shape[2:]):
            at = grid[..., -1 - i].astype(np.float64)
            places.append((at + 1) / 2 * (length - 1) if align else ((at + 1) * length - 1) / 2)
        return sample(x, places, mode, padding, align=align).astype(x.dtype, copy=False)

    return run


def deform_conv(node: Node) -> Kernel:
    """Convolve windows whose every place is moved by an offset of its own (Dai and others 2017)."""
    groups, offset_groups = int(node.get("group", 1)), int(node.get("offset_group", 1))

    def run(x: Array, weight: Array, offset: Array, bias: Array | None = None, mask: Array | None = None) -> Array:
        window = window_of(node, x.shape[2:], weight.shape[2:])
        n, channels, rank = x.shape[0], x.shape[1], len(window.kernel)
        count = int(np.prod(window.kernel))
        moved = offset.reshape(n * offset_groups, count, rank, *window.out)
        kernel = np.indices(window.kernel).reshape(rank, count)
        places = []
        for i in range(rank):
            lift = [-1 if a == i else 1 for a in range(rank)]
            start = (np.arange(window.out[i]) * window.strides[i] - window.before[i]).reshape(lift)
            places.append(moved[:, :, i] + (kernel[i] * window.dilations[i]).reshape(-1, *[1] * rank) + start)
        grouped = x.reshape(n * offset_groups, channels // offset_groups, *x.shape[2:])
        columns = sample(grouped, places, "linear", "zeros", align=True)
        if mask is not None:
            columns = columns * mask.reshape(n * offset_groups, 1, count, *window.out)
        flat = columns.reshape(n, groups, channels // groups * count, int(np.prod(window.out)))
        m = weight.shape[0]
        out = np.matmul(weight.reshape(groups, m // groups, -1), flat).reshape(n, m, *window.out)
        if bias is not None:
            out += bias.reshape(-1, *[1] * rank)
        return np.asarray(out, x.dtype)

    return run
