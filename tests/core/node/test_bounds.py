"""How much a Node holds, takes in and waits for: it is bounded, counted, and given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import syscalls as s
from bb_core.errors import IngressFull, Overloaded
from bb_core.steps import AppEvent, Dropped, EnvelopeRejected, FillRejected, OpFailed, PeerBlocked, SendEnvelope
from bb_core.wire.address import site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_core.wire.limits import WireLimits
from tests.support import Everyone, Itself, NumpyBackend, peer

SECOND = 10**9
ONE = np.ones(1, np.float32)


def install(module: bb.Module, bindings: Mapping[str, Any], *targets: str, **options: Any) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    return bb.install(peer(0), [], artefact, targets or [module.name], options=bb.NodeConfig(**options))


def holds_nothing(node: bb.Node) -> bool:
    return node.is_idle and node.stats() | {"peers": 0} == dict.fromkeys(node.stats(), 0)


# --- bytes ------------------------------------------------------------------------------------------------------------


class Stacking(bb.Module):
    """Sends a value; what arrives is stacked, which fails for two shapes, and then told."""

    peers = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.types.COMPOSITE)
        there = g.send(x, to=self.peers.current_view(g, after=x))
        g.output("there", s.sleep(g, g.stack(there), duration="1s"))


def an_envelope(*parts: np.ndarray[Any, Any], number: int = 1) -> bytes:
    """What a Node of another incarnation each time sends."""
    node = install(Stacking(), {"peers": Everyone}, incarnation=number)
    node.add_peer(peer(1), peer_class="client")
    node.invoke("Stacking", {"x": bb.values.Composite(parts)}, 0)
    (step,) = [step for step in node.poll(0).steps if isinstance(step, SendEnvelope)]
    return bytes(step.data)


def receiving(**options: Any) -> bb.Node:
    return install(Stacking(), {"peers": Everyone}, "Stacking@client", **options)


GOOD = an_envelope(np.ones(100, np.float32), np.ones(100, np.float32))
FAILING = an_envelope(np.ones(100, np.float32), np.ones(101, np.float32))
(FILL,) = decode(GOOD, WireLimits()).fills
MISTYPED = encode(Envelope(fills=[Fill(FILL.dest_suffix, b"", trigger_only=True)]))
ELSEWHERE = encode(Envelope(fills=[Fill(site_suffix(9), FILL.payload, type_hash=FILL.type_hash)]))


def received(node: bb.Node, data: bytes) -> None:
    node.receive(data, 0, source=peer(0))


def received_twice(node: bb.Node, data: bytes) -> None:
    for _ in range(2):
        received(node, data)


def received_when_blocked(node: bb.Node, data: bytes) -> None:
    received(node, data)
    node.block(peer(0))


def received_and_cancelled(node: bb.Node, data: bytes) -> None:
    received(node, data)
    node.poll(0)
    assert node.stats()["charged_bytes"] == len(data)
    (waiting,) = node.explain()
    node.cancel(waiting.exec_id, 0)


def received_and_restored(node: bb.Node, data: bytes) -> None:
    received(node, data)
    node.restore(node.snapshot())
    assert node.stats()["charged_bytes"] == len(data)
    node.poll(0)
    node.restore(node.snapshot())
    assert node.stats()["charged_bytes"] == len(data)


FATES: list[tuple[str, Callable[[bb.Node, bytes], None], bytes, list[type]]] = [
    ("it is used", received, GOOD, [AppEvent]),
    ("its reader fails", received, FAILING, [OpFailed]),
    ("it is of another type", received, MISTYPED, [FillRejected]),
    ("it is for nobody", received, ELSEWHERE, [FillRejected]),
    ("it is rubbish", received, GOOD[:-1], [EnvelopeRejected]),
    ("it comes twice", received_twice, GOOD, [Dropped, AppEvent]),
    ("its sender is blocked", received_when_blocked, GOOD, [PeerBlocked]),
    ("its Frame is cancelled", received_and_cancelled, GOOD, []),
    ("its Node is restored", received_and_restored, GOOD, [AppEvent]),
]


@pytest.mark.parametrize(("how", "data", "steps"), [f[1:] for f in FATES], ids=[f[0] for f in FATES])
def test_the_bytes_of_an_envelope_are_given_back_whatever_becomes_of_it(
    how: Callable[[bb.Node, bytes], None], data: bytes, steps: list[type]
) -> None:
    node = receiving()
    how(node, data)
    found = [*node.poll(0).steps, *node.poll(SECOND).steps]
    assert [type(step) for step in found] == steps
    assert holds_nothing(node)


def test_a_node_takes_in_far_more_bytes_in_its_life_than_at_once() -> None:
    node = receiving(ingress_bytes=2 * len(GOOD), ingress=1000)
    for number in range(1, 40):
        data = an_envelope(np.ones(100, np.float32), np.ones(100, np.float32), number=number)
        node.receive(data, number * 2 * SECOND, source=peer(0))
        node.poll(number * 2 * SECOND)
        assert node.stats()["charged_bytes"] == len(data)
        steps = node.poll((number * 2 + 1) * SECOND).steps
        assert [type(step) for step in steps] == [AppEvent]


def test_what_is_more_than_a_node_may_hold_is_dropped_with_a_step_and_counts_for_nothing() -> None:
    node = receiving(ingress_bytes=len(GOOD) + 10)
    received_twice(node, GOOD)
    assert node.stats()["charged_bytes"] == len(GOOD)
    steps = [step for step in node.poll(0).steps if not isinstance(step, SendEnvelope)]
    assert steps == [Dropped(peer(0), "the Node has too much to take in")]
    node.receive(GOOD, 0, source=peer(2))  # the Frame of the first holds its bytes
    steps = [step for step in node.poll(0).steps if not isinstance(step, SendEnvelope)]
    assert steps == [Dropped(peer(2), "the Node has too much to take in")]
    node.poll(SECOND)
    assert holds_nothing(node)


def test_a_flood_between_two_polls_costs_no_more_than_the_ingress_holds() -> None:
    node = receiving(ingress=4)
    for _ in range(10_000):
        node.receive(b"rubbish", 0, source=peer(0))
    assert node.stats()["ingress"] <= 3 * 4
    steps = node.poll(0).steps
    assert Dropped in {type(step) for step in steps}
    assert len(steps) <= 3 * 4
    assert holds_nothing(node)


# --- Frames -----------------------------------------------------------------------------------------------------------


class Many(bb.Module):
    """Every way in which a Frame begins, and several in which one ends early."""

    peers = bb.PeerSelectorSlot(peer_class="client")
    others = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, go = g.input("x", bb.f32["N"]), g.input("go", bb.types.TRIGGER)
        failed = g.stack(g.bundle(x, g.constant(2.0)))
        g.output("compensated", g.on_failure(self.backend.neg(g, failed)))
        s.metric(g, s.event_source(g, kind="full"), name="events")
        s.metric(g, s.interval(g, period="10s"), name="ticks")
        s.metric(g, s.lifecycle(g, phase="shutdown"), name="phases")
        won, late = s.deadline_match(g, s.after(g, go, delay="1s"), s.after(g, go, delay="2s"))
        s.metric(g, s.any(g, won, late), name="races")
        asked = g.send(x, to=self.peers.current_view(g, after=x))
        g.output("answers", g.gather(g.reply(asked, to=asked), deadline="3s").senders)
        s.metric(g, g.send(go, to=self.others.current_view(g, after=go)), name="told")


@pytest.mark.filterwarnings("ignore::bb_core.errors.UncollectedAnswer")
def test_frames_of_every_kind_leave_nothing_behind() -> None:
    node = install(Many(), {"peers": Itself, "others": Itself, "backend": NumpyBackend}, "Many", "Many@client")
    node.add_peer(peer(1), peer_class="client")  # it never answers
    given: list[str] = []
    for number in range(20):
        now = number * 10 * SECOND
        node.invoke("Many", {"x": np.ones(1 + number % 2, np.float32)}, now)
        node.invoke("Many", {"go": bb.TRIGGER}, now)
        node.publish("full", now)
        node.fire_lifecycle("shutdown", now)
        for second in range(10):
            steps = node.poll(now + second * SECOND).steps
            given += [step.port for step in steps if isinstance(step, AppEvent)]
            for step in steps:
                if isinstance(step, SendEnvelope) and step.peer == peer(0):
                    node.receive(step.data, now + second * SECOND, source=peer(0))
    for second in range(60):  # requests that nobody collects end at their delivery deadlines
        node.poll((200 + second) * SECOND)
    assert node.stats() == dict.fromkeys(node.stats(), 0) | {"peers": 1, "timers": 1}  # the interval's
    assert sorted(given) == ["answers"] * 20 + ["compensated"] * 20
    assert node.counters() == {"events": 20, "phases": 20, "races": 20, "ticks": 25, "told": 20}


def test_a_cancelled_frame_runs_no_further_and_its_timers_go_with_it() -> None:
    class Slow(bb.Module):
        def body(self, g: bb.Graph) -> None:
            x = g.input("x", bb.f32[1])
            g.output("first", s.sleep(g, x, duration="1s"))
            g.output("second", s.sleep(g, x, duration="2s"))

    node = install(Slow(), {})
    first, second = (node.invoke("Slow", {"x": ONE}, 0) for _ in range(2))
    node.poll(0)
    assert len(node.poll(SECOND).steps) == 2
    node.cancel(first, SECOND)
    node.cancel(first, SECOND)
    assert node.poll(SECOND).steps == []
    assert node.stats()["timers"] == 1
    assert [step.exec_id for step in node.poll(2 * SECOND).steps] == [second]
    assert holds_nothing(node)


# --- Laters -----------------------------------------------------------------------------------------------------------


@bb.concrete("tests.Postponing")
class Postponing(bb.roles.Index):
    """Answers a search when it is told to, and its size at once."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.open: list[bb.Later] = []
        self.during: Callable[[], None] | None = None

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        self.open.append(ctx.later())
        return self.open[-1]  # type: ignore[return-value]

    def size(self, ctx: bb.Context) -> bb.Tensor:
        if self.during is not None:
            self.during()
        return np.asarray(len(self.open), np.int64)


