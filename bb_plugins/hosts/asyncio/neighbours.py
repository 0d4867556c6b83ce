"""One peer as its host sees it: what is to be sent to it, over which link, and how it is reached again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import bb_core as bb
from bb_core.errors import AddressError, BBError
from bb_core.steps import SendEnvelope
from bb_plugins.transports.interface import Link

if TYPE_CHECKING:
    from bb_plugins.hosts.asyncio.switchboard import Switchboard

_log = logging.getLogger(__name__)

_BATCH: Final = 256 * 1024
"""Bytes that are given to a link at once; one frame may be longer."""
_LINKS: Final = 4
"""Links that one peer may have: two that were made at the same moment, and what a restart has left."""
_SHORT: Final = 1.0
"""Seconds: whose last link has lived for less may not want to be connected, and is not dialed again at once."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a peer out of reach is tried again: after a time that doubles, with half of it drawn."""

    first: float = 0.1
    most: float = 30.0

    def wait(self, attempt: int) -> float:
        """Return how many seconds to wait after so many attempts in a row, from 1."""
        full = min(self.most, self.first * 2.0 ** min(attempt - 1, 30))
        return full * (0.5 + random.random() / 2)  # it only keeps peers apart


@dataclass(slots=True)
class Traffic:
    """What has passed between a host and one peer."""

    sent: int = 0
    """Envelopes that were handed over."""
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    seen: int | None = None
    """When something came last, by the Node's time."""

    def took(self, frames: Sequence[memoryview | bytes], now: int) -> None:
        """Count Envelopes that have come."""
        self.received += len(frames)
        self.received_bytes += sum(map(len, frames))
        self.seen = now


