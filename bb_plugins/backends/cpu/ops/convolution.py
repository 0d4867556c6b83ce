"""Convolutions: windows are laid out as a matrix (im2col), and the rest is one product by BLAS for each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bb_plugins.backends.cpu.node import Array, Kernel, Node, is_narrow

_AT_ONCE: Final = 1 << 24
"""Bytes of windows that are laid out for a whole batch; larger ones take turns, image by image, in little memory."""


class Window(NamedTuple):
    """How a window moves over the space axes of an input.

    Attributes:
        before: Padding before each space axis; `after` is that behind it.
        out: How many places the window has along each.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: tuple[int, ...]


def window_of(node: Node, space: Sequence[int], kernel: tuple[int, ...]) -> Window:
    """Work out paddings and places from an op's attributes."""
    rank = len(kernel)
    strides = node.ints("strides") or (1,) * rank
    dilations = node.ints("dilations") or (1,) * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = tuple(-(-n // s) for n, s in zip(space, strides, strict=True))
        needed = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(out, strides, reach, space, strict=True)]
        small, large = tuple(n // 2 for n in needed), tuple(n - n // 2 for n in needed)
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        return Window(kernel, strides, dilations, before, after, out)
    pads = (0,) * 2 * rank if auto == "VALID" else node.ints("pads") or (0,) * 2 * rank
    before, after = pads[:rank], pads[rank:]
    ceil = node.flag("ceil_mode")
    out = tuple(
        _places(n + b + a - r, s, n + b, ceil=ceil)
        for n, b, a, r, s in zip(space, before, after, reach, strides, strict=True)
    )
    return Window(kernel, strides, dilations, before, after, out)


def _places(room: int, stride: int, end: int, *, ceil: bool) -> int:
    """Count a window's places; one that would begin behind the input, in the padding alone, is none."""
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= end else count


def padded(x: Array, window: Window, fill: Any = 0) -> Array:
    """Put the border around the space axes of x (n, c, *space), wide enough for the last window too."""
    lacking = [
        (o - 1) * s + (k - 1) * d + 1 - (n + b)
        for o, s, k, d, n, b in zip(
            window.out, window.strides, window.kernel, window.dilations, x.shape[2:], window.before, strict=True
        )
    ]
    behind = [max(after, lack, 0) for after, lack in zip(window.after, lacking, strict=True)]
    if not any(window.before) and not any(behind):
        return x
    shape = [n + b + a for n, b, a in zip(x.shape[2:], window.before, behind, strict=True)]
    out = np.full((*x.shape[:2], *shape), fill, x.dtype)
    inner = tuple(slice(b, b + n) for b, n in zip(window.before, x.shape[2:], strict=True))
    out[(slice(None), slice(None), *inner)] = x
    return out


def windows(x: Array, window: Window) -> Array:
    """View padded x (n, c, *space) as (n, c, *kernel, *out), without a copy."""
    steps = x.strides[2:]
    inner = [s * d for s, d in zip(steps, window.dilations, strict=True)]
    outer = [s * t for s, t in zip(steps, window.strides, strict=True)]
    shape = (*x.shape[:2], *window.kernel, *window.out)
    return as_strided(x, shape, (*x.strides[:2], *inner, *outer), writeable=False)


def convolve(x: Array, weight: Array, window: Window, groups: int, fill: Any = 0) -> Array:
    """Convolve x (n, c, *space) with weight (m, c / groups, *kernel)."""
    n, channels = x.shape[:2]
    m = weight.shape[0]
    places = int(np.prod(window.out, dtype=np.int64))
    if groups == channels == m and groups > 1:
        return _depthwise(x, weight, window, fill)
    plain = all(k == 1 for k in window.kernel) and window.out == x.shape[2:] and not any(window.before)
    columns = x if plain else windows(padded(x, window, fill), window)
    shape = (groups, channels // groups * int(np.prod(window.kernel)), places)
    filters = weight.reshape(groups, m // groups, shape[1])
    if plain or columns.nbytes <= _AT_ONCE:
        return np.asarray(np.matmul(filters, columns.reshape(n, *shape))).reshape(n, m, *window.out)
    out = np.empty((n, groups, m // groups, places), np.result_type(x, weight))
    for image, found in zip(columns, out, strict=True):
        np.matmul(filters, image.reshape(shape), out=found)
    return out.reshape(n, m, *window.out)


def _depthwise(x: Array, weight: Array, window: Window, fill: Any) -> Array:
    """One filter for each channel: sum shifted copies, for a product of so thin matrices is slow."""
    view = windows(padded(x, window, fill), window)
    out = np.zeros((*x.shape[:2], *window.out), np.result_type(x, weight))
    lift = (slice(None), *[None] * len(window.out))
    for at in np.ndindex(*window.kernel):
        out += view[(slice(None), slice(None), *at)] * weight[(slice(None), 0, *at)][lift]
    return out


def conv(node: Node) -> Kernel:
    """Convolve (correlate, in truth: the kernel is not turned)."""
    groups = int(node.get("group", 1))

    def run(x: Array, weight: Array, bias: Array | None = None) -> Array:
        window = window_of(node, x.shape[2:], weight.shape[2:])
        if is_narrow(x.dtype):
            out = convolve(x.astype(np.float32), weight.astype(np.float32), window, groups).astype(x.dtype)
        else:
            out = convolve(x, weight, window, groups)
        if bias is not None:
            out += bias.reshape(-1, *[1] * (x.ndim - 2))
        return out

    return run


def spread(columns: Array, window: Window, shape: Sequence[int]) -> Array:
    """Add windows (n, c, *kernel, *out) up at their places in an array (n, c, *shape): the transpose of `windows`.

    A negative padding leaves room before the first window.
    """
    lead = [max(-b, 0) for b in window.before]
    wide = [
        max(n + max(b, 0), m + (o - 1) * s + (k - 1) * d + 1)
        for n, b, m, o, s, k, d in zip(
            shape, window.before, lead, window.out, window.strides, window.kernel, window.dilations, strict=True
        )
    ]
    out = np.zeros((*columns.shape[:2], *wide), columns.dtype)
    for at in np.ndindex(*window.kernel):
        to = tuple(
            slice(m + a * d, m + a * d + o * s, s)
            for m, a, d, o, s in zip(lead, at, window.dilations, window.out, window.strides, strict=True)
        )
        out[(slice(None), slice(None), *to)] += columns[(slice(None), slice(None), *at)]
    inner = tuple(slice(max(b, 0), max(b, 0) + n) for b, n in zip(window.before, shape, strict=True))
    return np.ascontiguousarray(out[(slice(None), slice(None), *inner)])


def conv_transpose(node: Node) -> Kernel:
    """Spread each element over a window: the gradient of a convolution by its input."""
    groups = int(node.get("group", 1))

    def run(x: Array, weight: Array, bias: Array | None = None) -> Array:
        wide = np.float32 if is_narrow(x.dtype) else x.dtype
        window, shape = _spreading(node, x.shape[2:], weight.shape[2:])
        n, channels = x.shape[:2]
        each = channels // groups
        flat = x.astype(wide, copy=False).reshape(n, groups, each, int(np.prod(x.shape[2:])))
        turned = weight.astype(wide, copy=False).reshape(groups, each, -1).transpose(0, 2, 1)
        columns = np.matmul(turned, flat).reshape(n, groups * weight.shape[1], *weight.shape[2:], *x.shape[2:])
        out = spread(columns, window, shape).astype(x.dtype, copy=False)
        if bias is not None:
            out += bias.reshape(-1, *[1] * (x.ndim - 2))
        return out

    return run


def _spreading(node: Node, space: Sequence[int], kernel: tuple[int, ...]) -> tuple[Window, tuple[int, ...]]:
    """Work out the window of a ConvTranspose, and how long its output's space axes are."""
    rank = len(kernel)
    strides = node.ints("strides") or (1,) * rank
    dilations = node.ints("dilations") or (1,) * rank
    more = node.ints("output_padding") or (0,) * rank
    pads = node.ints("pads") or (0,) * 2 * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [(n - 1) * s + r + m for n, s, r, m in zip(space, strides, reach, more, strict=True)]
    auto, wanted = node.text("auto_pad", "NOTSET"), node.ints("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = tuple(n * s for n, s in zip(space, strides, strict=True))
    if wanted is not None:
        wanted = wanted[-rank:]
        needed = [f - w for f, w in zip(full, wanted, strict=True)]
        small, large = tuple(n // 2 for n in needed), tuple(n - n // 2 for n in needed)
        before = small if auto == "SAME_UPPER" else large
        return Window(kernel, strides, dilations, before, before, tuple(space)), tuple(wanted)
    if auto == "VALID":
        pads = (0,) * 2 * rank
    shape = tuple(f - pads[i] - pads[i + rank] for i, f in enumerate(full))
    return Window(kernel, strides, dilations, pads[:rank], pads[rank:], tuple(space)), shape


def col2im(node: Node) -> Kernel:
    """Add columns up to images: the transpose of laying windows out as a matrix."""

    def run(x: Array, image: Array, block: Array) -> Array:
        kernel, space = tuple(int(d) for d in block), tuple(int(d) for d in image)
        window = window_of(node, space, kernel)
        columns = x.reshape(x.shape[0], -1, *kernel, *window.out)
        return spread(columns, window, space)

    return run