class Searching(bb.Module):
    """One op that answers later, and one that answers at once."""

    index = bb.IndexSlot()
    other = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        ids, _ = self.index.search(g, g.input("query", bb.f32["N"]), k=1)
        g.output("ids", ids)
        g.output("size", self.other.size(g, after=g.input("go", bb.types.TRIGGER)))


def searching(**options: Any) -> bb.Node:
    return install(Searching(), {"index": Postponing, "other": Postponing}, **options)


FOUND = (np.ones(1, np.int64), np.ones(1, np.float32))


def test_of_too_many_ops_that_wait_one_more_is_refused_by_name_and_others_go_on() -> None:
    node = searching(laters=2)
    for _ in range(3):
        node.invoke("Searching", {"query": ONE, "go": bb.TRIGGER}, 0)
    steps = node.poll(0).steps
    (failed,) = [step for step in steps if isinstance(step, OpFailed)]
    assert isinstance(failed.error, Overloaded)
    assert (failed.op, int(failed.exec_id)) == ("Search", 3)
    assert [step.port for step in steps if isinstance(step, AppEvent)] == ["size"] * 3
    node.component("index").open[0].complete(*FOUND)
    node.poll(0)
    node.invoke("Searching", {"query": ONE}, 0)
    assert node.poll(0).steps == []
    assert node.stats()["laters"] == 2


