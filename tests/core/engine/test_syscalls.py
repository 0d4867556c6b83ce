"""Every op of the framework, recorded and run: what it gives, when, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors, keys, steps
from bb_core.ids import PeerId
from bb_core.ir.proto import set_attribute
from bb_core.values import Composite
from bb_core.wire.address import Address, AddressList
from tests.support import NumpyBackend, Weight, peer

SECOND = 10**9
ONE = np.ones(1, np.float32)


def node_of(body: Callable[[bb.Graph], object], **options: Any) -> bb.Node:
    """A Node with one program that needs no slots but a Backend."""

    class Probe(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            body(g)

    module = Probe()
    compiler = bb.Compiler()
    if any(n.domain == "" for f in module.build().functions for n in f.node if n.op_type != "Constant"):
        compiler.bind({"backend": NumpyBackend})
    return bb.install(peer(0), [], compiler.compile(module), ["Probe"], options=bb.NodeConfig(**options))


def events(result: bb.PollResult) -> list[tuple[str, Any]]:
    """The AppEvents of a poll: topic and value, arrays as lists."""
    return [
        (s.port, s.value.tolist() if isinstance(s.value, np.ndarray) else s.value)
        for s in result.steps
        if isinstance(s, steps.AppEvent)
    ]


def run(body: Callable[[bb.Graph], object], inputs: Mapping[str, Any] | None = None, now: int = 0) -> list[Any]:
    """What one invoke gives."""
    node = node_of(body)
    node.invoke("Probe", inputs or {"go": bb.TRIGGER}, now)
    return events(node.poll(now))


def go(g: bb.Graph) -> bb.Output:
    return g.input("go", bb.types.TRIGGER)


def x(g: bb.Graph) -> bb.Output:
    return g.input("x", bb.f32[1])


s = bb.syscalls
NOW: list[tuple[str, Callable[[bb.Graph], object], Mapping[str, Any] | None, list[Any]]] = [
    ("pass_through", lambda g: g.output("y", s.pass_through(g, x(g))), {"x": ONE}, [("y", [1.0])]),
    ("tee", lambda g: [g.output(f"y{i}", v) for i, v in enumerate(s.tee(g, x(g), fanout=3))], {"x": ONE},
     [("y0", [1.0]), ("y1", [1.0]), ("y2", [1.0])]),
    ("gate", lambda g: g.output("y", s.gate(g, x(g), after=s.pulse(g))), {"x": ONE}, [("y", [1.0])]),
    ("on_trigger", lambda g: g.output("y", s.on_trigger(g, x(g))), {"x": ONE}, [("y", bb.TRIGGER)]),
    ("all", lambda g: g.output("y", s.all(g, x(g), g.input("z", bb.f32[1]))), {"x": ONE, "z": ONE},
     [("y", bb.TRIGGER)]),
    ("all waits", lambda g: g.output("y", s.all(g, [x(g), g.input("z", bb.f32[1])])), {"x": ONE}, []),
    ("any", lambda g: g.output("y", s.any(g, x(g), g.input("z", bb.f32[1]))), {"z": ONE * 2}, [("y", [2.0])]),
    ("any once", lambda g: g.output("y", s.any(g, x(g), g.input("z", bb.f32[1]))), {"x": ONE, "z": ONE * 2},
     [("y", [1.0])]),
    ("clock", lambda g: g.output("y", s.clock(g, go(g))), None, [("y", 7)]),
    ("correlate_tag", lambda g: [g.output(f"y{i}", s.correlate_tag(g, t)) for i, t in enumerate([go(g)] * 1)], None,
     [("y0", 1)]),
    ("app_emit", lambda g: s.app_emit(g, x(g), name="topic"), {"x": ONE}, [("topic", [1.0])]),
    ("app_notify", lambda g: s.app_notify(g, go(g), name="done"), None, [("done", bb.TRIGGER)]),
    ("bundle", lambda g: [g.output(n, v) for n, v in zip("ab", g.unbundle(g.bundle(x(g), g.constant(2.0)),
                                                                           bb.f32[1], bb.f32[()]), strict=True)],
     {"x": ONE}, [("a", [1.0]), ("b", 2.0)]),
    ("stack", lambda g: g.output("y", g.stack(g.bundle(x(g), g.constant(ONE * 3)))), {"x": ONE},
     [("y", [[1.0], [3.0]])]),
    ("cast", lambda g: g.output("y", g.cast(x(g), bb.i64)), {"x": ONE * 2.7}, [("y", [2])]),
    ("cast to a value", lambda g: g.output("y", g.cast(g.input("x"), bb.types.TRIGGER)), {"x": bb.TRIGGER},
     [("y", bb.TRIGGER)]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "inputs", "gives"), [n[1:] for n in NOW], ids=[n[0] for n in NOW])
def test_what_an_op_gives_at_once(
    body: Callable[[bb.Graph], object], inputs: Mapping[str, Any] | None, gives: list[Any]
) -> None:
    assert run(body, inputs, now=7) == gives


FAILS: list[tuple[str, Callable[[bb.Graph], object], Mapping[str, Any], str]] = [
    ("stack of two shapes", lambda g: g.output("y", g.stack(g.bundle(x(g), g.constant(2.0)))), {"x": ONE}, "one shape"),
    ("unbundle too few", lambda g: g.output("y", g.unbundle(g.input("b", bb.types.COMPOSITE), bb.f32)[0]),
     {"b": Composite([ONE, ONE])}, "1 parts"),
    ("cast of another value", lambda g: g.output("y", g.cast(g.input("x"), bb.types.RECORD)), {"x": bb.TRIGGER},
     "Trigger"),
    ("no address", lambda g: g.output("y", s.address_book.lookup(g, g.input("p", bb.types.PEER_ID))), {"p": peer(9)},
     "no address"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "inputs", "says"), [n[1:] for n in FAILS], ids=[n[0] for n in FAILS])
def test_what_fails_is_a_step_with_the_line(
    body: Callable[[bb.Graph], object], inputs: Mapping[str, Any], says: str
) -> None:
    node = node_of(body)
    node.invoke("Probe", inputs, 0)
    (failed,) = [s for s in node.poll(0).steps if isinstance(s, steps.OpFailed)]
    assert says in str(failed.error)
    assert "test_syscalls.py:" in failed.where


# --- state that outlives a Frame --------------------------------------------------------------------------------------


def several(body: Callable[[bb.Graph], object], *invokes: Mapping[str, Any]) -> list[list[Any]]:
    """What each of several invokes of one Node gives."""
    node = node_of(body)
    given = []
    for inputs in invokes:
        node.invoke("Probe", inputs, 0)
        given.append(events(node.poll(0)))
    return given


def test_a_limit_lets_only_so_many_in() -> None:
    def body(g: bb.Graph) -> None:
        g.output("in", s.limit.acquire(g, g.input("enter", bb.types.TRIGGER), name="door", n=2))
        g.output("out", s.limit.release(g, g.input("leave", bb.types.TRIGGER), name="door"))

    enter, leave = {"enter": bb.TRIGGER}, {"leave": bb.TRIGGER}
    found = several(body, leave, enter, enter, enter, leave, enter)
    assert [[port for port, _ in each] for each in found] == [["out"], ["in"], ["in"], [], ["out"], ["in"]]


def test_a_queue_gives_what_was_put_in_first() -> None:
    def body(g: bb.Graph) -> None:
        s.serialize.enqueue(g, g.input("put", bb.f32[1]), queue="q")
        g.output("got", s.serialize.dequeue(g, g.input("take", bb.types.TRIGGER), queue="q"))

    found = several(body, {"put": ONE}, {"put": ONE * 2}, *[{"take": bb.TRIGGER}] * 3)
    assert found == [[], [], [("got", [1.0])], [("got", [2.0])], []]


def test_a_stash_keeps_the_last_and_gives_it_once() -> None:
    def body(g: bb.Graph) -> None:
        s.hold.stash(g, g.input("put", bb.f32[1]), slot="a")
        g.output("got", s.hold.flush(g, g.input("take", bb.types.TRIGGER), slot="a"))

    found = several(body, {"put": ONE}, {"put": ONE * 2}, *[{"take": bb.TRIGGER}] * 2)
    assert found == [[], [], [("got", [2.0])], []]


def test_a_threshold_fires_at_every_nth() -> None:
    found = several(lambda g: g.output("y", s.threshold(g, go(g), n=3)), *[{"go": bb.TRIGGER}] * 7)
    assert [len(f) for f in found] == [0, 0, 1, 0, 0, 1, 0]


def test_a_named_group_lets_one_through_for_good() -> None:
    found = several(lambda g: g.output("y", s.any(g, go(g), group="once")), *[{"go": bb.TRIGGER}] * 3)
    assert [len(f) for f in found] == [1, 0, 0]


def test_records_and_counters_are_the_hosts_to_read() -> None:
    def body(g: bb.Graph) -> None:
        s.record(g, x(g), name="loss")
        s.metric(g, g.input("x2", bb.f32[1]), name="rounds", delta=5)

    node = node_of(body)
    for value in (1, 2):
        node.invoke("Probe", {"x": ONE * value, "x2": ONE}, 0)
    node.poll(0)
    assert [v.tolist() for v in node.records("loss")] == [[1.0], [2.0]]
    assert node.records("nothing") == []
    assert node.counters() == {"rounds": 10}


def test_a_record_ring_forgets_the_oldest() -> None:
    node = node_of(lambda g: s.record(g, x(g), name="all"))
    for value in range(1030):
        node.invoke("Probe", {"x": ONE * value}, 0)
    node.poll(0)
    assert len(node.records("all")) == 1024
    assert node.records("all")[0][0] == 6


@pytest.mark.parametrize("name", ["bb.mine", "ai.bytesandbrains.x"])
def test_the_frameworks_names_are_refused(name: str) -> None:
    with pytest.raises(errors.InstallError, match="own"):
        node_of(lambda g: s.app_notify(g, go(g), name=name))


def test_random_bits_depend_on_seed_and_frame_alone() -> None:
    def bits(seed: int) -> list[Any]:
        node = node_of(lambda g: g.output("y", s.rng(g, go(g))), seed=seed)
        for _ in range(3):
            node.invoke("Probe", {"go": bb.TRIGGER}, 0)
        return events(node.poll(0))

    assert bits(1) == bits(1)
    assert len({v for seed in (1, 2) for _, v in bits(seed)}) == 6


def test_the_address_book_is_written_and_read() -> None:
    address = Address.parse("/ip4/10.0.0.1/tcp/4001") if _has_endpoints() else Address()

    def body(g: bb.Graph) -> None:
        who = g.input("who", bb.types.PEER_ID)
        done = s.address_book.insert_many(g, who, g.input("where", bb.types.ADDRESS_LIST))
        g.output("found", s.address_book.lookup(g, who, after=done))

    found = run(body, {"who": peer(5), "where": AddressList([address])})
    assert found == [("found", AddressList([address]))]


def _has_endpoints() -> bool:
    try:
        Address.parse("/ip4/10.0.0.1/tcp/4001")
    except errors.AddressError:
        return False
    return True


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["after", "sleep"])
def test_a_delay_gives_its_value_when_its_time_has_come(op: str) -> None:
    delay = {"after": "delay", "sleep": "duration"}[op]
    node = node_of(lambda g: g.output("y", getattr(s, op)(g, go(g), **{delay: "2s"})))
    node.invoke("Probe", {"go": bb.TRIGGER}, 5)
    first = node.poll(5)
    assert (events(first), first.next_wakeup) == ([], 5 + 2 * SECOND)
    assert events(node.poll(5 + 2 * SECOND - 1)) == []
    last = node.poll(5 + 2 * SECOND)
    assert (events(last), last.next_wakeup) == ([("y", bb.TRIGGER)], None)
    assert node.is_idle


def test_a_race_is_won_by_what_comes_first() -> None:
    def body(g: bb.Graph) -> None:
        start = go(g)
        fast, slow = (s.after(g, start, delay=d) for d in ("1s", "3s"))
        won, late = s.deadline_match(g, slow, fast)
        g.output("won", won)
        g.output("late", late)

    node = node_of(body)
    node.invoke("Probe", {"go": bb.TRIGGER}, 0)
    node.poll(0)
    assert events(node.poll(SECOND)) == [("late", bb.TRIGGER)]
    assert events(node.poll(3 * SECOND)) == []


def test_an_interval_begins_a_frame_each_time_without_drift() -> None:
    node = node_of(lambda g: g.output("tick", s.interval(g, period="10s")))
    assert node.poll(3).next_wakeup == 3 + 10 * SECOND
    seen = []
    for now in (3 + 10 * SECOND, 5 + 20 * SECOND, 3 + 30 * SECOND):
        result = node.poll(now)
        seen += events(result)
        assert result.next_wakeup == 3 + (len(seen) + 1) * 10 * SECOND
    assert seen == [("tick", 3 + n * 10 * SECOND) for n in (1, 2, 3)]


def test_a_clock_jump_fires_an_interval_once_and_realigns_it() -> None:
    node = node_of(lambda g: g.output("tick", s.interval(g, period="10s")))
    node.poll(0)
    result = node.poll(57 * SECOND)
    assert events(result) == [("tick", 50 * SECOND)]
    assert result.next_wakeup == 60 * SECOND


def test_phases_and_events_begin_frames() -> None:
    def body(g: bb.Graph) -> None:
        g.output("bye", s.lifecycle(g, phase="shutdown"))
        g.output("seen", s.event_source(g, kind="disk_full"))

    node = node_of(body)
    node.fire_lifecycle("shutdown", 0)
    node.fire_lifecycle("other", 0)
    node.publish("disk_full", 0)
    result = node.poll(0)
    assert events(result) == [("bye", bb.TRIGGER), ("seen", bb.TRIGGER)]
    assert [s.phase for s in result.steps if isinstance(s, steps.LifecycleFired)] == ["shutdown", "other"]


# --- again and on_failure ---------------------------------------------------------------------------------------------


def test_again_begins_a_frame_of_its_own() -> None:
    def body(g: bb.Graph) -> None:
        value = x(g)
        g.output("y", value)
        g.again("x", g.module.backend.neg(g, value), after=s.limit.acquire(g, value_trigger(g, value), n=3))

    def value_trigger(g: bb.Graph, value: bb.Output) -> bb.Output:
        return s.on_trigger(g, value)

    node = node_of(body)
    first = node.invoke("Probe", {"x": ONE}, 0)
    found = [e for e in node.poll(0).steps if isinstance(e, steps.AppEvent)]
    assert [float(e.value[0]) for e in found] == [1.0, -1.0, 1.0, -1.0]
    assert [e.exec_id == first for e in found] == [True, False, False, False]


def test_on_failure_runs_a_branch_when_a_value_will_not_come() -> None:
    def body(g: bb.Graph) -> None:
        stacked = g.stack(g.bundle(g.input("x", bb.f32), g.constant(2.0)))
        later = g.module.backend.neg(g, stacked)
        g.output("good", later)
        g.output("bad", g.on_failure(later))

    node = node_of(body)
    node.invoke("Probe", {"x": np.ones((), np.float32)}, 0)
    assert [port for port, _ in events(node.poll(0))] == ["good"]
    node.invoke("Probe", {"x": ONE}, 0)
    result = node.poll(0)
    assert events(result) == [("bad", bb.TRIGGER)]
    assert [s.op for s in result.steps if isinstance(s, steps.OpFailed)] == ["Stack"]
    assert node.is_idle


# --- bootstrap --------------------------------------------------------------------------------------------------------


@bb.concrete("tests.Sum")
class Sum(bb.roles.Index):
    """Counts what is added; enough of an Index to be prepared."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.total = 0.0

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        self.total += float(vectors.sum())
        return np.zeros(1, np.int64)

    def size(self, ctx: bb.Context) -> bb.Tensor:
        return np.asarray(int(self.total), np.int64)


