"""Back-pressure: what a Node that has too much to do tells those who send to it, and when it listens again.

The *load* is how much waits, of a *capacity*: Envelopes that wait to be taken in, or bytes. There are two marks:

* from the high-water mark (75 %) on, who sends gets a **notice**: send me nothing for a second. What it sent is still
  taken in, as is what comes until that second is over, since it may have been under way before the notice arrived;
* who sends later, and finds the Node still as full, gets the next notice, which asks for twice as long. After the third
  comes **silence**: what that peer sends is dropped, and it is told nothing more, as an answer costs too;
* silence ends as soon as the load is seen below the low-water mark (50 %), or after 30 s. Between two marks that far
  apart, peers are not let in and shut out with each Envelope. Who was silenced has one notice left;
* every ten seconds without a notice, one is forgiven.

A notice travels as a Record in an Envelope without a request, to the site `NOTICE_SITE`, which every Node has without
exporting it: BLAKE2b-64 of a fixed name, like all site ids. It says how long to wait, not until when, because two Nodes
have no clock in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bb_core import keys
from bb_core.errors import PayloadError
from bb_core.ids import PeerId, site_id
from bb_core.values import Record

HIGH: Final = 75
LOW: Final = 50
"""The two marks, in per cent of the capacity."""
NOTICES: Final = 3
"""How many notices a peer gets before silence."""
INTERVAL: Final = 10**9
LONGEST: Final = 60 * 10**9
"""Nanoseconds that the first notice asks for, and the most that any does; no other follows before they are over."""
RECOVERY: Final = 30 * 10**9
"""Nanoseconds that silence lasts at most. A sender that backs off for the longest time is heard when it comes back."""
FORGIVEN: Final = 10 * 10**9
"""Nanoseconds without a notice after which one is forgiven."""
MOST: Final = 16_384
"""Peers to remember, as many as an address book holds; the longest without a notice goes first."""

NOTICE_SITE: Final = site_id(f"{keys.PREFIX}.backpressure", "notice")
"""Where a notice goes, on every Node."""

_LONGEST_CAUSE: Final = 64


class Action(Enum):
    """What to do with what a peer has sent, and whether to answer."""

    ADMIT = "admit"
    """Take it in."""
    NOTIFY = "notify"
    """Take it in, and send a notice."""
    SUPPRESS = "suppress"
    """Take it in, and send no notice, since one is out."""
    DROP_SILENTLY = "drop silently"
    """Drop it, and say nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done.

    Attributes:
        min_backoff_ns: What the notice asks for, in nanoseconds; 0 where none is sent.
    """

    action: Action
    min_backoff_ns: int = 0

    @property
    def is_admitted(self) -> bool:
        """Whether what was sent is taken in."""
        return self.action is not Action.DROP_SILENTLY


ADMIT: Final = Verdict(Action.ADMIT)
SUPPRESS: Final = Verdict(Action.SUPPRESS)
DROP_SILENTLY: Final = Verdict(Action.DROP_SILENTLY)


@dataclass(slots=True)
class _Sender:
    """A peer that has had a notice.

    Attributes:
        notices: How many count against it, before any are forgiven.
        until: When the time is over that the last one asked for, or its silence was.
    """

    notices: int
    until: int


class Overload:
    """What each sender is told while there is too much to do. Times are nanoseconds and never go back.

    Args:
        high: The high-water mark in per cent.
        low: The low-water mark in per cent; below `high`.
        notices: How many notices a peer gets before silence; at least one.
        most: Peers to remember.
    """

    def __init__(self, high: int = HIGH, low: int = LOW, notices: int = NOTICES, most: int = MOST) -> None:
        self._high = high
        self._low = low
        self._notices = notices
        self._most = most
        self._senders: dict[bytes, _Sender] = {}  # by when each had its last notice, the longest ago first
        self._silent: dict[bytes, int] = {}  # until when; equally long for all, so in order of their ends
        self._recovered: list[bytes] = []
        self.is_troubled = False
        """Whether somebody is silent, or `recovered` has something to say."""

    def __len__(self) -> int:
        """How many peers are remembered."""
        return len(self._senders)

    def observe(self, peer: PeerId, load: int, capacity: int, now: int) -> Verdict:
        """Say what to do with something that a peer has sent.

        Args:
            peer: Who has sent it.
            load: How much waits, what has just come included.
            capacity: How much may wait.
            now: The time in nanoseconds.
        """
        if self._silent:
            self.relieve(load, capacity, now)
            if peer.raw in self._silent:
                return DROP_SILENTLY
        if load * 100 < capacity * self._high:
            return ADMIT
        return self._notify(peer.raw, now)

    def relieve(self, load: int, capacity: int, now: int) -> None:
        """End the silences that have lasted long enough; all of them if the load is below the low-water mark.

        `observe` does so first. Call it after a poll too: silence may keep everyone away, and then nobody is observed.
        """
        self._end_silences(now, are_all=load * 100 < capacity * self._low)

    def recovered(self, now: int) -> list[PeerId]:
        """Return whose silence has ended since the last call, in the order in which their silences began."""
        self._end_silences(now, are_all=False)
        peers = [PeerId(raw) for raw in self._recovered]
        self._recovered.clear()
        self.is_troubled = bool(self._silent)
        return peers

    def silent_until(self, peer: PeerId) -> int | None:
        """Return until when what a peer sends is dropped, at most; None for one that was heard at the last call."""
        return self._silent.get(peer.raw)

    def next_wakeup(self, now: int) -> int | None:
        """Return the time at which `recovered` has something to say; None if nobody is silent."""
        if self._recovered:
            return now
        return max(now, next(iter(self._silent.values()))) if self._silent else None

    def _end_silences(self, now: int, *, are_all: bool) -> None:
        while self._silent:
            raw, until = next(iter(self._silent.items()))
            if now < until and not are_all:
                return
            del self._silent[raw]
            self._senders[raw] = _Sender(self._notices - 1, min(now, until))
            if raw not in self._recovered:  # nobody may ask who has recovered: then it must not grow
                self._recovered.append(raw)
                del self._recovered[: -self._most]

    def _notify(self, raw: bytes, now: int) -> Verdict:
        sender = self._senders.get(raw)
        if sender is not None and now < sender.until:
            return SUPPRESS
        before = 0 if sender is None else max(0, sender.notices - (now - sender.until) // FORGIVEN)
        asked = min(INTERVAL << before, LONGEST)
        self._remember(raw, _Sender(before + 1, now + asked))
        if before + 1 >= self._notices:
            self._silent[raw] = now + RECOVERY
            self.is_troubled = True
        return Verdict(Action.NOTIFY, asked)

    def _remember(self, raw: bytes, sender: _Sender) -> None:
        self._senders.pop(raw, None)
        self._senders[raw] = sender
        if len(self._senders) > self._most:
            oldest = next(iter(self._senders))
            del self._senders[oldest]
            self._silent.pop(oldest, None)

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return whom it remembers as plain data."""
        return {
            "senders": [[raw, sender.notices, sender.until] for raw, sender in self._senders.items()],
            "silent": [[raw, until] for raw, until in self._silent.items()],
            "recovered": list(self._recovered),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._senders = {raw: _Sender(notices, until) for raw, notices, until in state["senders"]}
        self._silent = dict(state["silent"])
        self._recovered = list(state["recovered"])
        self.is_troubled = bool(self._silent or self._recovered)


# --- the notice -------------------------------------------------------------------------------------------------------


class Cause(Enum):
    """Why a Node asks to be sent less."""

    QUEUE = "queue"
    """Too many Envelopes wait."""
    BYTES = "bytes"
    """What waits holds too many bytes."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a peer asks for.

    Attributes:
        min_backoff_ns: For how long to send it nothing, in nanoseconds from when the notice arrives.
        cause: Why, as one word; a later release may know words that this one does not.
    """

    min_backoff_ns: int
    cause: str


def write_notice(min_backoff_ns: int, cause: Cause) -> Record:
    """Make what a notice's Envelope carries."""
    return Record(min_backoff_ns=min_backoff_ns, cause=cause.value)


def read_notice(value: Any) -> Notice:
    """Return what a peer asks for.

    Raises:
        PayloadError: The value that it has sent is no notice.
    """
    if not isinstance(value, Record):
        raise PayloadError(f"a back-pressure notice is a {type(value).__name__}", expected="a Record")
    backoff, cause = value.get("min_backoff_ns"), value.get("cause")
    if type(backoff) is not int or backoff < 0:
        raise PayloadError("a back-pressure notice does not say for how long", expected="min_backoff_ns, an int from 0")
    if type(cause) is not str or len(cause) > _LONGEST_CAUSE:
        raise PayloadError(
            "a back-pressure notice does not say why", expected=f"cause, a str of at most {_LONGEST_CAUSE} characters"
        )
    return Notice(backoff, cause)
