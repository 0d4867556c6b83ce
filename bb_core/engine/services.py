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

    def state(self) -> dict[str, Any]:
        """Return all of it: names, numbers, and values."""
        return {
            "inside": dict(self.inside),
            "queues": {name: list(queue) for name, queue in self.queues.items()},
            "stashed": dict(self.stashed),
            "rings": {name: list(ring) for name, ring in self.rings.items()},
            "counters": dict(self.counters),
            "latched": sorted(self.latched),
            "tallies": dict(self.tallies),
            "tokens": self.tokens,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state. The counters are filled, not replaced: ops hold them."""
        self.inside = Counter(state["inside"])
        self.queues = {name: deque(items) for name, items in state["queues"].items()}
        self.stashed = dict(state["stashed"])
        self.rings = {name: deque(items, maxlen=RECORDED) for name, items in state["rings"].items()}
        self.counters.update(state["counters"])
        self.latched = set(state["latched"])
        self.tallies = Counter(state["tallies"])
        self.tokens = state["tokens"]

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