def test_an_answer_is_taken_in_however_full_the_ingress_is() -> None:
    node = searching(ingress=2)
    node.invoke("Searching", {"query": ONE}, 0)
    node.invoke("Searching", {"query": ONE}, 0)
    node.poll(0)
    for _ in range(2):
        node.invoke("Searching", {"go": bb.TRIGGER}, 0)
    with pytest.raises(IngressFull):
        node.invoke("Searching", {"go": bb.TRIGGER}, 0)
    for later in node.component("index").open:
        later.complete(*FOUND)
    assert [step.port for step in node.poll(0).steps if isinstance(step, AppEvent)] == ["ids", "ids", "size", "size"]


def test_an_answer_that_another_thread_gives_while_the_node_is_polled_wakes_it() -> None:
    woken: list[bool] = []
    node = searching(wake=lambda: woken.append(True))
    index, other = node.component("index"), node.component("other")

    def answered_elsewhere() -> None:
        thread = threading.Thread(target=lambda: index.open[0].complete(*FOUND))
        thread.start()
        thread.join()

    other.during = answered_elsewhere
    node.invoke("Searching", {"query": ONE}, 0)
    node.poll(0)
    node.invoke("Searching", {"go": bb.TRIGGER}, 0)
    steps = node.poll(0).steps
    assert [step.port for step in steps if isinstance(step, AppEvent)] == ["size"]
    assert woken == [True]
    assert not node.is_idle
    assert [step.port for step in node.poll(0).steps if isinstance(step, AppEvent)] == ["ids"]
    assert holds_nothing(node)


# --- options ----------------------------------------------------------------------------------------------------------


def test_a_node_for_a_small_device_refuses_what_is_too_large_for_it() -> None:
    data = an_envelope(*[np.ones(10_000, np.float32)] * 2)
    artefact = bb.Compiler().bind({"peers": Everyone}).compile(Stacking())
    found = []
    for options in (bb.NodeConfig(), bb.NodeConfig.edge()):
        node = bb.install(peer(1), [], artefact, ["Stacking@client"], options=options)
        node.receive(data, 0, source=peer(0))
        found.append([type(step) for step in (*node.poll(0).steps, *node.poll(SECOND).steps)])
    assert found == [[AppEvent], [EnvelopeRejected]]
