"""Ops on regions of images: RoiAlign and NonMaxSuppression."""

from __future__ import annotations

from itertools import product

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, scalar_of


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


def max_roi_pool(node: Node) -> Kernel:
    """Take the largest pixel of each bin of regions (Girshick 2015); regions begin with the number of their image."""
    height, width = node.ints("pooled_shape") or (1, 1)
    scale = float(node.get("spatial_scale", 1.0))

    def run(x: Array, rois: Array) -> Array:
        out = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
        for i, (image, *corners) in enumerate(rois.tolist()):
            x1, y1, x2, y2 = (int(np.floor(c * scale + 0.5)) for c in corners)
            for row, column in product(range(height), range(width)):
                top, bottom = _bin(y1, y2, row, height, x.shape[2])
                left, right = _bin(x1, x2, column, width, x.shape[3])
                if top < bottom and left < right:
                    out[i, :, row, column] = x[int(image), :, top:bottom, left:right].max((1, 2))
        return out

    return run


def _bin(start: int, end: int, at: int, bins: int, length: int) -> tuple[int, int]:
    each = max(end - start + 1, 1) / bins
    low, high = int(np.floor(at * each)) + start, int(np.ceil((at + 1) * each)) + start
    return min(max(low, 0), length), min(max(high, 0), length)


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