class Prepared(bb.Module):
    """Waits, then prepares one Index; two bodies, one of which asks it, and one of which asks another."""

    index = bb.IndexSlot()
    other = bb.IndexSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.index.add(g, g.constant(np.full(1, 3, np.float32)), after=s.after(g, s.pulse(g), delay="5s"))

    def body(self, g: bb.Graph) -> None:
        g.output("prepared", self.index.size(g, after=g.input("ask", bb.types.TRIGGER)))
        g.output("free", self.other.size(g, after=g.input("free_ask", bb.types.TRIGGER)))


def prepared() -> bb.Node:
    return bb.install(peer(0), [], bb.Compiler().bind({"index": Sum, "other": Sum}).compile(Prepared()), ["Prepared"])


def test_what_touches_what_is_being_prepared_waits_and_the_rest_runs() -> None:
    node = prepared()
    node.invoke("Prepared", {"ask": bb.TRIGGER}, 0)
    node.invoke("Prepared", {"free_ask": bb.TRIGGER}, 0)
    held = node.poll(0)
    assert events(held) == [("free", 0)]
    assert [s.reason for s in held.steps if isinstance(s, steps.Deferred)] == [
        "Prepared waits for the bootstrap of Prepared"
    ]
    done = node.poll(5 * SECOND)
    assert events(done) == [("prepared", 3)]
    assert [s.target for s in done.steps if isinstance(s, steps.BootstrapCompleted)] == ["Prepared"]