class Neighbour:
    """A peer.

    Invariants:
        * What waits is bounded, in bytes and in frames; what finds no room has failed.
        * Every SendEnvelope gets one outcome: handed to the kernel, or its deadline passed, or no room, or no address.
        * Frames that a link had not handed over when it broke are sent by the next one; receivers know duplicates.
    """

    def __init__(self, board: Switchboard, peer: bb.PeerId) -> None:
        self.peer = peer
        self.addresses: tuple[bytes, ...] = ()
        """Where the host was told to look for it."""
        self.is_kept = False
        """Whether to stay connected although nothing waits."""
        self.links: list[Link] = []
        self.is_known = False
        """Whether the host was told of it; it is then never forgotten."""
        self.traffic = Traffic()
        self._board = board
        self._most_bytes, self._most_frames = board.config.queue_bytes, board.config.queue_frames
        self._has_pumped = False
        self._itself = bb.Address.parse(f"/p2p/{peer}").to_bytes()
        """What the Node is told of a link that the peer has made: none of the addresses that it knows."""
        self._queue: deque[SendEnvelope] = deque()
        self._held = 0
        self._handed: list[SendEnvelope] = []  # given to the newest link, which was not free afterwards
        self._task: asyncio.Task[None] | None = None
        self._knock = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_at = 0
        self._opened_at = 0.0
        self._short_links = 0  # in a row

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits."""
        return not self._queue and not self._handed

    @property
    def is_idle(self) -> bool:
        """Whether nothing has to be remembered of it."""
        return self.is_quiet and not self.links and not (self.is_kept or self.is_known) and self._task is None

    @property
    def waiting(self) -> int:
        """How many Envelopes are not handed over yet."""
        return len(self._queue) + len(self._handed)

    # --- sending ------------------------------------------------------------------------------------------------------

    def add(self, step: SendEnvelope) -> None:
        """Take in an Envelope to be sent; `pump` sends it."""
        held = self._held + len(step.data)
        if held > self._most_bytes or len(self._queue) >= self._most_frames:
            self._board.counters["send: no room"] += 1
            self._board.outcome(step.id, False)
            return
        self._queue.append(step)
        self._held = held
        if self._expiry is not None and step.deadline < self._expiry_at:
            self._expiry.cancel()
            self._expire_at(step.deadline)

    def pump(self) -> None:
        """Send what can be sent; without a link, make one.

        The first call in a turn of the event loop sends at once. What further calls bring waits for the end of the
        turn, and is sent together.
        """
        if not self.links:
            self._reach()
        elif self._has_pumped:
            return
        elif self._queue:
            self._has_pumped = True
            asyncio.get_running_loop().call_soon(self._turned)
            self._send_all()
        if self._queue and self._expiry is None:
            self._expire_at(min(step.deadline for step in self._queue))

    def _turned(self) -> None:
        self._has_pumped = False
        if self._queue:
            self.pump()

    def _send_all(self) -> None:
        link = self.links[-1]
        while self._queue and link.is_free:
            self._send(link)

    def _send(self, link: Link) -> None:
        queue = self._queue
        if len(queue) == 1:
            batch = [queue.popleft()]
        else:
            batch, size = [], 0
            while queue and (not batch or size + len(queue[0].data) <= _BATCH):
                step = queue.popleft()
                batch.append(step)
                size += len(step.data)
        self._handed = batch
        link.send([step.data for step in batch])
        if link.is_free:
            self._confirm(link)

    def _confirm(self, link: Link) -> None:
        """The kernel has all that the link was given."""
        handed, self._handed = self._handed, []
        address, outcome, held = link.dialed or self._itself, self._board.outcome, self._held
        for step in handed:
            self._held -= len(step.data)
            outcome(step.id, True, address)
        self.traffic.sent += len(handed)
        self.traffic.sent_bytes += held - self._held

    def drained(self, link: Link) -> None:
        """A link is free again."""
        if self.links and link is self.links[-1]:
            self._confirm(link)
            self.pump()

    # --- links --------------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """There is a link; from now on it is the one that is used."""
        self._take_back()
        self.links.append(link)
        self._opened_at = asyncio.get_running_loop().time()
        if len(self.links) > _LINKS:
            self.links[0].abort()
        self._knock.set()
        self.pump()

    def closed(self, link: Link) -> None:
        """A link is gone."""
        if link not in self.links:
            return
        if link is self.links[-1]:
            self._take_back()
        self.links.remove(link)
        if not self.links:
            is_short = asyncio.get_running_loop().time() - self._opened_at < _SHORT
            self._short_links = self._short_links + 1 if is_short else 0
        if self._queue or self.is_kept:
            self.pump()

    def _take_back(self) -> None:
        self._queue.extendleft(reversed(self._handed))
        self._handed = []

    def stop(self) -> None:
        """Try no more, and wait for no deadline."""
        self.is_kept = False
        if self._task is not None:
            self._task.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # --- reaching it --------------------------------------------------------------------------------------------------

    def _reach(self) -> None:
        if self._task is None and (self._queue or self.is_kept) and self._board.is_open:
            self._task = asyncio.get_running_loop().create_task(self._try(), name=f"reach {self.peer}")
            self._task.add_done_callback(self._tried)

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            _log.error("reaching %s has failed", self.peer, exc_info=task.exception())
        elif self._queue and not self.links and not task.cancelled():
            self._reach()

    async def _try(self) -> None:
        """Dial until there is a link, or nobody wants one any more."""
        attempt = self._short_links
        while not self.links and (self._queue or self.is_kept):
            places = list(self._places())
            if not places:
                self._give_up("no address")
                return
            if attempt:
                await self._wait(attempt)
                if self.links:
                    return
            if await self._dial(places):
                return
            attempt += 1

    async def _wait(self, attempt: int) -> None:
        """Leave a peer alone for a while, or until it has connected by itself."""
        self._knock.clear()
        wait = self._board.config.patience.wait(attempt)
        _log.info("%s is out of reach, attempt %d", self.peer, attempt, extra={"peer": str(self.peer), "wait": wait})
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._knock.wait()

    async def _dial(self, places: Iterable[bb.Address]) -> bool:
        board = self._board
        for address in places:
            board.counters["dialed"] += 1
            try:
                await board.transport_of(address).dial(address, board, self.peer)
            except (OSError, TimeoutError, BBError) as error:
                board.counters["dial failed"] += 1
                _log.debug("%s at %s: %s", self.peer, address, error)
            if self.links:  # this one, or one that the peer has made meanwhile
                return True
        return False

    def _places(self) -> Iterable[bb.Address]:
        """Where to look for it: what the Node says for what waits, then what the host was told."""
        told = self._queue[-1].addresses if self._queue else ()
        for raw in dict.fromkeys((*told, *self.addresses)):
            try:
                address = bb.Address.from_bytes(raw)
            except AddressError:
                continue
            if self._board.serves(address):
                yield address

    def _give_up(self, reason: str) -> None:
        """Nothing that waits can be sent."""
        self._board.counters[f"send: {reason}"] += len(self._queue)
        while self._queue:
            self._drop(self._queue.popleft())

    def _drop(self, step: SendEnvelope) -> None:
        self._held -= len(step.data)
        self._board.outcome(step.id, False)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _expire_at(self, when: int) -> None:
        self._expiry_at = when
        wait = max(0, when - self._board.now()) / 1e9
        self._expiry = asyncio.get_running_loop().call_later(wait, self._expire)

    def _expire(self) -> None:
        """Drop what was to be handed over by now."""
        self._expiry, now = None, self._board.now()
        late = [step for step in self._queue if step.deadline <= now]
        if late:
            self._board.counters["send: too late"] += len(late)
            self._queue = deque(step for step in self._queue if step.deadline > now)
            for step in late:
                self._drop(step)
        if self._queue:
            self._expire_at(min(step.deadline for step in self._queue))
