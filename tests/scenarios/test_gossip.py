"""Equals: Nodes of one class push to one another, and answer; no coordinator."""

from __future__ import annotations

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent, OpFailed
from bb_core.testing import Loopback, Network
from tests.support import Everyone, Weight, peer


class PushPull(bb.Module):
    """Each Node, when it is invoked, swaps its number with its peers and takes the mean."""

    peers = bb.PeerSelectorSlot()
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        mine = self.model.params(g, after=go)
        pushed = g.send(mine, to=self.peers.sample(g, n=2, after=go))
        theirs = g.gather(g.reply(self.model.params(g, after=pushed), to=pushed), deadline="5s")
        g.output("heard", g.stack(theirs))
        g.output("from", theirs.senders)


def test_equals_ask_one_another() -> None:
    artefact = bb.Compiler().bind({"peers": Everyone, "model": Weight}).compile(PushPull())
    assert [f.name for f in artefact.functions] == ["PushPull"]
    nodes = [bb.install(peer(n), [], artefact, ["PushPull"], {"model": {"start": float(n)}}) for n in range(3)]
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.add_peer(other.peer_id)
    loopback = Loopback(nodes, Network(jitter_ns=10**6, duplicate=0.3, reorder=0.2), seed=3)
    for node in nodes:
        loopback.invoke(node.peer_id, "PushPull", {"go": bb.TRIGGER})
    loopback.run_until_quiet()
    assert not [s for s in loopback.seen if isinstance(s.step, OpFailed)]
    heard = {s.peer: s.step.value for s in loopback.seen if isinstance(s.step, AppEvent) and s.step.port == "heard"}
    for n in range(3):
        np.testing.assert_array_equal(heard[peer(n)].ravel(), [m for m in range(3) if m != n])
