"""Ops that read images between their pixels: Resize, GridSample, RoiAlign, DeformConv; and NonMaxSuppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, scalar_of
from bb_plugins.backends.cpu.ops.convolution import window_of

# --- Resize ----------------------------------------------------------------------------------------------------------


def _half_pixel(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    return (at + 0.5) / scale - 0.5


def _pytorch_half_pixel(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    return _half_pixel(at, scale, length, out, roi) if out > 1 else np.zeros_like(at)


def _half_pixel_symmetric(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    """Half a pixel, about the middle of what is really made."""
    return length / 2 * (1 - out / (scale * length)) + (at + 0.5) / scale - 0.5


def _align_corners(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    wide = scale * length
    return np.zeros_like(at) if wide == 1 else at * (length - 1) / (wide - 1)


def _asymmetric(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    return at / scale


def _crop(at: Array, scale: float, length: int, out: int, roi: tuple[float, float]) -> Array:
    wide = scale * length
    span = (roi[1] - roi[0]) * (length - 1)
    return (np.full_like(at, span / 2) if wide == 1 else at * span / (wide - 1)) + roi[0] * (length - 1)


_PLACES: Final[dict[str, Callable[[Array, float, int, int, tuple[float, float]], Array]]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "tf_crop_and_resize": _crop,
}
"""Where in the input an output's element is read."""

