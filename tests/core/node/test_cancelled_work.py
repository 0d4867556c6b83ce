"""What a cancelled or refused collection, gathering or bootstrap leaves behind: nothing that stops the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent, BootstrapCompleted, Deferred, EnvelopeRejected, OpFailed, SendEnvelope
from tests.core.compiler.passes import programs
from tests.support import AVERAGING, Averaging, Weight, peer

SECOND = 10**9
Clients = dict[bb.PeerId, bb.Node]


def coordinator(module: bb.Module, bindings: Any, **options: Any) -> tuple[bb.Node, Clients]:
    artefact = bb.Compiler().bind(bindings).compile(module)
    node = bb.install(peer(0), [], artefact, [module.name], options=bb.NodeConfig(**options))
    clients = {peer(n): bb.install(peer(n), [], artefact, [f"{module.name}@client"]) for n in (1, 2)}
    for client in clients:
        node.add_peer(client, peer_class="client")
    return node, clients


def answer(node: bb.Node, clients: Clients, steps: list[Any], now: int) -> None:
    """Let clients answer what some Steps send them."""
    for sent in [step for step in steps if isinstance(step, SendEnvelope)]:
        clients[sent.peer].receive(sent.data, now, source=node.peer_id)
        for back in clients[sent.peer].poll(now).steps:
            if isinstance(back, SendEnvelope):
                node.receive(back.data, now, source=sent.peer)


def play(node: bb.Node, clients: Clients, target: str, now: int) -> list[Any]:
    """One round; returns the coordinator's Steps."""
    node.invoke(target, {"round": bb.TRIGGER}, now)
    steps = list(node.poll(now).steps)
    answer(node, clients, steps, now)
    return [*steps, *node.poll(now).steps]


def told(steps: list[Any]) -> dict[str, Any]:
    return {step.port: step.value for step in steps if isinstance(step, AppEvent)}


def failures(steps: list[Any]) -> list[Any]:
    return [step.error for step in steps if isinstance(step, OpFailed)]


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_after_a_cancelled_round_its_answers_are_refused_and_the_next_one_is_played() -> None:
    node, clients = coordinator(Averaging(), AVERAGING)
    exec_id = node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    asked = node.poll(0).steps
    node.cancel(exec_id, 1)
    node.poll(1)
    assert node.stats()["requests"] == 0
    answer(node, clients, asked, 2)
    assert [type(step) for step in node.poll(2).steps] == [EnvelopeRejected] * 2
    steps = play(node, clients, "Averaging", 100 * SECOND)
    assert failures(steps) == []
    assert told(steps)["training"] == bb.Record(peers=2)


def test_what_had_come_of_a_cancelled_round_is_not_in_the_next_one() -> None:
    node, clients = coordinator(Averaging(), AVERAGING)
    exec_id = node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    first, _ = (step for step in node.poll(0).steps if isinstance(step, SendEnvelope))
    answer(node, clients, [first], 0)
    node.poll(0)
    node.cancel(exec_id, 1)
    node.poll(1)
    node.block(first.peer)
    assert told(play(node, clients, "Averaging", SECOND))["training"] == bb.Record(peers=1)


@bb.concrete("tests.NeverSoon")
class NeverSoon(Weight):
    """Answers when the test wants it to."""

    def params(self, ctx: bb.Context) -> Any:
        self.later = ctx.later()
        return self.later


class Occupied(bb.Module):
    """A round, and an op that takes up the only Later that this Node may have."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    other = bb.ModelSlot()

    def __init__(self) -> None:
        self.n, self.deadline = 2, "10s"

    def body(self, g: bb.Graph) -> None:
        g.output("slow", self.other.params(g, after=g.input("go", bb.types.TRIGGER)))
        Averaging.body(self, g)  # type: ignore[arg-type]


def test_after_a_round_that_was_refused_for_too_many_laters_the_next_one_is_played() -> None:
    node, clients = coordinator(Occupied(), {**AVERAGING, "other": NeverSoon}, laters=1)
    node.invoke("Occupied", {"go": bb.TRIGGER}, 0)
    node.poll(0)
    node.invoke("Occupied", {"round": bb.TRIGGER}, 0)  # nobody answers
    (refused,) = failures(node.poll(0).steps)
    assert isinstance(refused, bb.errors.Overloaded)
    node.component("other").later.complete(np.ones(1, np.float32))
    node.poll(0)
    steps = play(node, clients, "Occupied", 100 * SECOND)
    assert failures(steps) == []
    assert told(steps)["training"] == bb.Record(peers=2)


# --- gatherings -------------------------------------------------------------------------------------------------------


def test_a_cancelled_gathering_leaves_nothing() -> None:
    node, clients = coordinator(programs.Asking(), programs.ASKING)
    exec_id = node.invoke("Asking", {"x": np.ones(2, np.float32)}, 0)
    asked = node.poll(0).steps
    node.cancel(exec_id, 1)
    node.poll(1)
    assert node._engine.gatherings.open == {}
    assert node.stats() == dict.fromkeys(node.stats(), 0) | {"peers": 2}
    answer(node, clients, asked, 2)
    assert [type(step) for step in node.poll(2).steps] == [EnvelopeRejected] * 2
    assert node._engine.gatherings.open == {}


# --- bootstraps -------------------------------------------------------------------------------------------------------


class Prepared(bb.Module):
    """Prepares a Model, some time later."""

    model = bb.ModelSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.model.load_parameters(g, bb.syscalls.sleep(g, g.input("start", bb.f32[1]), duration="1s"))

    def body(self, g: bb.Graph) -> None:
        g.output("params", self.model.params(g, after=g.input("ask", bb.types.TRIGGER)))


def test_a_cancelled_bootstrap_has_failed_and_can_be_run_again() -> None:
    artefact = bb.Compiler().bind({"model": Weight}).compile(Prepared())
    node = bb.install(peer(0), [], artefact, ["Prepared"])
    node.invoke("Prepared", {"ask": bb.TRIGGER}, 0)
    exec_id = node.bootstrap("Prepared", {"start": np.float32([4])}, 0)
    node.poll(0)
    node.cancel(exec_id, 1)
    (deferred,) = node.poll(1).steps
    assert isinstance(deferred, Deferred)
    assert "failed" in deferred.reason
    assert node.bootstrap_status("Prepared").value == "failed"
    assert node.poll(10 * SECOND).steps == []
    node.bootstrap("Prepared", {"start": np.float32([5])}, 10 * SECOND)
    node.poll(10 * SECOND)
    steps = node.poll(11 * SECOND).steps
    assert [type(step) for step in steps] == [BootstrapCompleted, AppEvent]
    assert told(steps) == {"params": 5}
