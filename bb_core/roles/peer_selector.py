"""PeerSelector: which peers to talk to."""

from __future__ import annotations

from typing import ClassVar

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Positive, Role, abstract, op
from bb_core.values import PeerList


class PeerSelector(Role):
    """Choose peers: never this Node itself, never one twice.

    `peer_class` is filled in by the slot (`PeerSelectorSlot(peer_class="client")`).
    """

    role: ClassVar[str] = keys.PEER_SELECTOR

    @op("Sample", outputs="peers")
    def sample(self, ctx: Context, *, n: Positive, peer_class: str = "") -> PeerList:
        """Choose `n` peers at random without repetition, or all when there are fewer; in order of id."""
        raise NotImplementedError

    @op("CurrentView", outputs="peers")
    def current_view(self, ctx: Context, *, peer_class: str = "") -> PeerList:
        """Return all known peers, in order of id."""
        raise NotImplementedError

    @op("Select", outputs="peers", version=2)
    @abstract
    def select(self, ctx: Context, key: bytes, *, n: int, peer_class: str = "") -> PeerList:
        """Choose the `n` peers nearest to a key."""
        raise NotImplementedError