_NEAREST: Final[dict[str, Callable[[Array], Any]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _linear(distance: Array) -> Array:
    return np.asarray(np.maximum(1 - np.abs(distance), 0))


def _cubic(a: float) -> Callable[[Array], Array]:
    """Give Keys' kernel (1981)."""

    def weight(distance: Array) -> Array:
        d = np.abs(distance)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    return weight


def resize(node: Node) -> Kernel:
    """Make an image larger or smaller, one axis after another: by scales, or to sizes."""
    mode, places = node.text("mode", "nearest"), node.text("coordinate_transformation_mode", "half_pixel")
    axes, policy = node.ints("axes"), node.text("keep_aspect_ratio_policy", "stretch")
    fill = float(node.get("extrapolation_value", 0.0))

    def run(x: Array, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None) -> Array:
        chosen = list(range(x.ndim)) if axes is None else [a % x.ndim for a in axes]
        lengths = [x.shape[a] for a in chosen]
        factors, outs = _factors(lengths, scales, sizes, policy)
        crops = [(0.0, 1.0)] * len(chosen)
        if roi is not None and roi.size:
            crops = [(float(roi[i]), float(roi[i + len(chosen)])) for i in range(len(chosen))]
        out = x if mode == "nearest" else x.astype(np.float64 if x.dtype.itemsize > 4 else np.float32)
        outside = np.zeros((1,) * x.ndim, np.bool_)
        for axis, factor, length, crop in zip(chosen, factors, outs, crops, strict=True):
            if factor == 1 and length == out.shape[axis] and crop == (0.0, 1.0):
                continue
            at = _PLACES[places](np.arange(length, dtype=np.float64), factor, x.shape[axis], length, crop)
            if places == "tf_crop_and_resize":
                lift = [-1 if a == axis else 1 for a in range(x.ndim)]
                outside = outside | ((at < 0) | (at > x.shape[axis] - 1)).reshape(lift)
            out = _along_axis(node, out, axis, at, factor)
        return _as_elements(np.where(outside, fill, out) if outside.any() else out, x.dtype)

    return run


def resize_by_scales(node: Node) -> Kernel:
    """Resize as in opset 10, and Upsample: by scales alone, from the corner."""
    kept = {k: v for k, v in node.attributes.items() if k == "mode"}
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    run = resize(Node(node.op, kept | nearest, node.opsets, node.domain))
    return lambda x, scales: run(x, None, scales)


def _as_elements(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "iu" and x.dtype != dtype:
        return np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    return x.astype(dtype, copy=False)


def _factors(
    lengths: Sequence[int], scales: Array | None, sizes: Array | None, policy: str
) -> tuple[list[float], list[int]]:
    """Return each axis's factor and how long it becomes."""
    if sizes is None or not sizes.size:
        factors = [float(s) for s in scales] if scales is not None else [1.0] * len(lengths)
        return factors, [int(n * f) for n, f in zip(lengths, factors, strict=True)]
    factors = [int(s) / n for s, n in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return factors, [int(s) for s in sizes]
    one = min(factors) if policy == "not_larger" else max(factors)
    return [one] * len(lengths), [int(n * one + 0.5) for n in lengths]


def _along_axis(node: Node, x: Array, axis: int, at: Array, factor: float) -> Array:
    length, mode = x.shape[axis], node.text("mode", "nearest")
    if mode == "nearest":
        index = _NEAREST[node.text("nearest_mode", "round_prefer_floor")](at)
        return np.asarray(np.take(x, np.clip(index, 0, length - 1).astype(np.int64), axis))
    shrink = min(factor, 1.0) if node.flag("antialias") else 1.0
    reach = 2 if mode == "cubic" else 1
    first = int(np.floor(-reach / shrink)) + 1
    kernel = _cubic(float(node.get("cubic_coeff_a", -0.75))) if mode == "cubic" else _linear
    base = np.ceil(at) - 1  # so that the place is in (base, base + 1]
    index = base[:, None] + np.arange(first, 2 - first)
    weights = kernel((index - at[:, None]) * shrink)
    if node.flag("exclude_outside"):
        weights = np.where((index < 0) | (index >= length), 0, weights)
    if node.flag("exclude_outside") or shrink != 1:
        weights /= weights.sum(1, keepdims=True)
    near = np.clip(index, 0, length - 1).astype(np.int64)
    lift = [-1 if a == axis else 1 for a in range(x.ndim)]
    out = np.take(x, near[:, 0], axis) * weights[:, 0].astype(x.dtype).reshape(lift)
    for i in range(1, near.shape[1]):
        out += np.take(x, near[:, i], axis) * weights[:, i].astype(x.dtype).reshape(lift)
    return np.asarray(out)


# --- samples at places that are values -------------------------------------------------------------------------------


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
    kernel, offsets = (_cubic(-0.75), range(-1, 3)) if mode == "cubic" else (_linear, range(2))
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
        flat = columns.reshape(n, groups, channels // groups * count, -1)
        m = weight.shape[0]
        out = np.matmul(weight.reshape(groups, m // groups, -1), flat).reshape(n, m, *window.out)
        if bias is not None:
            out += bias.reshape(-1, *[1] * rank)
        return np.asarray(out, x.dtype)

    return run


# --- regions ---------------------------------------------------------------------------------------------------------


def roi_align(node: Node) -> Kernel:
    """Pool regions of images on a grid of points between pixels (He and others 2017)."""
    mode, scale = node.text("mode", "avg"), float(node.get("spatial_scale", 1.0))
    default = "half_pixel" if node.version >= 16 else "output_half_pixel"
    half = node.text("coordinate_transformation_mode", default) == "half_pixel"
    height, width = int(node.get("output_height", 1)), int(node.get("output_width", 1))
    ratio = int(node.get("sampling_ratio", 0))

    def run(x: Array, rois: Array, batch: Array) -> Array:
        out = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
        for i, (roi, row) in enumerate(zip(rois.astype(np.float64), batch, strict=True)):
            x1, y1, x2, y2 = roi * scale - (0.5 if half else 0.0)
            ys = _points(y1, y2, height, ratio, malformed=not half)
            xs = _points(x1, x2, width, ratio, malformed=not half)
            if ys.size and xs.size:
                out[i] = _pooled(x[int(row)], ys, xs, mode)
        return out

    return run


def _points(start: float, end: float, bins: int, ratio: int, *, malformed: bool) -> Array:
    """Return the points (bins, n) of each bin."""
    length = max(end - start, 1.0) if malformed else end - start
    each = length / bins
    count = ratio if ratio > 0 else int(np.ceil(each))
    return start + np.arange(bins)[:, None] * each + (np.arange(count) + 0.5) * each / max(count, 1)


def _neighbours(at: Array, length: int) -> tuple[Array, Array, Array]:
    """Return the pixels about each point, the share of the second, and whether the point counts at all."""
    counts = (at >= -1) & (at <= length)
    at = np.clip(at, 0, length - 1)
    low = np.minimum(at.astype(np.int64), length - 1)
    return np.stack([low, np.minimum(low + 1, length - 1)]), at - low, counts


def _pooled(image: Array, ys: Array, xs: Array, mode: str) -> Array:
    (y, ly, in_y), (x, lx, in_x) = _neighbours(ys, image.shape[1]), _neighbours(xs, image.shape[2])
    inside = in_y[:, :, None, None] & in_x
    shares = []
    for i, j in product(range(2), repeat=2):
        weight = (ly if i else 1 - ly)[:, :, None, None] * (lx if j else 1 - lx)
        shares.append(image[:, y[i][:, :, None, None], x[j]] * (weight * inside))
    if mode == "avg":
        return np.asarray(np.mean(sum(shares), (2, 4)))
    return np.asarray(np.max(shares, (0, 3, 5)))


def non_max_suppression(node: Node) -> Kernel:
    """Keep the best boxes of each class, and none that overlaps a better one too much."""
    centred = node.flag("center_point_box")

    def run(
        boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None, least: Array | None = None
    ) -> Array:
        limit, threshold = int(scalar_of(most, 0)), float(scalar_of(overlap, 0.0))
        found = []
        for row, of_row in enumerate(scores):
            corners = _corners(boxes[row].astype(np.float64), centred=centred)
            for kind, of_kind in enumerate(of_row):
                order = np.argsort(-of_kind, kind="stable")
                if least is not None:
                    order = order[of_kind[order] > scalar_of(least, 0.0)]
                found += [(row, kind, int(box)) for box in _kept(corners, order, limit, threshold)]
        return np.array(found, np.int64).reshape(-1, 3)

    return run


def _corners(boxes: Array, *, centred: bool) -> Array:
    """Return boxes as their lower and upper corner."""
    if centred:
        x, y, w, h = boxes.T
        return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


def _kept(corners: Array, order: Array, limit: int, threshold: float) -> list[int]:
    kept: list[int] = []
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    while order.size and len(kept) < limit:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[order, :2])
        high = np.minimum(corners[best, 2:], corners[order, 2:])
        common = np.prod(np.maximum(high - low, 0), 1)
        union = areas[best] + areas[order] - common
        order = order[~((common > 0) & (common > threshold * union))]
    return kept
