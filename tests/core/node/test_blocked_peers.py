"""What a Node has to do with a peer that it has blocked: nothing."""

from __future__ import annotations

import bb_core as bb
from bb_core.steps import SendEnvelope
from bb_core.wire.address import Address
from tests.support import AVERAGING, Averaging, peer

SECOND = 10**9
ARTEFACT = bb.Compiler().bind(AVERAGING).compile(Averaging())


def coordinator(**options: int) -> bb.Node:
    node = bb.install(peer(0), [], ARTEFACT, ["Averaging"], options=bb.NodeConfig(**options))
    for n in (1, 2):
        node.add_peer(peer(n), peer_class="client")
    return node


def test_a_blocked_peer_that_sends_too_much_is_sent_no_notice() -> None:
    node = coordinator(ingress=4)
    node.block(peer(1))
    for _ in range(4):
        node.receive(b"rubbish", 0, source=peer(1))
    steps = node.poll(0).steps
    assert not [step for step in steps if isinstance(step, SendEnvelope)]


def test_a_blocked_peer_takes_no_place_from_others() -> None:
    node = coordinator(ingress=4)
    node.block(peer(1))
    for _ in range(100):
        node.receive(b"rubbish", 0, source=peer(1))
    node.invoke("Averaging", {"round": bb.TRIGGER}, 0)  # IngressFull: the blocked peer has filled it
    assert [step for step in node.poll(0).steps if isinstance(step, SendEnvelope)]


def test_a_blocked_peer_does_not_get_into_the_address_book() -> None:
    node = coordinator()
    node.block(peer(3))
    node.receive(b"rubbish", 0, source=peer(3), observed=Address.parse(f"/p2p/{peer(3)}").to_bytes())
    node.poll(0)
    assert node.stats()["peers"] == 2
