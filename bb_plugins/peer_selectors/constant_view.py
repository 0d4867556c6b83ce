"""`ConstantView`: peers that do not come and go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import bb_core as bb


@bb.concrete("bytesandbrains.ConstantView")
class ConstantView(bb.roles.PeerSelector):
    """Choose among a fixed list of peers, or among all in the address book."""

    @dataclass(frozen=True, slots=True)
    class Config:
        """Whom it knows."""

        peers: tuple[str, ...] | None = None
        """Peer ids as text; None: the address book's peers of the slot's class."""
        share: int = 0
        """Which part of them it knows, from 0, when several Nodes divide them among themselves."""
        shares: int = 1
        """Among how many they are divided, in turn by order of id."""

        def __post_init__(self) -> None:
            if not 0 <= self.share < self.shares:
                raise ValueError(f"share is {self.share} of {self.shares}; expected 0 <= share < shares")

    has_state: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._peers = None if config.peers is None else sorted({bb.PeerId.parse(p) for p in config.peers})

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        """Return all of them, in order of id."""
        known = ctx.peers(peer_class or None) if self._peers is None else self._peers
        mine = known[self.config.share :: self.config.shares]
        return bb.PeerList(p for p in mine if p != ctx.peer_id)

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        """Choose `n` at random without repetition, or all when there are fewer; in order of id."""
        known = self.current_view(ctx, peer_class=peer_class)
        if n >= len(known):
            return known
        chosen = ctx.rng.choice(len(known), size=n, replace=False)
        return bb.PeerList(known[i] for i in sorted(chosen))
