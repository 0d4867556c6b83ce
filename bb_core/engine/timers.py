"""Timers: a heap of what is to be done when, in a fixed order among equals.

A timer is data, a kind and whom it is for, so that a snapshot can hold it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final

_FEW: Final = 64  # below this many cancelled timers, sweeping them out of the heap is not worth it


@dataclass(slots=True)
class Timer:
    """Something to do at a time.

    Attributes:
        when: Nanoseconds.
        sequence: Its place among those of one time.
        kind: What to do; the Engine has a method for each.
        key: Whom it is for.
        reason: What the Node says when it is asked why it wants to be woken.
        is_set: False once it is cancelled or done.
    """

    when: int
    sequence: int
    kind: str
    key: Any
    reason: str
    is_set: bool = True


class Timers:
    """The timers of one Node. Ties go in the order in which they were set."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """How many are set."""
        return len(self.heap) - self._cancelled

    def set(self, when: int, kind: str, key: Any, reason: str) -> Timer:
        """Do something once the time is `when` or later."""
        self._sequence += 1
        return self.put(Timer(when, self._sequence, kind, key, reason))

    def put(self, timer: Timer) -> Timer:
        """Set a timer that has its place among others already, such as one of a snapshot."""
        heapq.heappush(self.heap, (timer.when, timer.sequence, timer))
        self._sequence = max(self._sequence, timer.sequence)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do nothing when the time comes, and do not wake the Node for it. Twice, or too late, is no error."""
        if not timer.is_set:
            return
        timer.is_set = False
        timer.key = None  # it stands in the heap a little longer, and must not keep alive whom it was for
        self._cancelled += 1
        if self._cancelled > _FEW and self._cancelled > len(self.heap) // 2:
            self.heap = [entry for entry in self.heap if entry[2].is_set]
            heapq.heapify(self.heap)
            self._cancelled = 0

    def next(self) -> Timer | None:
        """Return the next timer that is set."""
        heap = self.heap
        while heap:
            timer = heap[0][2]
            if timer.is_set:
                return timer
            heapq.heappop(heap)
            self._cancelled -= 1
        return None

    def due(self, now: int) -> Timer | None:
        """Return the next timer whose time has come."""
        timer = self.next()
        return timer if timer is not None and timer.when <= now else None

    def take(self, timer: Timer) -> None:
        """Mark a timer as done; it stands in the heap a little longer, and is swept out as the cancelled are."""
        timer.is_set = False
        self._cancelled += 1

    def in_order(self) -> list[Timer]:
        """Return all that are set, the next first."""
        return [entry[2] for entry in sorted(self.heap, key=lambda e: e[:2]) if entry[2].is_set]

    @property
    def sequence(self) -> int:
        """The number of the last one that was set."""
        return self._sequence

    @sequence.setter
    def sequence(self, number: int) -> None:
        self._sequence = number
