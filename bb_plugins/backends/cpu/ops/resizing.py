"""Resize and Upsample: images made larger or smaller, one axis after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node


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


def linear(distance: Array) -> Array:
    """Weigh by nearness."""
    return np.asarray(np.maximum(1 - np.abs(distance), 0))


def cubic(a: float) -> Callable[[Array], Array]:
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
    kernel = cubic(float(node.get("cubic_coeff_a", -0.75))) if mode == "cubic" else linear
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
