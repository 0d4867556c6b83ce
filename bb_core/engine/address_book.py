"""The address book: known peers, where to reach them, and which class they are of.

Addresses come from four *origins*, of which the earlier are believed more: the host gave it, the program inserted it,
the peer itself claims it in its Envelopes, the transport saw the peer there. What a peer claims or was seen at is
forgotten half an hour after it was last heard of; a stranger that the book has learnt of only so is then forgotten
whole. A peer that does not answer at its addresses is no reason to forget them.

`addresses` gives those of a peer in order of preference: where it was last reached, then by origin, then by age; and
those where the last attempt failed after all others. A peer has at most `MOST_EACH`; nothing learnt displaces what the
host or the program gave, and a new claim displaces the least preferred of what was learnt. Only a peer that the
transport has verified can claim something, and only for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final

from bb_core.errors import AddressError, RoleError
from bb_core.ids import PeerId
from bb_core.wire.address import Address

MOST: Final = 16_384
"""How many peers a book learns of by itself; the host may add more."""
MOST_EACH: Final = 16
"""How many addresses it keeps of one peer: twice what one Envelope may claim."""
TTL: Final = 30 * 60 * 10**9
"""Nanoseconds for which something learnt is believed (libp2p: `RecentlyConnectedAddrTTL`)."""
_GRAIN: Final = TTL // 32  # renewals closer than this are one: an address then costs nothing for each Envelope


class Origin(IntEnum):
    """Who says that a peer is somewhere; the lower is believed more."""

    HOST = 0
    PROGRAM = 1
    CLAIMED = 2
    OBSERVED = 3


class _Place:
    """One address of a peer."""

    __slots__ = ("has_failed", "origin", "raw", "until")

    def __init__(self, raw: bytes, origin: Origin, until: int | None, has_failed: bool = False) -> None:
        self.raw = raw
        self.origin = origin
        self.until = until  # when it is forgotten, None for never
        self.has_failed = has_failed  # whether the last attempt did not reach the peer there


class _Known:
    """One peer."""

    __slots__ = ("is_given", "is_hosted", "peer_class", "places", "ranked", "reached")

    def __init__(self, peer_class: str, is_hosted: bool) -> None:
        self.peer_class = peer_class
        self.is_hosted = is_hosted  # given by the host
        self.is_given = is_hosted  # by the host or the program, so it is not forgotten
        self.places: dict[bytes, _Place] = {}
        self.reached = b""  # where it was last
        self.ranked: tuple[bytes, ...] | None = None  # what `addresses` gives, until something changes


class AddressBook:
    """Peers by id. Reading it gives them in order of id. Times are nanoseconds and never go back."""

    def __init__(self) -> None:
        self._peers: dict[PeerId, _Known] = {}
        self._sorted: dict[str | None, tuple[PeerId, ...]] = {}
        self._sweep_at: int | None = None  # no later than when the first learnt address is to be forgotten

    # --- what is told and learnt --------------------------------------------------------------------------------------

    def add(self, peer: PeerId, addresses: Sequence[bytes], peer_class: str) -> None:
        """Take in what the host says of a peer, instead of all that was known; the order is its preference."""
        known = self._peers[peer] = _Known(peer_class, True)
        for raw in addresses:
            known.places[raw] = _Place(raw, Origin.HOST, None)
        self._sorted.clear()

    def insert(self, peer: PeerId, addresses: Sequence[bytes], now: int) -> None:
        """Add addresses of a peer that the program knows.

        Raises:
            RoleError: the peer is a stranger and the book is full, or the peer has too many addresses.
        """
        known = self._peers.get(peer)
        if known is None:
            if self._is_full(now):
                raise RoleError(f"the address book is full: it has {MOST} peers", hint="forget some")
            known = self._stranger(peer)
        given = {raw for raw, place in known.places.items() if place.origin <= Origin.PROGRAM} | set(addresses)
        if len(given) > MOST_EACH:
            raise RoleError(
                f"{peer} has {len(given)} addresses", expected=f"at most {MOST_EACH}", hint="forget it first"
            )
        known.is_given = True
        for raw in addresses:
            self._put(known, raw, Origin.PROGRAM, None)

    def learn(self, peer: PeerId, addresses: Iterable[bytes], origin: Origin, now: int) -> None:
        """Take in where a peer says, or was seen, to be. What is no address is ignored."""
        known = self._peers.get(peer)
        for raw in addresses:
            place = None if known is None else known.places.get(raw)
            if place is not None:
                if place.until is not None and place.until < now + TTL - _GRAIN:
                    place.until = now + TTL
                continue
            if not _is_address(raw) or (known is None and self._is_full(now)):
                continue
            known = known or self._stranger(peer)
            self._put(known, raw, origin, now + TTL)

    def reached(self, peer: PeerId, address: bytes, ok: bool) -> None:
        """Take in whether a peer was reached at an address; empty: at the ones that it has."""
        known = self._peers.get(peer)
        if known is None:
            return
        places = [known.places[address]] if address in known.places else [] if address else [*known.places.values()]
        for place in places:
            place.has_failed = not ok
            if ok:
                known.reached = place.raw
        known.ranked = None

    def withdraw(self, peer: PeerId) -> None:
        """Take back what the program has said of a peer; what the host says stays, and what was learnt for its time."""
        known = self._peers.get(peer)
        if known is None:
            return
        known.places = {raw: place for raw, place in known.places.items() if place.origin is not Origin.PROGRAM}
        known.is_given, known.ranked = known.is_hosted, None
        if not known.places and not known.is_given:
            self.forget(peer)

    def forget(self, peer: PeerId) -> None:
        """Remove a peer; an unknown one is no error."""
        self._peers.pop(peer, None)
        self._sorted.clear()

    # --- what is known ------------------------------------------------------------------------------------------------

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._peers

    def addresses(self, peer: PeerId, now: int) -> tuple[bytes, ...]:
        """Return where to reach a peer, the best first; empty when that is not known."""
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        known = self._peers.get(peer)
        if known is None:
            return ()
        if known.ranked is None:
            places = sorted(  # stable: then by age
                known.places.values(), key=lambda p: (p.has_failed, p.raw != known.reached, p.origin)
            )
            known.ranked = tuple(place.raw for place in places)
        return known.ranked

    def peers(self, peer_class: str | None, now: int) -> tuple[PeerId, ...]:
        """Return the peers of a class, or all, in order of id."""
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        found = self._sorted.get(peer_class)
        if found is None:
            found = tuple(sorted(p for p, k in self._peers.items() if peer_class in (None, k.peer_class)))
            self._sorted[peer_class] = found
        return found

    # --- inside -------------------------------------------------------------------------------------------------------

    def _stranger(self, peer: PeerId) -> _Known:
        known = self._peers[peer] = _Known("", False)
        self._sorted.clear()
        return known

    def _put(self, known: _Known, raw: bytes, origin: Origin, until: int | None) -> None:
        """Add an address, or believe one more than before; where there is no room, a learnt one makes it."""
        before = known.places.get(raw)
        if before is not None:
            before.origin, before.until = min(before.origin, origin), until
        else:
            if len(known.places) >= MOST_EACH:
                worst = max(known.places.values(), key=lambda p: (p.origin, p.has_failed, -(p.until or 0)))
                if worst.origin <= Origin.PROGRAM:
                    return
                del known.places[worst.raw]
            known.places[raw] = _Place(raw, origin, until)
        known.ranked = None
        if until is not None and (self._sweep_at is None or until < self._sweep_at):
            self._sweep_at = until

    def _is_full(self, now: int) -> bool:
        if len(self._peers) < MOST:
            return False
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        return len(self._peers) >= MOST

    def _sweep(self, now: int) -> None:
        """Forget what has not been heard of for too long; not again for a while, whatever is renewed."""
        first = None
        for peer, known in list(self._peers.items()):
            for raw, place in list(known.places.items()):
                if place.until is None:
                    continue
                if place.until <= now:
                    del known.places[raw]
                    known.ranked = None
                elif first is None or place.until < first:
                    first = place.until
            if not known.places and not known.is_given:
                self.forget(peer)
        self._sweep_at = None if first is None else max(first, now + _GRAIN)

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is known, in the order in which it was learnt, as plain data."""
        return {
            "sweep_at": self._sweep_at,
            "peers": [
                [
                    peer.raw,
                    known.peer_class,
                    known.is_given,
                    known.is_hosted,
                    known.reached,
                    [[p.raw, int(p.origin), p.until, p.has_failed] for p in known.places.values()],
                ]
                for peer, known in self._peers.items()
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._sweep_at = state["sweep_at"]
        self._peers = {}
        for raw, peer_class, is_given, is_hosted, reached, places in state["peers"]:
            known = self._peers[PeerId(raw)] = _Known(peer_class, is_hosted)
            known.is_given = is_given
            known.reached = reached
            for address, origin, until, has_failed in places:
                known.places[address] = _Place(address, Origin(origin), until, has_failed)
        self._sorted.clear()


def _is_address(raw: bytes) -> bool:
    try:
        return bool(Address.from_bytes(raw).segments)
    except AddressError:
        return False
