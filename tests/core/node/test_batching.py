"""Answers of one Frame to one peer go out in one Envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.steps import AppEvent, SendEnvelope
from bb_core.wire.codec import decode
from bb_core.wire.limits import WireLimits
from tests.support import Everyone, peer


class Answering(bb.Module):
    """Clients answer with each of three values by itself."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        asked = g.send(x, to=self.cohort.current_view(g, after=x))
        for n in range(3):
            g.output(f"back_{n}", g.gather(g.reply(asked, to=asked), deadline="5s"))


def joined(**options: Any) -> tuple[bb.Node, bb.Node]:
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Answering())
    coordinator = bb.install(peer(0), [], artefact, ["Answering"])
    coordinator.add_peer(peer(1), peer_class="client")
    return coordinator, bb.install(peer(1), [], artefact, ["Answering@client"], options=bb.NodeConfig(**options))


def sent(node: bb.Node) -> list[bytes]:
    found: list[bytes] = []
    while True:
        result = node.poll(0)
        found += [step.data for step in result.steps if isinstance(step, SendEnvelope)]
        if not result.more:
            return found
        node.restore(node.snapshot())


def ask(coordinator: bb.Node, client: bb.Node, size: int) -> list[bytes]:
    coordinator.invoke("Answering", {"x": np.ones(size, np.float32)}, 0)
    (question,) = sent(coordinator)
    client.receive(question, 0, source=peer(0))
    return sent(client)


@pytest.mark.parametrize("budget", [1, 2, 100])
def test_three_answers_are_one_envelope_whatever_the_budget_and_through_snapshots(budget: int) -> None:
    coordinator, client = joined(op_budget=budget)
    (answer,) = ask(coordinator, client, 4)
    assert len(decode(answer).fills) == 3
    coordinator.receive(answer, 0, source=peer(1))
    events = [step for step in coordinator.poll(0).steps if isinstance(step, AppEvent)]
    assert [(e.port, [v.tolist() for v in e.value]) for e in events] == [(f"back_{n}", [[1.0] * 4]) for n in range(3)]


def test_what_one_envelope_does_not_take_goes_in_several() -> None:
    coordinator, client = joined(limits=WireLimits(total_bytes=20_000))
    answers = ask(coordinator, client, 1500)
    assert [len(decode(answer).fills) for answer in answers] == [1, 1, 1]
    answers = ask(*joined(limits=WireLimits(fills=2)), 4)
    assert [len(decode(answer).fills) for answer in answers] == [2, 1]
