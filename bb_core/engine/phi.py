"""Who is silent for longer than usual: the phi-accrual failure detector (Hayashibara et al. 2004), one for each peer.

`phi = elapsed / (mean * ln 10)`: of intervals that are distributed exponentially about a mean, one in `10^phi` lasts
longer than what has elapsed. Above 8 a peer is suspect, above 16 it counts as down, and the first word from it makes it
up again. This is advice to whoever selects peers and to the host; it ends no wait, for that is what deadlines are for.

Federated rounds come in bursts, so what is a heartbeat elsewhere has to be defined anew here:

* **Silence counts only while something is expected of a peer** (`expect`, `release`): between two rounds nobody has a
  reason to speak. Nobody else is judged either, so strangers take up no room.
* **Silence adds up over expectations**, until the peer is heard. A dead peer that is asked every minute, and given up
  after five seconds each time as the others were enough, is found out; if each question began anew, it never would be.
* **The mean is weighted by time**: it is how long the silence is that a moment of waiting falls into, the sum of the
  squares by the sum. Intervals of equal length have the usual mean; but a minute of training, and then a hundred pieces
  of the result with two seconds between, have one of 15.4 and not of 2.6 s. By the latter, training would be suspect.
* **Each expectation makes one message count**, however soon it comes; of the others only those after a silence of at
  least the floor. So a burst at one instant is one observation, and the three that a judgement needs are three answers.
* **The floor**: no mean counts as less than one second, so nobody is suspect in under 18.4 s, or down in under 36.8 s.
  That is what detectors with a heartbeat each second have. Answers of a few milliseconds say that the peer and the
  network are fast, but not that the next question, which may cost it a pass over its data, is answered as fast.
* **An outage is not a habit**: a silence is learnt as no longer than what made the peer suspect. One that has become
  slower for good is believed after a few such silences, as each lifts the mean.
* **The past fades** at the rate of a window of a thousand intervals, without the window: a peer costs five numbers, not
  a thousand, in memory and in each snapshot.

What decides is whole nanoseconds; the `float` that `phi` returns is for people. Nothing here looks at all peers: an
event costs what one peer costs, and a heap, put right only where it is due, knows who is next.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bb_core.ids import PeerId

SUSPECT: Final = 8
DOWN: Final = 16
"""The values of phi above which a peer is suspect, and down."""
WARM: Final = 3
"""Intervals before a peer is judged."""
HISTORY: Final = 1000
"""Intervals after which each new one makes the past count for a thousandth less."""
FLOOR: Final = 10**9
"""The least mean interval that counts, in nanoseconds."""
MOST: Final = 16_384
"""Peers that are remembered, as many as an address book holds; of whom the longest nothing was expected goes first."""

_LN10: Final = 2_302_585_093  # in billionths, so that all machines agree to the nanosecond
_BILLION: Final = 10**9
_SPARE: Final = 64  # superseded entries that the heap may hold beside two for each peer


class Health(Enum):
    """What is thought of a peer."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"


_UP: Final = Health.UP  # `heard` runs for each Envelope, and a member is dearer to look up than a name


@dataclass(slots=True)
class _Watch:
    """What is known of one peer. All times are nanoseconds.

    Attributes:
        expected: How many expectations are open.
        since: While something is expected: when the silence began, had it been expected all along. Else 0.
        silent: While nothing is expected: how long the silence was until then. Else 0.
        owes: Whether something was expected since it was last heard, so that its next message counts.
        mean: The mean silence, weighted by time.
        total: The time that the mean is made of.
        count: The silences that it is made of, up to `HISTORY`.
        typical: The mean that counts; 0 until the peer is judged.
        patience: The silence above which it is suspect.
        key: Its place in the heap: never later than when it is due. None when it has none.
    """

    peer: PeerId
    expected: int = 0
    since: int = 0
    silent: int = 0
    owes: bool = False
    mean: int = 0
    total: int = 0
    count: int = 0
    health: Health = _UP
    typical: int = 0
    patience: int = 0
    key: int | None = None

    def learn(self, silence: int, floor: int) -> None:
        """Take in how long a silence was."""
        if self.typical and silence > self.patience:
            silence = self.patience
        if self.count < HISTORY:
            self.count += 1
        else:
            self.total -= self.total // HISTORY
        self.total += silence
        if silence:
            self.mean += (silence - self.mean) * silence // self.total
        self.judge(floor)

    def judge(self, floor: int) -> None:
        """Work out what follows from the mean."""
        typical = max(self.mean, floor)
        if self.count >= WARM and typical != self.typical:
            self.typical = typical
            self.patience = _silence(typical, SUSPECT)

    def due(self) -> int | None:
        """When it becomes suspect or down if it stays silent; None when it does not."""
        if not self.expected or not self.typical or self.health is Health.DOWN:
            return None
        allowed = self.patience if self.health is _UP else _silence(self.typical, DOWN)
        return self.since + allowed + 1


def _silence(mean: int, phi: int) -> int:
    """The longest silence whose phi is not above a value."""
    return mean * phi * _LN10 // _BILLION


