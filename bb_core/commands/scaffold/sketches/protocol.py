"""The Protocol that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from dataclasses import dataclass

import bb_core as bb


class ${Class}Protocol(bb.roles.Protocol):
    """What a program may ask for, and what peers may call."""

    protocol = "$package"

    @bb.roles.op("Tell")
    def tell(self, ctx: bb.Context, rumour: bytes) -> None:
        """Tell a rumour to all peers, who tell it on."""
        raise NotImplementedError

    @bb.roles.inbound("Rumour")
    def heard(self, ctx: bb.Context, rumour: bytes) -> None:
        """Take in what a peer tells."""
        raise NotImplementedError


@bb.concrete("$package.$Class")
class $Class(${Class}Protocol):
    """Tell each rumour on once."""

    @dataclass(frozen=True, slots=True)
    class Config:
        """How much is kept."""

        most: int = 1_000
        """Rumours that are remembered; older ones may be told again."""

        def __post_init__(self) -> None:
            if self.most < 1:
                raise ValueError(f"most is {self.most}; expected at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.known: dict[bytes, None] = {}
        """The rumours, oldest first."""

    def snapshot(self) -> bb.State:
        """Return the rumours."""
        return {"known": list(self.known)}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        self.known = dict.fromkeys(state["known"])

    def tell(self, ctx: bb.Context, rumour: bytes) -> None:
        """Tell a rumour to all peers, who tell it on."""
        self._spread(ctx, rumour)

    @bb.roles.inbound("Rumour")
    def heard(self, ctx: bb.Context, rumour: bytes) -> None:
        """Take in what a peer tells."""
        self._spread(ctx, rumour)

    def _spread(self, ctx: bb.Context, rumour: bytes) -> None:
        if rumour in self.known:
            return
        self.known[rumour] = None
        while len(self.known) > self.config.most:
            del self.known[next(iter(self.known))]
        for peer in ctx.peers():
            if peer != ctx.source:
                ctx.send(peer, "Rumour", rumour)
        ctx.emit("rumour", rumour)
'''

_BENCH: Final = '''
"""`bb bench $short`: what an op of this package's Concrete takes."""

from typing import Any

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_tell(row: Any) -> None:
    concrete, ctx = $Class($Class.Config()), FakeContext(peers=10)

    def tell() -> None:
        concrete.known.clear()
        ctx.sent.clear()
        concrete.tell(ctx, b"rumour")

    row("tell ten peers", tell)
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import bb_core as bb
from bb_core.testing import FakeContext, bring_up
from $package import $Class
from $package.$module import ${Class}Protocol


class Town(bb.Module):
    gossip = bb.ProtocolSlot(${Class}Protocol)

    def body(self, g: bb.Graph) -> None:
        rumour = g.input("rumour", bb.types.BYTES)
        g.output("told", self.gossip.tell(g, rumour))


def test_a_rumour_is_told_on_once() -> None:
    concrete, ctx = $Class($Class.Config()), FakeContext(peers=3)
    concrete.heard(ctx, b"rain")
    concrete.heard(ctx, b"rain")
    assert [sent.payload for sent in ctx.sent] == [b"rain"] * 3


def test_all_of_a_town_hear_it() -> None:
    town = bring_up(Town(), {"gossip": $Class}, {"": 4})
    town.invoke(next(iter(town.nodes)), "Town", {"rumour": b"rain"})
    town.run_until_quiet()
    assert all(list(node.component("gossip").known) == [b"rain"] for node in town.nodes.values())
'''

SKETCH: Final = Sketch(
    "protocol",
    "Spreads rumours among peers, each heard once.",
    _CODE,
    _BENCH,
    _TEST,
)
