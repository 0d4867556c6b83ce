"""`FakeClock`: time that passes when a test says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from bb_core.errors import UsageError
from bb_core.types import parse_duration


class FakeClock:
    """Nanoseconds that stand still until `advance`; what was asked for `at` a time is called when it has come.

    Give `clock.now` to `node.poll`, or the clock to a `FakeContext`.
    """

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, when: int, call: Callable[[], None]) -> None:
        """Have something called when the time has come; calls of one time in the order in which they were asked for."""
        self._asked += 1
        heapq.heappush(self._due, (when, self._asked, call))

    def advance(self, by: int | str) -> int:
        """Let time pass, `"30s"` or nanoseconds, with the calls that fall due. Returns the new time."""
        try:
            until = self.now + parse_duration(by)
        except ValueError as error:
            raise UsageError(f"a clock cannot advance by {by!r}", expected="nanoseconds from 0, or '30s'") from error
        while self._due and self._due[0][0] <= until:
            when, _, call = heapq.heappop(self._due)
            self.now = max(self.now, when)
            call()
        self.now = until
        return self.now

    def advance_to_next(self) -> bool:
        """Go to the next time at which something is called. Returns False when there is none."""
        if not self._due:
            return False
        self.advance(max(0, self._due[0][0] - self.now))
        return True
