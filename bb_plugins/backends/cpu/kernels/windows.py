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
_ZERO = np.float32(0)


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
    for plane in range(planes):
        for y in range(oh):
            top, bottom = _inside(y * sh - ph, dh, height, kh)
            for k in range(ow):
                left, right = _inside(k * sw - pw, dw, width, kw)
                best, best_at = np.float32(-np.inf), -1
                for i in range(top, bottom):
                    at = (plane * height + y * sh - ph + i * dh) * width + k * sw - pw
                    for j in range(left, right):
                        value = x[at + j * dw]
                        better = (value > best) | (value != value) | (best_at < 0)
                        best = select(better, value, best)
                        best_at += (at + j * dw - best_at) * np.int64(better)
                out[(plane * oh + y) * ow + k] = best
                if wanted:
                    indices[(plane * oh + y) * ow + k] = best_at


@native
def average_pool(params_at, bases_at):
    """Average each window of n images. Then: n, whether padding counts, padding behind (2), x, out."""
    p, bases = longs(params_at, WINDOW_WORDS + 8), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    planes, padding = p[13] * c, p[14] != 0
    x, out = floats(place(p, bases, 17), planes * height * width), floats(place(p, bases, 19), planes * oh * ow)
    for plane in range(planes):
        for y in range(oh):
            for k in range(ow):
                total, count = _ZERO, 0
                for i in range(kh):
                    row = y * sh - ph + i * dh
                    for j in range(kw):
                        column = k * sw - pw + j * dw
                        if 0 <= row < height and 0 <= column < width:
                            total += x[(plane * height + row) * width + column]
                            count += 1
                        elif padding and row < height + p[15] and column < width + p[16]:
                            count += 1
                out[(plane * oh + y) * ow + k] = total / np.float32(count)