class FailureDetector:
    """Watches peers while something is expected of them. Times are nanoseconds and never go back.

    Args:
        floor: The least mean interval that counts, in nanoseconds.
        most: Peers to remember.
    """

    def __init__(self, floor: int = FLOOR, most: int = MOST) -> None:
        self._floor = floor
        self._most = most
        self._watches: dict[bytes, _Watch] = {}
        self._idle: dict[bytes, None] = {}  # of whom nothing is expected, the longest first
        self.heap: list[tuple[int, bytes]] = []
        self.recovered: list[PeerId] = []

    def __len__(self) -> int:
        """How many peers are remembered."""
        return len(self._watches)

    def expect(self, peer: PeerId, now: int) -> None:
        """Begin to wait for a peer; each call wants one `release`. When too many peers are waited for, not for more."""
        watch = self._watches.get(peer.raw) or self._remember(peer)
        if watch is None:
            return
        if not watch.expected:
            self._idle.pop(peer.raw, None)
            watch.since, watch.silent = now - watch.silent, 0
        watch.expected += 1
        watch.owes = True
        self._schedule(watch)

    def release(self, peer: PeerId, now: int) -> None:
        """Wait no longer: it has answered, or is not asked any more. Without an expectation, nothing changes."""
        watch = self._watches.get(peer.raw)
        if watch is None or not watch.expected:
            return
        watch.expected -= 1
        if not watch.expected:
            watch.since, watch.silent = 0, now - watch.since
            self._idle[peer.raw] = None

    def heard(self, peer: PeerId, now: int) -> None:
        """Take in that a peer lives, whatever it has said. When it has answered, call this before `release`."""
        watch = self._watches.get(peer.raw)
        if watch is None:
            return
        if watch.expected:
            silence = now - watch.since
            watch.since = now
        else:
            silence = watch.silent
            watch.silent = 0
        if watch.owes or silence >= self._floor:
            watch.owes = False
            watch.learn(silence, self._floor)
        if watch.health is not _UP:
            watch.health = _UP
            self.recovered.append(peer)
        if watch.expected and (watch.key is None or watch.key > now + watch.patience):
            self._schedule(watch)

    def phi(self, peer: PeerId, now: int) -> float:
        """Return how sure it is that a peer is gone: it is wrong once in `10^phi`. 0.0 for one that is not judged."""
        watch = self._watches.get(peer.raw)
        if watch is None or not watch.typical:
            return 0.0
        elapsed = now - watch.since if watch.expected else watch.silent
        return elapsed * _BILLION / (watch.typical * _LN10)

    def health(self, peer: PeerId) -> Health:
        """Return what `changes` has last said of a peer, or that it was heard since. One that nobody knows is up."""
        watch = self._watches.get(peer.raw)
        return Health.UP if watch is None else watch.health

    def changes(self, now: int) -> list[tuple[PeerId, Health]]:
        """Return whose health has changed since the last call, each change once.

        Those who were heard again come first, in that order; then those who have become suspect or down, by when they
        did, and by id among equals. Who passed both limits since the last call is down.
        """
        changed = [(peer, Health.UP) for peer in self.recovered]
        self.recovered.clear()
        while (watch := self._next()) is not None and watch.key is not None and watch.key <= now:
            is_down = now - watch.since > _silence(watch.typical, DOWN)
            watch.health = Health.DOWN if is_down else Health.SUSPECT
            changed.append((watch.peer, watch.health))
        return changed

    def next_change(self, now: int) -> int | None:
        """Return the time at which `changes` has something to say if nobody is heard until then; None for never."""
        if self.recovered:
            return now
        watch = self._next()
        return None if watch is None or watch.key is None else max(watch.key, now)

    # --- who is next --------------------------------------------------------------------------------------------------

    def _remember(self, peer: PeerId) -> _Watch | None:
        if len(self._watches) >= self._most:
            if not self._idle:
                return None
            oldest = next(iter(self._idle))
            del self._idle[oldest], self._watches[oldest]
        watch = self._watches[peer.raw] = _Watch(peer)
        return watch

    def _schedule(self, watch: _Watch) -> None:
        """Let the heap hold a peer no later than when it is due. Mostly it does: whoever is heard is due later."""
        due = watch.due()
        if due is None or (watch.key is not None and watch.key <= due):
            return
        watch.key = due
        heapq.heappush(self.heap, (due, watch.peer.raw))
        if len(self.heap) > 2 * len(self._watches) + _SPARE:
            self.heap = [(w.key, raw) for raw, w in self._watches.items() if w.key is not None]
            heapq.heapify(self.heap)

    def _next(self) -> _Watch | None:
        """Return the peer that is due first, and its key is when. Puts right what stands before it in the heap."""
        heap = self.heap
        while heap:
            key, raw = heap[0]
            watch = self._watches.get(raw)
            if watch is None or watch.key != key:
                heapq.heappop(heap)
                continue
            watch.key = watch.due()
            if watch.key == key:
                return watch
            if watch.key is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (watch.key, raw))
        return None

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is known of all peers as plain data."""
        watched = sorted(raw for raw, watch in self._watches.items() if watch.expected)
        return {
            "peers": [_plain(raw, self._watches[raw]) for raw in (*watched, *self._idle)],
            "recovered": [peer.raw for peer in self.recovered],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._watches = {raw: _watch(raw, numbers, health) for raw, numbers, health in state["peers"]}
        self._idle = {raw: None for raw, watch in self._watches.items() if not watch.expected}
        self.heap = []
        for watch in self._watches.values():
            watch.judge(self._floor)
            self._schedule(watch)
        self.recovered = [PeerId(raw) for raw in state["recovered"]]


def _plain(raw: bytes, watch: _Watch) -> list[Any]:
    w = watch
    return [raw, [w.expected, w.since, w.silent, int(w.owes), w.mean, w.total, w.count], w.health.value]


def _watch(raw: bytes, numbers: list[int], health: str) -> _Watch:
    expected, since, silent, owes, mean, total, count = numbers
    return _Watch(PeerId(raw), expected, since, silent, bool(owes), mean, total, count, Health(health))
