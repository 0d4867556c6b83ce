"""Reductions over the middle of (before, n, after), and what is worked out row by row: softmax and its kin.

Sums are taken in lanes, whose number the CPU's vectors decide; equal CPUs give equal bytes.
"""

from __future__ import annotations

import math

import numpy as np

from bb_plugins.backends.cpu.kernels import functions
from bb_plugins.backends.cpu.kernels._jit import inlined, native, reduction
from bb_plugins.backends.cpu.kernels._memory import bits_of_float, float_of_bits, floats, longs, place, select

_ZERO, _ONE = np.float32(0), np.float32(1)
_ALL_BUT_SIGN = np.int32(0x7FFFFFFF)
_BASES = 1 << 20  # as many buffers as a plan could have


@reduction
def row_sum(x):
    """Return the sum of (n,)."""
    total = _ZERO
    for i in range(x.shape[0]):
        total += x[i]
    return total


@reduction
def row_squares(x, center):
    """Return the sum of squared distances of (n,) from `center`."""
    total = _ZERO
    for i in range(x.shape[0]):
        total += (x[i] - center) * (x[i] - center)
    return total


@inlined
def _in_order(bits):
    """Turn a float32's bits into an integer that is as large as the float is, and back."""
    return bits ^ ((bits >> np.int32(31)) & _ALL_BUT_SIGN)


@inlined
def row_highest(x):
    """Return the largest of (n,); NaN, or any of them, where one is NaN. A search among integers is vector code."""
    found = _in_order(bits_of_float(x[0]))
    for i in range(1, x.shape[0]):
        found = max(found, _in_order(bits_of_float(x[i])))
    return float_of_bits(_in_order(found))


@reduction
def row_powers(x, most, out):
    """Write e to the x - most, both (n,), and return the sum; `most` is the largest."""
    total = _ZERO
    for i in range(x.shape[0]):
        power = functions.exp_falling(x[i] - most)
        out[i] = power
        total += power
    return total


@native
def fold_sum(params_at, bases_at):
    """Sum. Parameters: before, n, after, the bits of a factor, x, out."""
    params, bases = longs(params_at, 8), longs(bases_at, _BASES)
    before, n, after = params[0], params[1], params[2]
    factor = floats(params_at + 24, 1)[0]
    x, out = floats(place(params, bases, 4), before * n * after), floats(place(params, bases, 6), before * after)
    if after == 1:
        for b in range(before):
            out[b] = factor * row_sum(x[b * n : (b + 1) * n])
        return
    for b in range(before):
        row = out[b * after : (b + 1) * after]
        for i in range(after):
            row[i] = _ZERO
        for j in range(n):
            more = x[(b * n + j) * after : (b * n + j + 1) * after]
            for i in range(after):
                row[i] += more[i]
        for i in range(after):
            row[i] *= factor


@native
def fold_max(params_at, bases_at):
    """Take the largest; NaN if there is one. Parameters: before, n, after, unused, x, out."""
    params, bases = longs(params_at, 8), longs(bases_at, _BASES)
    before, n, after = params[0], params[1], params[2]
    x, out = floats(place(params, bases, 4), before * n * after), floats(place(params, bases, 6), before * after)
    for b in range(before):
        row = out[b * after : (b + 1) * after]
        first = x[b * n * after : (b * n + 1) * after]
        for i in range(after):
            row[i] = first[i]
        for j in range(1, n):
            more = x[(b * n + j) * after : (b * n + j + 1) * after]
            for i in range(after):
                row[i] = select(more[i] <= row[i], row[i], select(row[i] != row[i], row[i], more[i]))


@native
def softmax(params_at, bases_at):
    """Softmax of each row. Parameters: rows, n, x, out."""
    params, bases = longs(params_at, 6), longs(bases_at, _BASES)
    rows, n = params[0], params[1]
    x, out = floats(place(params, bases, 2), rows * n), floats(place(params, bases, 4), rows * n)
    for r in range(rows):
        row, to = x[r * n : (r + 1) * n], out[r * n : (r + 1) * n]
        scale = _ONE / row_powers(row, row_highest(row), to)
        for i in range(n):
            to[i] *= scale


@native
def log_softmax(params_at, bases_at):
    """The logarithm of the softmax of each row. Parameters: rows, n, x, out."""
    params, bases = longs(params_at, 6), longs(bases_at, _BASES)
    rows, n = params[0], params[1]
    x, out = floats(place(params, bases, 2), rows * n), floats(place(params, bases, 4), rows * n)
    for r in range(rows):
        row, to = x[r * n : (r + 1) * n], out[r * n : (r + 1) * n]
        most = row_highest(row)
        lower = most + functions.log(row_powers(row, most, to))
        for i in range(n):
            to[i] = row[i] - lower


@native
def picked_loss(params_at, bases_at):
    """Write the sum or mean of -x at the labels. Parameters: rows, n, the bits of a factor, x, labels (rows,) i64, out.

    A label outside 0..n-1 makes it NaN.
    """
    params, bases = longs(params_at, 9), longs(bases_at, _BASES)
    rows, n = params[0], params[1]
    x, labels = floats(place(params, bases, 3), rows * n), longs(place(params, bases, 5), rows)
    total = 0.0
    for r in range(rows):
        label = labels[r]
        total = total - x[r * n + label] if 0 <= label < n else np.nan
    floats(place(params, bases, 7), 1)[0] = total * floats(params_at + 16, 1)[0]


@native
def layer_norm(params_at, bases_at):
    """Normalise each row (Ba et al. 2016).

    Parameters: rows, n, the bits of epsilon, whether there is a bias, x, scale, bias, out, mean, 1 / deviation.
    """
    params, bases = longs(params_at, 16), longs(bases_at, _BASES)
    rows, n, biased = params[0], params[1], params[3] != 0
    epsilon = floats(params_at + 16, 1)[0]
    x, out = floats(place(params, bases, 4), rows * n), floats(place(params, bases, 10), rows * n)
    scale, bias = floats(place(params, bases, 6), n), floats(place(params, bases, 8), n)
    means, rests = floats(place(params, bases, 12), rows), floats(place(params, bases, 14), rows)
    share = np.float32(1.0 / n)
    for r in range(rows):
        row, to = x[r * n : (r + 1) * n], out[r * n : (r + 1) * n]
        mean = row_sum(row) * share
        rest = _ONE / np.float32(math.sqrt(row_squares(row, mean) * share + epsilon))
        means[r], rests[r] = mean, rest
        if biased:
            for i in range(n):
                to[i] = (row[i] - mean) * rest * scale[i] + bias[i]
        else:
            for i in range(n):
                to[i] = (row[i] - mean) * rest * scale[i]
