"""A request says how long its answer is worth something; what is worth nothing any more is not sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import syscalls as s
from bb_core.errors import DeadlinePassed
from bb_core.steps import OpFailed, SendEnvelope
from bb_core.wire.codec import decode
from tests.support import AVERAGING, Averaging, Everyone, peer

SECOND = 10**9


class Chain(bb.Module):
    """The coordinator asks a relay, which waits some time, asks a leaf, and answers."""

    relays = bb.PeerSelectorSlot(peer_class="relay")
    leaves = bb.PeerSelectorSlot(peer_class="leaf")

    def __init__(self, inner: str = "60s") -> None:
        self.inner = inner

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        at_relay = g.send(x, to=self.relays.current_view(g, after=x), name="out")
        rested = s.sleep(g, at_relay, duration="4s")
        at_leaf = g.send(rested, to=self.leaves.current_view(g, after=rested), name="on")
        answer = g.reply(at_leaf, to=at_leaf)
        inner = g.gather(answer, deadline=self.inner)
        back = g.reply(g.stack(inner), to=at_relay)
        g.output("all", g.gather(back, deadline="10s"))


def nodes(**options: str) -> list[bb.Node]:
    artefact = bb.Compiler().bind({"relays": Everyone, "leaves": Everyone}).compile(Chain(**options))
    found = [bb.install(peer(n), [], artefact, [t]) for n, t in enumerate(("Chain", "Chain@relay", "Chain@leaf"))]
    found[0].add_peer(peer(1), peer_class="relay")
    found[1].add_peer(peer(2), peer_class="leaf")
    return found


def sent(node: bb.Node, now: int) -> list[bytes]:
    return [step.data for step in node.poll(now).steps if isinstance(step, SendEnvelope)]


def left(data: bytes) -> float:
    return decode(data).remaining_deadline_ns / SECOND


@pytest.mark.parametrize(("inner", "wanted"), [("60s", 6.0), ("2s", 2.0)])
def test_what_is_asked_on_has_no_more_time_than_is_left(inner: str, wanted: float) -> None:
    coordinator, relay, leaf = nodes(inner=inner)
    coordinator.invoke("Chain", {"x": np.ones(1, np.float32)}, 0)
    (first,) = sent(coordinator, 0)
    assert left(first) == 10
    relay.receive(first, 5 * SECOND, source=peer(0))  # another Node, another clock
    assert sent(relay, 5 * SECOND) == []
    relay.restore(relay.snapshot())
    (second,) = sent(relay, 9 * SECOND)
    assert left(second) == wanted
    leaf.receive(second, 0, source=peer(1))
    (third,) = sent(leaf, 0)
    assert left(third) == wanted


def test_an_answer_that_nobody_waits_for_any_more_is_not_sent_and_a_step_says_so() -> None:
    coordinator, relay, _ = nodes()
    coordinator.invoke("Chain", {"x": np.ones(1, np.float32)}, 0)
    (first,) = sent(coordinator, 0)
    relay.receive(first, 0, source=peer(0))
    relay.poll(0)
    steps = relay.poll(11 * SECOND).steps
    assert [type(step) for step in steps] == [OpFailed]
    assert isinstance(steps[0].error, DeadlinePassed)
    assert relay.is_idle


def test_a_concrete_reads_the_deadline() -> None:
    read: list[Any] = []

    @bb.concrete("tests.Watchful")
    class Watchful(AVERAGING["model"]):  # type: ignore[misc]
        def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
            read.append(ctx.deadline)
            super().load_parameters(ctx, params)

    artefact = bb.Compiler().bind({**AVERAGING, "model": Watchful}).compile(Averaging(n=1, deadline="10s"))
    coordinator = bb.install(peer(0), [], artefact, ["Averaging"])
    coordinator.add_peer(peer(1), peer_class="client")
    client = bb.install(peer(1), [], artefact, ["Averaging@client"])
    coordinator.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    (data,) = sent(coordinator, 0)
    client.receive(data, 3 * SECOND, source=peer(0))
    client.poll(3 * SECOND)
    assert read == [13 * SECOND]
