"""A Send whose value cannot be encoded has asked nobody, so nothing is waited for."""

from __future__ import annotations

import numpy as np

import bb_core as bb
from bb_core.steps import OpFailed, SendEnvelope
from bb_core.values import Composite
from tests.support import Everyone, peer


class Wrapping(bb.Module):
    peers = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.types.COMPOSITE)
        g.output("there", g.send(x, to=self.peers.current_view(g, after=x)))


def test_a_send_that_fails_leaves_no_request() -> None:
    node = bb.install(peer(0), [], bb.Compiler().bind({"peers": Everyone}).compile(Wrapping()), ["Wrapping"])
    node.add_peer(peer(1), peer_class="client")
    value = Composite([np.ones(1, np.float32)])
    for _ in range(100):
        value = Composite([value])
    node.invoke("Wrapping", {"x": value}, 0)
    result = node.poll(0)
    assert [type(step) for step in result.steps] == [OpFailed]
    assert not [step for step in result.steps if isinstance(step, SendEnvelope)]
    assert node.stats()["requests"] == node.stats()["timers"] == 0
    assert result.next_wakeup is None
