"""Moves elements without changing them: transposing, slicing, joining, repeating, gathering and scattering."""

from __future__ import annotations

from bb_plugins.backends.cpu.kernels._jit import inlined, native
from bb_plugins.backends.cpu.kernels._memory import floats, longs, octets, place

_BASES = 1 << 20


@native
def copy_view(params_at, bases_at):
    """Copy between two views of equal lengths.

    Parameters: rank, bytes of an element (1, 4 or 8), from, to, lengths, strides of from, strides of to, in elements.
    """
    params, bases = longs(params_at, 6), longs(bases_at, _BASES)
    rank, size = params[0], params[1]
    layout = longs(params_at + 48, 3 * rank)
    count = 1
    for axis in range(rank - 1):
        count *= layout[axis]
    inner, step, to_step = layout[rank - 1], layout[2 * rank - 1], layout[3 * rank - 1]
    source_at, out_at = place(params, bases, 2), place(params, bases, 4)
    for outer in range(count):
        rest, at, to = outer, 0, 0
        for axis in range(rank - 2, -1, -1):
            further = rest // layout[axis]
            index = rest - further * layout[axis]
            at += index * layout[rank + axis]
            to += index * layout[2 * rank + axis]
            rest = further
        if size == 4:
            _copy_line(floats(source_at + 4 * at, inner * step + 1), step, floats(out_at + 4 * to, inner * to_step + 1),
                       to_step, inner)  # fmt: skip
        elif size == 8:
            _copy_line(longs(source_at + 8 * at, inner * step + 1), step, longs(out_at + 8 * to, inner * to_step + 1),
                       to_step, inner)  # fmt: skip
        else:
            _copy_line(octets(source_at + at, inner * step + 1), step, octets(out_at + to, inner * to_step + 1),
                       to_step, inner)  # fmt: skip


@inlined
def _copy_line(source, step, out, to_step, n):
    """Copy n elements, `step` apart in the source and `to_step` in the output."""
    if step == 1 and to_step == 1:
        for i in range(n):
            out[i] = source[i]
    elif step == 0 and to_step == 1:
        value = source[0]
        for i in range(n):
            out[i] = value
    else:
        for i in range(n):
            out[i * to_step] = source[i * step]


@native
def fill(params_at, bases_at):
    """Fill with one float32. Parameters: count, its bits, out."""
    params, bases = longs(params_at, 4), longs(bases_at, _BASES)
    value, out = floats(params_at + 8, 1)[0], floats(place(params, bases, 2), params[0])
    for i in range(params[0]):
        out[i] = value


@native
def scatter_add(params_at, bases_at):
    """Add updates at indices, after a copy of x. Parameters: elements, updates, x, indices i64, updates, out.

    An index that is out of range changes nothing.
    """
    params, bases = longs(params_at, 10), longs(bases_at, _BASES)
    count, n = params[0], params[1]
    x, indices = floats(place(params, bases, 2), count), longs(place(params, bases, 4), n)
    updates, out = floats(place(params, bases, 6), n), floats(place(params, bases, 8), count)
    for i in range(count):
        out[i] = x[i]
    for i in range(n):
        if 0 <= indices[i] < count:
            out[indices[i]] += updates[i]


@native
def one_hot(params_at, bases_at):
    """Write rows with one class set; a label that is none leaves its row off.

    Parameters: rows, classes, bits of off and on, labels i64, out.
    """
    params, bases = longs(params_at, 8), longs(bases_at, _BASES)
    rows, n = params[0], params[1]
    off, on = floats(params_at + 16, 1)[0], floats(params_at + 24, 1)[0]
    labels, out = longs(place(params, bases, 4), rows), floats(place(params, bases, 6), rows * n)
    for r in range(rows):
        row = out[r * n : (r + 1) * n]
        for i in range(n):
            row[i] = off
        label = labels[r] + n if labels[r] < 0 else labels[r]
        if 0 <= label < n:
            row[label] = on
