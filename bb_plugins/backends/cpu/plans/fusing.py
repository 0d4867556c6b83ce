"""Writes a group of elementwise ops as a kernel of its own, made and compiled for it: one pass over memory.

It gives the same bytes as the group run tile by tile, the bits of a NaN aside. That needs no compiler, so small groups
are run that way.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.plans.elementwise import Tape
from bb_plugins.backends.cpu.plans.program import At, Draft, Known, broadcast_strides, collapsed, contiguous_strides

_FROM: Final = 1 << 15
"""Elements from which on it pays to compile."""
_SHORTEST: Final = 64
"""Elements in a row below which a loop over it is not worth its start."""
_MOST_OVERLAPS: Final = 8
"""Pairs of memory that LLVM compares before it takes the vector code of a loop; with more it makes none."""
_AXES: Final = 6
_LETTER: Final = re.compile(r"\b[abc]\b")

_KERNEL: Final = '''

def fused(params_at, bases_at):
    """Parameters: rows, elements in a row, axes, values, lengths of axes, for each value its strides along them."""
    p, bases = longs(params_at, {words}), longs(bases_at, 1 << 20)
    outer, n, rank = p[0], p[1], p[2]
    for row in range(outer):
        {offsets} = {zeros}
        rest = row
        for axis in range(rank - 1, -1, -1):
            further = rest // p[{lengths} + axis]
            index = rest - further * p[{lengths} + axis]
            rest = further
{moves}
{opened}
        for i in range(n):
{body}
'''


def fuse(draft: Draft, tape: Tape, shape: tuple[int, ...], outside: dict[int, int], stored: dict[int, int]) -> bool:
    """Write the step of a group, or say that it is none for this.

    Args:
        draft: Where to.
        tape: The group's steps.
        shape: Of its outputs.
        outside: Value that is read -> its register.
        stored: Register -> the value that it is written to.
    """
    if Known(shape).size < _FROM or len(stored) * len(outside) + len(stored) * (len(stored) - 1) // 2 > _MOST_OVERLAPS:
        return False
    values = [*outside, *stored.values()]
    strides = [broadcast_strides(draft.known[v].shape or (), shape) for v in outside]
    strides += [contiguous_strides(shape)] * len(stored)
    lengths, kept = collapsed(shape, *strides)
    if lengths[-1] < _SHORTEST or len(lengths) > _AXES or any(k[-1] not in (0, 1) for k in kept):
        return False
    rows, axes = 1, lengths[:-1]
    for n in axes:
        rows *= n
    source = _source(draft, tape, outside, stored, [k[-1] for k in kept], len(axes))
    from bb_plugins.backends.cpu.kernels.generated import native_of

    params: list[int | At] = [rows, lengths[-1], len(axes), *[draft.at(v) for v in values], *axes]
    for k in kept:
        params += k[:-1]
    draft.step(native_of(source, "fused", 2).address, params)
    return True


def _source(draft: Draft, tape: Tape, outside: dict[int, int], stored: dict[int, int], inner: list[int],
            rank: int) -> str:  # fmt: skip
    from bb_plugins.backends.cpu.kernels.elements import ELEMENTS, head

    values = [*outside, *stored.values()]
    count = len(values)
    lengths = 3 + 2 * count
    opened: list[str] = []
    loads: list[str] = []
    for i, (value, step) in enumerate(zip(values, inner, strict=True)):
        view, size = ("octets", 1) if draft.known[value].is_bool() else ("floats", 4)
        opened.append(f"x{i} = {view}(place(p, bases, {3 + 2 * i}) + {size} * o{i}, {'n' if step else '1'})")
        if i < len(outside):
            read = f"x{i}[i]" if step else f"x{i}[0]"
            if size == 1:
                read = f"select({read} != 0, ONE, ZERO)"
            (loads if step else opened).append(f"r{outside[value]} = {read}")
    body = list(loads)
    body = [f"r{register} = np.float32({_literal(key)})" for key, register in tape.constants.items()] + body
    for name, (out, *operands) in tape.steps:
        registers = {letter: f"r{r}" for letter, r in zip("abc", operands, strict=False)}
        body.append(f"r{out} = {_with(registers, ELEMENTS[name])}")
    for i, (register, value) in enumerate(stored.items(), len(outside)):
        what = f"1 if r{register} != 0 else 0" if draft.known[value].is_bool() else f"r{register}"
        body.append(f"x{i}[i] = {what}")
    names = ", ".join(f"o{i}" for i in range(count))
    moves = [f"o{i} += index * p[{lengths} + rank * {i + 1} + axis]" for i in range(count)]
    return head(__name__) + _KERNEL.format(
        words=lengths + _AXES * (count + 1), lengths=lengths, offsets=names if count > 1 else f"{names},",
        zeros=", ".join("0" * count) + ("," if count == 1 else ""),
        moves="\n".join(" " * 12 + m for m in moves), opened="\n".join(" " * 8 + o for o in opened),
        body="\n".join(" " * 12 + b for b in body),
    )  # fmt: skip


def _with(registers: dict[str, str], expression: str) -> str:
    return _LETTER.sub(lambda match: registers[match[0]], expression)


def _literal(key: int) -> str:
    """A float32 by its bits, as Python writes it."""
    value = float(np.array(key, np.uint32).view(np.float32))
    return {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}.get(repr(value), repr(value))