class Seeded(bb.Module):
    """Prepares an Index with what the host gives."""

    index = bb.IndexSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        stacked = g.stack(g.input("parts", bb.types.COMPOSITE))
        g.output("got", self.index.add(g, stacked))

    def body(self, g: bb.Graph) -> None:
        g.output("size", self.index.size(g, after=g.input("ask", bb.types.TRIGGER)))


def seeded() -> bb.Node:
    node = bb.install(peer(0), [], bb.Compiler().bind({"index": Sum}).compile(Seeded()), ["Seeded"])
    node.invoke("Seeded", {"ask": bb.TRIGGER}, 0)
    assert events(node.poll(0)) == []
    return node


def test_a_bootstrap_with_inputs_is_begun_by_the_host() -> None:
    node = seeded()
    for inputs, error in (({}, "lacks its input 'parts'"), ({"part": ONE}, "did you mean 'parts'")):
        with pytest.raises(errors.UnknownInput, match=error):
            node.bootstrap("Seeded", inputs, 0)
    with pytest.raises(errors.UnknownModule, match="has no bootstrap"):
        node.bootstrap("Seded", {"parts": Composite([ONE])}, 0)
    node.bootstrap("Seeded", {"parts": Composite([ONE * 4])}, 0)
    assert events(node.poll(0)) == [("got", [0]), ("size", 4)]


