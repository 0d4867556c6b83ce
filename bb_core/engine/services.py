"""What the ops of all Frames of a Node share: limits, queues, stashes, records and counters, each bounded."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

from bb_core.errors import RoleError

QUEUED: Final = 4096  # values in one queue
STASHED: Final = 1024  # names under which values are kept
RINGS: Final = 1024  # names of records
RECORDED: Final = 1024  # values under one name
RESERVED: Final = ("bb.", "ai.bytesandbrains.")


class Services:
    """The named state of one Node. What does not fit is dropped, and a counter says how often."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.queues: dict[str, deque[Any]] = {}
        self.stashed: dict[str, Any] = {}
        self.rings: dict[str, deque[Any]] = {}
        self.counters: Counter[str] = Counter()
        self.latched: set[str] = set()
        self.tallies: Counter[str] = Counter()
        self.tokens = 0

    def enter(self, name: str, n: int) -> bool:
        """Enter a limit if fewer than n are inside."""
        if self.inside[name] >= n:
            return False
        self.inside[name] += 1
        return True

    def leave(self, name: str) -> None:
        """Leave a limit; leaving an empty one changes nothing."""
        if self.inside[name] > 0:
            self.inside[name] -= 1

    def enqueue(self, queue: str, value: Any) -> None:
        """Append a value to a queue; the oldest of too many is dropped."""
        items = self.queues.setdefault(queue, deque())
        if len(items) >= QUEUED:
            items.popleft()
            self.counters["bb.queue.dropped"] += 1
        items.append(value)

    def dequeue(self, queue: str) -> Any:
        """Take the first value of a queue, or None."""
        items = self.queues.get(queue)
        return items.popleft() if items else None

    def stash(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        if name not in self.stashed and len(self.stashed) >= STASHED:
            raise RoleError(f"{STASHED} names are stashed already, so {name!r} cannot be kept", hint="flush some")
        self.stashed[name] = value

    def flush(self, name: str) -> Any:
        """Take what is kept under a name, or None."""
        return self.stashed.pop(name, None)

    def record(self, name: str, value: Any) -> None:
        """Append a value to a ring."""
        ring = self.rings.get(name)
        if ring is None:
            if len(self.rings) >= RINGS:
                self.counters["bb.records.dropped"] += 1
                return
            ring = self.rings[name] = deque(maxlen=RECORDED)
        ring.append(value)

    def tally(self, name: str, n: int) -> bool:
        """Count one more; say whether that makes n, and begin anew."""
        self.tallies[name] += 1
        if self.tallies[name] < n:
            return False
        self.tallies[name] = 0
        return True

    def latch(self, group: str) -> bool:
        """Say whether a group has let nothing through yet, and that it has now. Groups without a name always may."""
        if group and group in self.latched:
            return False
        self.latched.add(group)
        return True

    def token(self) -> int:
        """Give a number that has not been given."""
        self.tokens += 1
        return self.tokens
