"""Timers: a heap of what is to be done when, in a fixed order among equals."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FEW: Final = 64  # below this many cancelled timers, sweeping them out of the heap is not worth it


@dataclass(slots=True, order=True)
class Timer:
    """Something to do at a time; its action is None once it is cancelled or done."""

    when: int
    sequence: int
    action: Callable[[], None] | None = field(compare=False)
    reason: str = field(compare=False, default="")


class Timers:
    """The timers of one Node. Ties go in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """How many are set and not cancelled."""
        return sum(t.action is not None for t in self._heap)

    def set(self, when: int, action: Callable[[], None], reason: str) -> Timer:
        """Do `action` once the time is `when` or later."""
        self._sequence += 1
        timer = Timer(when, self._sequence, action, reason)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do nothing when the time comes, and do not wake the Node for it. Twice, or too late, is no error."""
        if timer.action is None:
            return
        timer.action = None
        self._cancelled += 1
        if self._cancelled > _FEW and self._cancelled > len(self._heap) // 2:
            self._heap = [t for t in self._heap if t.action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next(self) -> Timer | None:
        """Return the next timer that is not cancelled."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0] if self._heap else None

    def due(self, now: int) -> Timer | None:
        """Return the next timer whose time has come."""
        timer = self.next()
        return timer if timer is not None and timer.when <= now else None

    def fire(self, timer: Timer) -> None:
        """Do what a timer is for; nothing if it has been cancelled since."""
        action, timer.action = timer.action, None
        if action is not None:
            self._cancelled += 1  # it still stands in the heap, and is swept out as the cancelled are
            action()
