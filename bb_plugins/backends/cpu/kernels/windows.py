"""Windows over images (n, c, height, width): laid out as columns for a matrix product, put back, or pooled.

Parameters begin with the window: c, height, width, and for both axes: kernel, strides, dilations, padding before it,
places.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import inlined, loop, native
from bb_plugins.backends.cpu.kernels._memory import floats, longs, place, select

WINDOW_WORDS = 13
_BASES = 1 << 20
_ZERO, _ONE, _LEAST = np.float32(0), np.float32(1), np.float32(-np.inf)


@inlined
def _inside(offset, stride, length, places):
    """Return the first place, and the one behind the last, at which offset + place * stride is in 0..length-1."""
    low = 0 if offset >= 0 else (-offset + stride - 1) // stride
    high = (length - offset + stride - 1) // stride if offset < length else 0
    return min(low, places), max(min(high, places), min(low, places))


@loop
def image_columns(x_at, out_at, window_at, line, lines):
    """Lay some lines of places of one image (c, height, width) out as (c * kernel, places)."""
    p = longs(window_at, WINDOW_WORDS)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[12],
    )  # fmt: skip
    x, out = floats(x_at, c * height * width), floats(out_at, c * kh * kw * lines * ow)
    together = sh == 1 and sw == 1 and ow == width
    to = 0
    for channel in range(c):
        for i in range(kh):
            offset = i * dh - ph + line * sh
            top, bottom = _inside(offset, sh, height, lines)
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                row = out[to : to + lines * ow]
                to += lines * ow
                _clear(row[: top * ow])
                _clear(row[bottom * ow :])
                at = (channel * height + offset + top * sh) * width + j * dw - pw
                if together:
                    _lines_together(x, at, row[top * ow : bottom * ow], left, right, ow)
                    continue
                for y in range(top, bottom):
                    _one_line(x, at, sw, row[y * ow : (y + 1) * ow], left, right)
                    at += sh * width


@inlined
def _clear(x):
    for i in range(x.shape[0]):
        x[i] = _ZERO


@inlined
def _lines_together(x, at, out, left, right, ow):
    """Lines that follow each other in the image as in the columns: copied at once, then the edges cleared."""
    end = max(out.shape[0] - (ow - right), left)
    source, body = x[at + left : at + end], out[left:end]
    for k in range(end - left):
        body[k] = source[k]
    for first in range(0, out.shape[0], ow):
        for k in range(left):
            out[first + k] = _ZERO
        for k in range(right, ow):
            out[first + k] = _ZERO


@inlined
def _one_line(x, at, step, out, left, right):
    """One line; places outside left..right-1 are padding."""
    for k in range(left):
        out[k] = _ZERO
    if step == 1:
        source, body = x[at + left : at + right], out[left:right]
        for k in range(right - left):
            body[k] = source[k]
    else:
        for k in range(left, right):
            out[k] = x[at + k * step]
    for k in range(right, out.shape[0]):
        out[k] = _ZERO


@native
def add_columns(params_at, bases_at):
    """Add columns (c * kernel, places) up to an image (c, height, width), the reverse of laying it out.

    Then: columns, image.
    """
    p, bases = longs(params_at, WINDOW_WORDS + 4), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    columns, out = floats(place(p, bases, 13), c * kh * kw * oh * ow), floats(place(p, bases, 15), c * height * width)
    for k in range(c * height * width):
        out[k] = _ZERO
    at = 0
    for channel in range(c):
        for i in range(kh):
            top, bottom = _inside(i * dh - ph, sh, height, oh)
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                for y in range(top, bottom):
                    line = columns[at + y * ow : at + (y + 1) * ow]
                    to = (channel * height + i * dh - ph + y * sh) * width + j * dw - pw
                    if sw == 1:
                        part, source = out[to + left : to + right], line[left:right]
                        for k in range(right - left):
                            part[k] += source[k]
                    else:
                        for k in range(left, right):
                            out[to + k * sw] += line[k]
                at += oh * ow


@native
def max_pool(params_at, bases_at):
    """Give the largest of each window of n images. Then: n, whether indices are wanted, x, out, indices i64."""
    p, bases = longs(params_at, WINDOW_WORDS + 8), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    planes, wanted = p[13] * c, p[14] != 0
    x, out = floats(place(p, bases, 15), planes * height * width), floats(place(p, bases, 17), planes * oh * ow)
    indices = longs(place(p, bases, 19), planes * oh * ow if wanted else 1)
    for line in range(planes * oh):
        plane, y = line // oh, line % oh
        top, bottom = _inside(y * sh - ph, dh, height, kh)
        best = out[line * ow : (line + 1) * ow]
        for k in range(ow):
            best[k] = _LEAST
        if wanted:
            best_at = indices[line * ow : (line + 1) * ow]
            for k in range(ow):
                best_at[k] = -1
        for i in range(top, bottom):
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                at = (plane * height + y * sh - ph + i * dh) * width + j * dw - pw
                if wanted:
                    _higher_at(best, best_at, x, at, sw, left, right)
                else:
                    _higher(best, x, at, sw, left, right)


@inlined
def _higher(best, x, at, step, left, right):
    """Let each of left..right-1 be the larger of itself and its place in x; NaN wins."""
    part = best[left:right]
    if step == 1:
        source = x[at + left : at + right]
        for k in range(right - left):
            part[k] = select(source[k] <= part[k], part[k], select(part[k] != part[k], part[k], source[k]))
    else:
        for k in range(right - left):
            value = x[at + (left + k) * step]
            part[k] = select(value <= part[k], part[k], select(part[k] != part[k], part[k], value))


@inlined
def _higher_at(best, best_at, x, at, step, left, right):
    """The same, with the index of the first of the largest."""
    for k in range(left, right):
        value = x[at + k * step]
        better = (best_at[k] < 0) | (value > best[k]) | ((value != value) & (best[k] == best[k]))
        best[k] = select(better, value, best[k])
        best_at[k] += (at + k * step - best_at[k]) * np.int64(better)


@native
def average_pool(params_at, bases_at):
    """Average each window of n images.

    Then: n, whether padding counts, padding behind it along both axes, x, out, scratch for a line of places.
    """
    p, bases = longs(params_at, WINDOW_WORDS + 10), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    planes, padding = p[13] * c, p[14] != 0
    x, out = floats(place(p, bases, 17), planes * height * width), floats(place(p, bases, 19), planes * oh * ow)
    counts = floats(place(p, bases, 21), ow)
    for k in range(ow):
        counts[k] = np.float32(_counted(k * sw - pw, dw, width, kw, padding, pw, p[16]))
    for line in range(planes * oh):
        plane, y = line // oh, line % oh
        top, bottom = _inside(y * sh - ph, dh, height, kh)
        total = out[line * ow : (line + 1) * ow]
        _clear(total)
        for i in range(top, bottom):
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                at = (plane * height + y * sh - ph + i * dh) * width + j * dw - pw
                _add_scaled(total, x, at, sw, left, right, _ONE)
        rows = np.float32(_counted(y * sh - ph, dh, height, kh, padding, ph, p[15]))
        for k in range(ow):
            total[k] /= rows * counts[k]


@inlined
def _counted(offset, step, length, kernel, padding, before, after):
    """Count the places of a kernel along one axis that lie in the input, or in its padding too."""
    if padding:
        first, behind = _inside(offset + before, step, length + before + after, kernel)
    else:
        first, behind = _inside(offset, step, length, kernel)
    return behind - first


@inlined
def _add_scaled(total, x, at, step, left, right, scale):
    """Add, to each of left..right-1, its place in x by a factor."""
    part = total[left:right]
    if step == 1:
        source = x[at + left : at + right]
        for k in range(right - left):
            part[k] += scale * source[k]
    else:
        for k in range(right - left):
            part[k] += scale * x[at + (left + k) * step]


@native
def conv_by_channel(params_at, bases_at):
    """Convolve each channel of n images with a filter of its own.

    Then: n, whether there is a bias, x, filters, bias, out.
    """
    p, bases = longs(params_at, WINDOW_WORDS + 10), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    planes, biased = p[13] * c, p[14] != 0
    x, weight = floats(place(p, bases, 15), planes * height * width), floats(place(p, bases, 17), c * kh * kw)
    bias, out = floats(place(p, bases, 19), c if biased else 1), floats(place(p, bases, 21), planes * oh * ow)
    for line in range(planes * oh):
        plane, y = line // oh, line % oh
        channel = plane % c
        top, bottom = _inside(y * sh - ph, dh, height, kh)
        total = out[line * ow : (line + 1) * ow]
        first = bias[channel] if biased else _ZERO
        for k in range(ow):
            total[k] = first
        for i in range(top, bottom):
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                at = (plane * height + y * sh - ph + i * dh) * width + j * dw - pw
                _add_scaled(total, x, at, sw, left, right, weight[(channel * kh + i) * kw + j])
