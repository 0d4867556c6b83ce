"""What a Node knows of its peers is part of its snapshot: a restored one goes on from any point as the other does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.steps import (
    AppEvent,
    Backpressure,
    Dropped,
    EnvelopeRejected,
    PeerBlocked,
    PeerDown,
    PeerSuspect,
    PeerUp,
    SendEnvelope,
)
from tests.core.compiler.passes import programs
from tests.support import peer

SECOND = 10**9
TARGETS = ("Asking", "Asking@client")
ARTEFACT = bb.Compiler().bind(programs.ASKING).compile(programs.Asking())

Act = Callable[[bb.Node], Any]


def installed(number: int = 0) -> bb.Node:
    return bb.install(peer(number), [], ARTEFACT, TARGETS, options=bb.NodeConfig(seed=3, ingress=8))


def poll(now: int) -> Act:
    return lambda node: node.poll(now)


def receive(data: bytes, now: int, source: bb.PeerId) -> Act:
    return lambda node: node.receive(data, now, source=source)


def sent_by(node: bb.Node, now: int) -> list[SendEnvelope]:
    return [step for step in node.poll(now).steps if isinstance(step, SendEnvelope)]


def a_life() -> list[Act]:
    """What a Node is told in its life: it asks, is asked, loses a peer, is blocked from others and asked too much."""
    node, acts = installed(), list[Act]()
    clients = {peer(n): installed(n) for n in (1, 2, 3)}

    def do(act: Act) -> Any:
        acts.append(act)
        return act(node)

    def ask(now: int, answering: set[int]) -> list[SendEnvelope]:
        do(lambda n: n.invoke("Asking", {"x": np.ones(2, np.float32)}, now))
        sent = [step for step in do(poll(now)).steps if isinstance(step, SendEnvelope)]
        for step in sent:
            if step.peer in {peer(n) for n in answering}:
                clients[step.peer].receive(step.data, now, source=node.peer_id)
                (back,) = sent_by(clients[step.peer], now)
                do(receive(back.data, now + SECOND, step.peer))
        do(poll(now + SECOND))
        return sent

    for n in (1, 2, 3):
        do(lambda node, n=n: node.add_peer(peer(n), peer_class="client"))
    now = 0
    for _ in range(5):
        ask(now, {1, 2, 3})
        now += 3 * SECOND
    clients[peer(2)].add_peer(node.peer_id, peer_class="client")
    clients[peer(2)].invoke("Asking", {"x": np.ones(2, np.float32)}, now)
    (question,) = sent_by(clients[peer(2)], now)
    for _ in range(2):
        do(receive(question.data, now, peer(2)))
        do(poll(now))
    do(lambda node: node.block(peer(3)))
    do(receive(question.data, now, peer(3)))
    do(poll(now))
    for _ in range(8):  # the first is given up at its deadline, five seconds later
        (_, second) = ask(now, {1})
        do(lambda node, step=second.id, now=now: node.sent(step, False, now))
        for _ in range(3):
            now += 2 * SECOND
            do(poll(now))
    for second in (0, 1, 3):
        for _ in range(8):
            do(receive(b"rubbish", now + second * SECOND, peer(7)))
        do(poll(now + second * SECOND))
    ask(now + 5 * SECOND, {1, 2})
    do(poll(now + 11 * SECOND))
    return acts


def lived(node: bb.Node, acts: list[Act]) -> list[str]:
    return [repr(act(node)) for act in acts]


def test_the_life_has_what_it_should_have() -> None:
    node = installed()
    results = [act(node) for act in a_life()]
    kinds = {type(step) for result in results if isinstance(result, bb.PollResult) for step in result.steps}
    assert kinds >= {
        AppEvent,
        Backpressure,
        Dropped,
        EnvelopeRejected,
        PeerBlocked,
        PeerDown,
        PeerSuspect,
        PeerUp,
        SendEnvelope,
    }


def test_a_node_that_is_restored_at_any_point_of_its_life_does_what_it_would_have_done() -> None:
    life = a_life()
    whole, node = lived(installed(), life), installed()
    for at in range(len(life)):
        other = installed()
        other.restore(node.snapshot())
        assert other._engine.round_trips.estimate(peer(1)) == node._engine.round_trips.estimate(peer(1))
        assert lived(other, life[at:]) == whole[at:], f"restored after {at} of {len(life)} acts"
        life[at](node)