def test_a_bootstrap_that_fails_is_not_complete_and_can_be_run_again() -> None:
    node = seeded()
    node.bootstrap("Seeded", {"parts": Composite()}, 0)
    result = node.poll(0)
    kinds = [type(s) for s in result.steps]
    assert steps.OpFailed in kinds
    assert steps.BootstrapCompleted not in kinds
    assert events(result) == []
    node.bootstrap("Seeded", {"parts": Composite([ONE])}, 0)
    assert [port for port, _ in events(node.poll(0))] == ["got", "size"]


class Beside(bb.Module):
    """Prepares one Model, some time later; its body uses that one and another."""

    model = bb.ModelSlot()
    other = bb.ModelSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.model.load_parameters(g, s.sleep(g, g.input("start", bb.f32[1]), duration="1s"))

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        self.other.apply_delta(g, x)
        g.output("params", self.model.params(g, after=x))


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_frame_that_would_claim_what_is_being_prepared_waits_though_its_op_is_on_another_slot(is_begun: bool) -> None:
    artefact = bb.Compiler().bind({"model": Weight, "other": Weight}).compile(Beside())
    node = bb.install(peer(0), [], artefact, ["Beside"])
    if is_begun:
        node.bootstrap("Beside", {"start": ONE * 4}, 0)
    node.poll(0)
    for _ in range(2):
        node.invoke("Beside", {"x": ONE}, 0)
    assert events(node.poll(0)) == []
    assert {(w.op, w.what) for w in node.explain() if w.target == "Beside"} == {
        ("ApplyDelta", "the bootstrap of Beside"),
        ("Params", "the bootstrap of Beside"),
    }
    if not is_begun:
        node.bootstrap("Beside", {"start": ONE * 4}, 0)
    node.poll(0)
    assert events(node.poll(SECOND)) == [("params", [4]), ("params", [4])]
    assert node.component("model").log == ["load 4", "params", "params"]
    assert node.component("other").log == ["add 1", "add 1"]


