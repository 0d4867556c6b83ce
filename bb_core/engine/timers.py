"""Timers: a heap of what is to be done when, in a fixed order among equals."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, order=True)
class Timer:
    """Something to do at a time; `cancel` it when it is no longer wanted."""

    when: int
    sequence: int
    action: Callable[[], None] | None = field(compare=False)
    reason: str = field(compare=False, default="")

    def cancel(self) -> None:
        """Do nothing when the time comes, and do not wake the Node for it."""
        self.action = None


class Timers:
    """The timers of one Node. Ties go in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._sequence = 0

    def set(self, when: int, action: Callable[[], None], reason: str) -> Timer:
        """Do `action` once the time is `when` or later."""
        self._sequence += 1
        timer = Timer(when, self._sequence, action, reason)
        heapq.heappush(self._heap, timer)
        return timer

    def next(self) -> Timer | None:
        """Return the next timer that is not cancelled."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def fire(self, now: int) -> bool:
        """Do all that is due. Returns whether anything was."""
        fired = False
        while (timer := self.next()) is not None and timer.when <= now:
            heapq.heappop(self._heap)
            action, timer.action = timer.action, None
            if action is not None:
                action()
                fired = True
        return fired
