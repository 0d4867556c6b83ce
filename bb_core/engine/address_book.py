"""The address book: known peers, how to reach them, and which class they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bb_core.errors import RoleError
from bb_core.ids import PeerId

MOST: Final = 16_384
"""How many peers a book learns of by itself; the host may add more."""


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """One entry."""

    addresses: tuple[bytes, ...] = ()
    peer_class: str = ""


class AddressBook:
    """Peers by id. Reading it gives them in order of id."""

    def __init__(self) -> None:
        self._peers: dict[PeerId, KnownPeer] = {}
        self._sorted: dict[str | None, tuple[PeerId, ...]] = {}

    def state(self) -> list[list[Any]]:
        """Return what is known, in the order in which it was learnt, as plain data."""
        return [[peer.raw, list(known.addresses), known.peer_class] for peer, known in self._peers.items()]

    def load(self, state: list[list[Any]]) -> None:
        """Take over a state."""
        self._peers = {PeerId(raw): KnownPeer(tuple(addresses), name) for raw, addresses, name in state}
        self._sorted.clear()

    def add(self, peer: PeerId, addresses: Sequence[bytes], peer_class: str) -> None:
        """Add a peer, or replace what was known of it."""
        self._peers[peer] = KnownPeer(tuple(addresses), peer_class)
        self._sorted.clear()

    def learn(self, peer: PeerId, addresses: Sequence[bytes]) -> None:
        """Take in where a peer says, or was seen, to be: only what was not known, and of strangers only so many."""
        known = self._peers.get(peer)
        if not addresses or (known is not None and known.addresses) or (known is None and len(self._peers) >= MOST):
            return
        self.add(peer, addresses, known.peer_class if known else "")

    def insert(self, peer: PeerId, addresses: Sequence[bytes]) -> None:
        """Add addresses of a peer to those that are known, in order; a stranger to a full book is refused."""
        known = self._peers.get(peer)
        if known is None and len(self._peers) >= MOST:
            raise RoleError(f"the address book is full: it has {MOST} peers", hint="forget some")
        before = known.addresses if known else ()
        self.add(peer, tuple(dict.fromkeys((*before, *addresses))), known.peer_class if known else "")

    def forget(self, peer: PeerId) -> None:
        """Remove a peer; an unknown one is no error."""
        self._peers.pop(peer, None)
        self._sorted.clear()

    def addresses(self, peer: PeerId) -> tuple[bytes, ...]:
        """Return how to reach a peer; empty when that is not known."""
        known = self._peers.get(peer)
        return known.addresses if known else ()

    def peers(self, peer_class: str | None) -> tuple[PeerId, ...]:
        """Return the peers of a class, or all, in order of id."""
        found = self._sorted.get(peer_class)
        if found is None:
            found = tuple(sorted(p for p, k in self._peers.items() if peer_class in (None, k.peer_class)))
            self._sorted[peer_class] = found
        return found