def test_a_blocked_peer_is_left_out_and_refused() -> None:
    class Echo(bb.Module):
        def body(self, g: bb.Graph) -> None:
            sent = g.send(g.input("x", bb.f32[1]), to=g.input("peers", bb.types.PEER_LIST))
            g.output("back", g.reply(sent, to=sent))

    artefact = bb.Compiler().compile(Echo())
    asking = bb.install(peer(0), [], artefact, ["Echo"])
    asking.block(peer(2))
    asking.invoke("Echo", {"x": ONE, "peers": bb.PeerList([peer(1), peer(2)])}, 0)
    found = asking.poll(0).steps
    assert [s.peer for s in found if isinstance(s, steps.SendEnvelope)] == [peer(1)]
    assert [s.peer for s in found if isinstance(s, steps.PeerBlocked)] == [peer(2)]
    (envelope,) = [s.data for s in found if isinstance(s, steps.SendEnvelope)]
    answering = bb.install(peer(1), [], artefact, ["Echo@peers"])
    answering.allow_only([peer(7)])
    answering.receive(envelope, 0, source=peer(0))
    assert [type(s) for s in answering.poll(0).steps] == [steps.PeerBlocked]
    answering.allow_only(None)
    answering.receive(envelope, 0, source=peer(0))
    assert [type(s) for s in answering.poll(0).steps] == [steps.SendEnvelope]


