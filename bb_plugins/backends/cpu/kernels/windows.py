"""Windows over images (n, c, height, width): laid out as columns for a matrix product, put back, or pooled.

Parameters begin with the window: c, height, width, kernel (2), strides (2), dilations (2), padding before (2), places (2).
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import inlined, native
from bb_plugins.backends.cpu.kernels._memory import floats, longs, place

WINDOW_WORDS = 13
_BASES = 1 << 20
_ZERO = np.float32(0)


@inlined
def _inside(offset, stride, length, places):
    """Return the first place, and the one behind the last, at which `offset + place * stride` is in 0..length-1."""
    low = 0 if offset >= 0 else (-offset + stride - 1) // stride
    high = (length - offset + stride - 1) // stride if offset < length else 0
    return min(low, places), max(min(high, places), min(low, places))


@native
def image_columns(params_at, bases_at):
    """Lay one image (c, height, width) out as (c * kernel, places). Then: image, columns."""
    p, bases = longs(params_at, WINDOW_WORDS + 4), longs(bases_at, _BASES)
    c, height, width, kh, kw, sh, sw, dh, dw, ph, pw, oh, ow = (
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
    )  # fmt: skip
    x, out = floats(place(p, bases, 13), c * height * width), floats(place(p, bases, 15), c * kh * kw * oh * ow)
    to = 0
    for channel in range(c):
        for i in range(kh):
            top, bottom = _inside(i * dh - ph, sh, height, oh)
            for j in range(kw):
                left, right = _inside(j * dw - pw, sw, width, ow)
                row = out[to : to + oh * ow]
                for k in range(top * ow):
                    row[k] = _ZERO
                for y in range(top, bottom):
                    line = row[y * ow : (y + 1) * ow]
                    at = (channel * height + i * dh - ph + y * sh) * width + j * dw - pw
                    for k in range(left):
                        line[k] = _ZERO
                    if sw == 1:
                        source = x[at + left : at + right]
                        part = line[left:right]
                        for k in range(right - left):
                            part[k] = source[k]
                    else:
                        for k in range(left, right):
                            line[k] = x[at + k * sw]
                    for k in range(right, ow):
                        line[k] = _ZERO
                for k in range(bottom * ow, oh * ow):
                    row[k] = _ZERO
                to += oh * ow


@native
def add_columns(params_at, bases_at):
    """Add columns (c * kernel, places) up to the image (c, height, width) they were laid out from. Then: columns, image."""
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
            for k in range(ow):
                best, best_at = np.float32(-np.inf), -1
                for i in range(kh):
                    row = y * sh - ph + i * dh
                    if row < 0 or row >= height:
                        continue
                    for j in range(kw):
                        column = k * sw - pw + j * dw
                        if column < 0 or column >= width:
                            continue
                        at = (plane * height + row) * width + column
                        value = x[at]
                        if best_at < 0 or value > best or value != value:
                            best, best_at = value, at
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
