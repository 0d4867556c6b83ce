"""Memory for values that live only inside a run: two whose lives do not overlap may have the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Life:
    """A value's size, and the first and last step that touches it."""

    value: int
    nbytes: int
    first: int
    last: int


def placed(lives: Sequence[Life]) -> tuple[dict[int, int], int]:
    """Return an offset for each value, and how much memory that takes: large ones first, each in the lowest gap."""
    offsets: dict[int, int] = {}
    taken: list[tuple[int, int, Life]] = []
    whole = 0
    for life in sorted(lives, key=lambda life: (-life.nbytes, life.first, life.value)):
        size = -(-max(life.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, other in sorted(taken, key=lambda t: t[0]):
            if other.last < life.first or life.last < other.first:
                continue
            if start - at >= size:
                break
            at = max(at, end)
        offsets[life.value] = at
        taken.append((at, at + size, life))
        whole = max(whole, at + size)
    return offsets, whole
