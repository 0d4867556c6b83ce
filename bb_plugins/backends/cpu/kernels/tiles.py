"""Runs a program of elementwise steps tile by tile: what lies between two steps stays in the first-level cache.

A step is a loop over one tile. Its operands are memory that runs along with the tiles, or a register: a tile of scratch
memory. What is broadcast, transposed or boolean is laid out in a register first.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import inlined, native
from bb_plugins.backends.cpu.kernels._memory import call_loop, floats, longs, octets, place

TILE = 512
"""Elements that are computed together: 2 KiB, so that a dozen registers fit beside what is read."""
STEP_WORDS = 16
"""Parameters of a step: its kind, then by kind.

* CALL: address of the loop · output, first, second, third input: each buffer, offset, bytes per element
* SPREAD, SPREAD_BOOL: output register (buffer, offset), source (buffer, offset), where its strides stand
* STORE_BOOL: output (buffer, offset), source (buffer, offset, bytes per element)
"""
CALL, SPREAD, SPREAD_BOOL, STORE_BOOL = 0, 1, 2, 3
_WORD = 8


@native
def run_tiles(params_at, bases_at):
    """Run the steps. Parameters: elements, steps done once, steps done for each tile, then these steps."""
    head, bases = longs(params_at, 3), longs(bases_at, 1 << 20)
    count, once, each = head[0], head[1], head[2]
    steps = longs(params_at + 3 * _WORD, (once + each) * STEP_WORDS)
    for i in range(once):
        _step(steps[i * STEP_WORDS :], bases, params_at, 0, TILE)
    start = 0
    while start < count:
        n = min(TILE, count - start)
        for i in range(once, once + each):
            _step(steps[i * STEP_WORDS :], bases, params_at, start, n)
        start += n


@inlined
def _step(step, bases, params_at, start, n):
    kind = step[0]
    if kind == 0:
        call_loop(
            step[1],
            bases[step[2]] + step[3] + start * step[4],
            bases[step[5]] + step[6] + start * step[7],
            bases[step[8]] + step[9] + start * step[10],
            bases[step[11]] + step[12] + start * step[13],
            n,
        )
    elif kind == 1:
        _spread(place(step, bases, 1), place(step, bases, 3), params_at + step[5] * _WORD, start, n)
    elif kind == 2:
        _spread_bool(place(step, bases, 1), place(step, bases, 3), params_at + step[5] * _WORD, start, n)
    else:
        out = octets(place(step, bases, 1) + start, n)
        source = floats(place(step, bases, 3) + start * step[5], n)
        for i in range(n):
            out[i] = 1 if source[i] != 0 else 0


@inlined
def _spread(out_at, source_at, layout_at, start, n):
    """Lay out elements start..start+n-1 of a view: rank, lengths, strides in elements."""
    rank = longs(layout_at, 1)[0]
    layout = longs(layout_at + _WORD, 2 * rank)
    out = floats(out_at, n)
    inner, stride = layout[rank - 1], layout[2 * rank - 1]
    done = 0
    while done < n:
        rest = (start + done) // inner
        first = start + done - rest * inner
        at = first * stride
        for axis in range(rank - 2, -1, -1):
            further = rest // layout[axis]
            at += (rest - further * layout[axis]) * layout[rank + axis]
            rest = further
        run = min(inner - first, n - done)
        part = out[done : done + run]
        if stride == 1:
            source = floats(source_at + at * 4, run)
            for i in range(run):
                part[i] = source[i]
        elif stride == 0:
            value = floats(source_at + at * 4, 1)[0]
            for i in range(run):
                part[i] = value
        else:
            source = floats(source_at + at * 4, run * stride)
            for i in range(run):
                part[i] = source[i * stride]
        done += run


@inlined
def _spread_bool(out_at, source_at, layout_at, start, n):
    """Lay out booleans as 0 and 1."""
    rank = longs(layout_at, 1)[0]
    layout = longs(layout_at + _WORD, 2 * rank)
    out = floats(out_at, n)
    inner, stride = layout[rank - 1], layout[2 * rank - 1]
    done = 0
    while done < n:
        rest = (start + done) // inner
        first = start + done - rest * inner
        at = first * stride
        for axis in range(rank - 2, -1, -1):
            further = rest // layout[axis]
            at += (rest - further * layout[axis]) * layout[rank + axis]
            rest = further
        run = min(inner - first, n - done)
        part = out[done : done + run]
        source = octets(source_at + at, run * stride + 1)
        for i in range(run):
            part[i] = np.float32(1) if source[i * stride] != 0 else np.float32(0)
        done += run