def test_a_peer_that_cannot_be_reached_cools_down_for_longer_each_time() -> None:
    class Ask(bb.Module):
        def body(self, g: bb.Graph) -> None:
            sent = g.send(g.input("x", bb.f32[1]), to=g.input("peers", bb.types.PEER_LIST), gates=["backoff"])
            g.output("back", g.reply(sent, to=sent))

    node = bb.install(peer(0), [], bb.Compiler().compile(Ask()), ["Ask"])
    both = {"x": ONE, "peers": bb.PeerList([peer(1), peer(2)])}

    def ask(now: int) -> dict[Any, int]:
        node.invoke("Ask", both, now)
        return {step.peer: step.id for step in node.poll(now).steps if isinstance(step, steps.SendEnvelope)}

    now, waits = 0, []
    for _ in range(4):
        node.sent(ask(now)[peer(1)], False, now)
        (held,) = [step for step in node.poll(now).steps if isinstance(step, steps.Backpressure)]
        assert held.peer == peer(1)
        waits.append(held.until - now)
        assert ask(held.until - 1).keys() == {peer(2)}
        now = held.until
    assert all(10**7 << n <= w <= (10**7 << n) * 5 // 4 for n, w in enumerate(waits))
    node.sent(ask(now)[peer(1)], True, now)
    node.poll(now)
    assert ask(now).keys() == {peer(1), peer(2)}


def test_an_outcome_counts_once_and_an_unknown_one_not_at_all() -> None:
    class Tell(bb.Module):
        def body(self, g: bb.Graph) -> None:
            g.output("there", g.send(g.input("x", bb.f32[1]), to=g.input("peers", bb.types.PEER_LIST)))

    node = bb.install(peer(0), [], bb.Compiler().compile(Tell()), ["Tell"])
    node.invoke("Tell", {"x": ONE, "peers": bb.PeerList([peer(1)])}, 0)
    (step,) = [found for found in node.poll(0).steps if isinstance(found, steps.SendEnvelope)]
    for number in (step.id, step.id, 99):
        node.sent(number, False, 0)
    assert node.poll(0).steps == [steps.PeerResolveFailed(peer(1)), steps.Backpressure(peer(1), mock.ANY)]


def test_a_gate_that_nobody_enforces_is_refused() -> None:
    class Ask(bb.Module):
        def body(self, g: bb.Graph) -> None:
            g.output("there", g.send(g.input("x", bb.f32[1]), to=g.input("peers", bb.types.PEER_LIST)))

    def add(model: Any, state: Any) -> None:
        for function in model.functions:
            for node in function.node:
                if node.op_type == "Recv":
                    set_attribute(node, keys.GATES, ("acme.gate",))

    artefact = bb.Compiler().with_stage(add, before="stamp_compilation_metadata").compile(Ask())
    with pytest.raises(errors.InstallError, match=r"the gate 'acme\.gate'"):
        bb.install(peer(0), [], artefact, ["Ask"])


def test_every_recorder_is_named_in_its_family() -> None:
    assert {"acquire", "release"} == set(dir(s.limit))
    with pytest.raises(AttributeError, match="did you mean 'acquire'"):
        s.limit.aquire  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'interval'"):
        s.intervall  # noqa: B018
    assert PeerId
