"""What peers may call of a component, what they may not, and what comes of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors
from bb_core.ids import PeerId, component_id
from bb_core.inspection import read_program, tell
from bb_core.node.replaying import replay
from bb_core.steps import (
    AppEvent,
    Deferred,
    Dropped,
    EnvelopeRejected,
    FillRejected,
    OpFailed,
    PeerBlocked,
    SendEnvelope,
    Step,
    WireTimeout,
)
from bb_core.testing import Loopback, Network
from bb_core.wire.address import Address, op_suffix, site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_core.wire.payloads import encode_value
from tests.support import AVERAGING, Averaging, Weight, peer

SECOND = 10**9
TALK = component_id("talk")


class Chat(bb.roles.Protocol):
    """Every way to be called and to answer."""

    protocol: ClassVar[str] = "tests.chat"

    @bb.roles.op("Ask", outputs="request")
    def ask(self, ctx: bb.Context, to: PeerId, text: bytes, *, op: str = "Shout", deadline: int = 0) -> bb.Tensor:
        """Ask a peer."""
        raise NotImplementedError

    @bb.roles.op("Tell")
    def tell(self, ctx: bb.Context, to: PeerId, text: bytes, *, op: str = "Note") -> None:
        """Tell a peer."""
        raise NotImplementedError

    @bb.roles.op("Wind")
    def wind(self, ctx: bb.Context, *, delay: int, tag: str = "bell") -> None:
        """Set a timer."""
        raise NotImplementedError


@bb.concrete("tests.Chatter")
class Chatter(Chat):
    """Notes what it hears, and the circumstances."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.heard: list[Any] = []
        self.parked: list[bb.Later] = []

    def snapshot(self) -> bb.State:
        return {"heard": self.heard}

    def restore(self, state: bb.State) -> None:
        self.heard = list(state["heard"])

    def ask(self, ctx: bb.Context, to: PeerId, text: bytes, *, op: str = "Shout", deadline: int = 0) -> bb.Tensor:
        return np.asarray(ctx.send(to, op, text, answer=True, deadline=deadline or None) != 0, np.int64)

    def tell(self, ctx: bb.Context, to: PeerId, text: bytes, *, op: str = "Note") -> None:
        assert ctx.send(to, op, text) == 0

    def wind(self, ctx: bb.Context, *, delay: int, tag: str = "bell") -> None:
        ctx.after(delay, tag)

    def on_timer(self, ctx: bb.Context, tag: str) -> None:
        self.heard.append(["timer", tag, ctx.now, ctx.source == ctx.peer_id])
        if tag == "again":
            ctx.after(SECOND, tag)
        ctx.emit("rang", bb.Record(tag=tag))

    def on_reply(self, ctx: bb.Context, op: str, payload: Any) -> None:
        self.heard.append(["reply", op, payload, str(ctx.source), ctx.is_response])
        ctx.emit("answer", payload)

    @bb.roles.inbound("Note")
    def noted(self, ctx: bb.Context, text: memoryview) -> None:
        assert isinstance(text, memoryview)
        assert text.readonly
        self.heard.append(["note", bytes(text), str(ctx.source), ctx.request, ctx.deadline, ctx.now])

    @bb.roles.inbound("Shout")
    def shouted(self, ctx: bb.Context, text: bytes) -> bytes:
        assert isinstance(text, bytes)
        return text.upper()

    @bb.roles.inbound("Count", reply="Counted")
    def count(self, ctx: bb.Context, text: bytes) -> bb.Record:
        return bb.Record(n=len(text))

    @bb.roles.inbound("Counted")
    def counted(self, ctx: bb.Context, found: bb.Record) -> None:
        self.heard.append(["counted", found["n"], ctx.is_response, ctx.request != 0])

    @bb.roles.inbound("Slow")
    def slow(self, ctx: bb.Context, text: bytes) -> Any:
        later = ctx.later(deadline=5 * SECOND, on_deadline=lambda ctx: later.complete(b"late " + text))
        self.parked.append(later)
        return later

    @bb.roles.inbound("Break")
    def broken(self, ctx: bb.Context, text: bytes) -> None:
        raise ValueError("not today")

    @bb.roles.inbound("Anything")
    def anything(self, ctx: bb.Context, what: Any) -> None:
        self.heard.append(["anything", what])


class Talking(bb.Module):
    """A component that talks, and ways to make it."""

    talk = bb.ProtocolSlot(Chat)

    def body(self, g: bb.Graph) -> None:
        text = g.input("text", bb.types.BYTES)
        for name in ("Shout", "Count", "Slow", "Break", "Nothing"):
            to = g.input(f"ask_{name}", bb.types.PEER_ID)
            g.output(f"asked_{name}", self.talk.ask(g, to, text, op=name))
        g.output("told", self.talk.tell(g, g.input("tell", bb.types.PEER_ID), text))
        g.output("told_count", self.talk.tell(g, g.input("tell_count", bb.types.PEER_ID), text, op="Count"))
        g.output("wound", self.talk.wind(g, delay=3 * SECOND, after=g.input("wind", bb.types.TRIGGER)))
        g.output("again", self.talk.wind(g, delay=SECOND, tag="again", after=g.input("wind_again", bb.types.TRIGGER)))


ARTEFACT = bb.Compiler().bind({"talk": Chatter}).compile(Talking())


def node(number: int = 0, options: bb.NodeConfig | None = None) -> bb.Node:
    return bb.install(peer(number), [], ARTEFACT, ["Talking"], {}, options)


def pair(network: Network | None = None) -> Loopback:
    return Loopback([node(0), node(1)], network)


def heard(of: bb.Node) -> list[Any]:
    found: list[Any] = of.component("talk").heard
    return found


def call(op: str, payload: Any = b"hi", component: int = TALK, **more: Any) -> bytes:
    """An Envelope for an op of a component, as a peer would write it."""
    if isinstance(payload, bytes):
        fill = Fill(op_suffix(component, op), payload)
    else:
        type_hash, written, trigger_only = encode_value(payload)
        fill = Fill(op_suffix(component, op), written, trigger_only, type_hash)
    return encode(Envelope(fills=(fill,), **more))


def given(of: bb.Node, data: bytes, source: int = 1, now: int = 0) -> list[Step]:
    of.receive(data, now, source=peer(source))
    return of.poll(now).steps


def ask(loopback: Loopback, what: str, text: bytes = b"hi", to: int = 1) -> None:
    loopback.invoke(peer(0), "Talking", {what: peer(to), "text": text})
    loopback.run_until_quiet()


def failures(loopback: Loopback) -> list[Step]:
    return [s.step for s in loopback.seen if not isinstance(s.step, AppEvent)]


# --- what is exported -------------------------------------------------------------------------------------------------


def test_the_method_is_called_with_the_circumstances_of_the_envelope() -> None:
    of = node()
    assert given(of, call("Note", remaining_deadline_ns=7, kind=1, request=42), now=5) == []
    assert heard(of) == [["note", b"hi", str(peer(1)), 42, 12, 5]]
    assert given(of, call("Note"), now=6) == []
    assert heard(of)[1] == ["note", b"hi", str(peer(1)), 0, None, 6]
    assert of.is_idle
    assert of.stats()["charged_bytes"] == 0


@pytest.mark.parametrize("number", [0, 1, 2, TALK ^ 1, 2**32 - 1])
def test_a_component_that_is_not_there_is_refused_by_number(number: int) -> None:
    (step,) = given(node(), call("Note", component=number))
    assert isinstance(step, FillRejected)
    assert isinstance(step.error, errors.NotExported)
    assert step.error.fields == {"component": number, "op": "Note"}
    assert f"/component/{number}/op/Note" in step.error.message


@pytest.mark.parametrize(
    "op", ["", "note", "Note ", "noted", "ask", "Ask", "on_timer", "on_reply", "snapshot", "__init__", "Nothing"]
)
def test_only_what_is_marked_as_inbound_can_be_called(op: str) -> None:
    of = node()
    (step,) = given(of, call(op))
    assert isinstance(step, FillRejected)
    assert isinstance(step.error, errors.NotExported)
    assert heard(of) == []


@pytest.mark.parametrize(
    "suffix",
    [
        b"",
        b"\xe3",
        b"\xff\xff\xff",
        Address.parse(f"/component/{TALK}").to_bytes(),
        Address.parse("/op/Note").to_bytes(),
        Address.parse(f"/p2p/{peer(0)}").to_bytes(),
        site_suffix(17),
        op_suffix(TALK, "Note") + site_suffix(17),
    ],
)
def test_other_addresses_are_refused(suffix: bytes) -> None:
    of = node()
    (step,) = given(of, encode(Envelope(fills=(Fill(suffix, b"hi"),))))
    assert isinstance(step, FillRejected)
    assert isinstance(step.error, errors.NotExported)
    assert heard(of) == []


def test_a_segment_before_the_component_is_looked_past() -> None:
    of = node()
    suffix = Address.parse(f"/p2p/{peer(0)}").to_bytes() + op_suffix(TALK, "Note")
    assert given(of, encode(Envelope(fills=(Fill(suffix, b"hi"),)))) == []
    assert len(heard(of)) == 1


def test_one_fills_refusal_leaves_the_others_alone() -> None:
    of = node()
    fills = tuple(Fill(op_suffix(TALK, op), op.encode()) for op in ("Note", "Nothing", "Note"))
    (step,) = given(of, encode(Envelope(fills=fills)))
    assert isinstance(step, FillRejected)
    assert step.index == 1
    assert [h[1] for h in heard(of)] == [b"Note", b"Note"]


def test_a_peer_that_is_blocked_calls_nothing() -> None:
    of = node()
    of.block(peer(1))
    assert given(of, call("Note")) == [PeerBlocked(peer(1))]
    of.unblock(peer(1))
    of.allow_only([peer(2)])
    assert given(of, call("Note")) == [PeerBlocked(peer(1))]
    assert heard(of) == []


def test_a_sender_that_names_another_is_refused() -> None:
    of = node()
    (step,) = given(of, call("Note", src_peer=peer(2).raw), source=1)
    assert isinstance(step, EnvelopeRejected)
    assert isinstance(step.error, errors.SourceMismatch)
    assert heard(of) == []


def test_a_request_that_comes_twice_is_called_once() -> None:
    of = node()
    twice = call("Note", kind=1, request=9)
    assert given(of, twice) == []
    assert given(of, twice) == [Dropped(peer(1), "duplicate")]
    assert given(of, twice, source=2) == []
    assert len(heard(of)) == 2
    for _ in range(2):
        given(of, call("Note"))  # of no request: nothing tells one from another
    assert len(heard(of)) == 4


# --- payloads ---------------------------------------------------------------------------------------------------------


def test_a_typed_payload_is_decoded_and_an_untyped_one_is_bytes() -> None:
    of = node()
    values = (bb.Record(a=1), peer(3), bb.TRIGGER, np.ones(2, np.float32))
    for value in values:
        assert given(of, call("Anything", value)) == []
    given(of, call("Anything", b"raw"))
    kinds = [type(h[1]) for h in heard(of)]
    assert kinds == [bb.Record, PeerId, bb.Trigger, np.ndarray, bytes]


@pytest.mark.parametrize("value", [bb.Record(a=1), peer(3), bb.TRIGGER, np.ones(2, np.float32)])
@pytest.mark.parametrize("op", ["Note", "Shout"])
def test_another_type_than_the_declared_is_refused(op: str, value: Any) -> None:
    (step,) = given(node(), call(op, value))
    assert isinstance(step, FillRejected)
    assert isinstance(step.error, errors.PayloadError)


def test_bytes_without_a_type_are_no_record() -> None:
    (step,) = given(node(), call("Counted", b"hi"))
    assert isinstance(step, FillRejected)
    assert step.error.expected == "Record"


def test_a_payload_that_does_not_decode_is_refused() -> None:
    fill = Fill(op_suffix(TALK, "Anything"), b"\xff" * 9, False, encode_value(bb.Record(a=1))[0])
    unknown = Fill(op_suffix(TALK, "Anything"), b"", False, 12345)
    steps = given(node(), encode(Envelope(fills=(fill, unknown))))
    assert [type(s) for s in steps] == [FillRejected, FillRejected]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_comes_back_by_its_request() -> None:
    loopback = pair()
    ask(loopback, "ask_Shout")
    assert failures(loopback) == []
    assert heard(loopback.nodes[peer(0)]) == [["reply", "Shout", b"HI", str(peer(1)), True]]
    assert loopback.nodes[peer(0)].stats()["requests"] == 0
    assert loopback.envelopes == 2


def test_an_answer_goes_to_the_op_that_the_protocol_names() -> None:
    loopback = pair()
    ask(loopback, "ask_Count")
    ask(loopback, "tell_count")
    assert heard(loopback.nodes[peer(0)]) == [["counted", 2, True, True], ["counted", 2, False, False]]
    assert loopback.nodes[peer(0)].stats()["requests"] == 0


def test_what_nobody_has_asked_for_is_not_answered() -> None:
    of = node()
    assert given(of, call("Shout")) == []
    assert given(of, call("Shout", kind=2, request=3))[0].error.code == "BB-R008"  # type: ignore[union-attr]


def test_an_answer_may_come_later() -> None:
    loopback = pair()
    ask(loopback, "ask_Slow")
    assert loopback.now > 5 * SECOND
    assert heard(loopback.nodes[peer(0)])[0][2] == b"late hi"


def test_an_answer_that_nobody_waits_for_any_more_is_not_sent() -> None:
    of = node()
    given(of, call("Slow", kind=1, request=3, remaining_deadline_ns=SECOND))
    (step,) = of.poll(5 * SECOND).steps
    assert isinstance(step, OpFailed)
    assert isinstance(step.error, errors.DeadlinePassed)
    assert of.is_idle


def test_an_answer_of_another_peer_is_refused() -> None:
    of = node()
    of.invoke("Talking", {"ask_Shout": peer(1), "text": b"hi"}, 0)
    sent = next(s for s in of.poll(0).steps if isinstance(s, SendEnvelope))
    asked = decode(sent.data)
    assert (asked.kind, asked.src_peer) == (1, peer(0).raw)
    assert asked.dest_peer_addresses == (Address.parse(f"/p2p/{peer(1)}").to_bytes(),)
    answer = call("Shout", b"HI", kind=2, request=asked.request)
    (step,) = given(of, answer, source=2)
    assert isinstance(step, EnvelopeRejected)
    assert isinstance(step.error, errors.UnexpectedResponse)
    (step,) = given(of, call("Nothing", b"HI", kind=2, request=asked.request), source=1)
    assert isinstance(step, FillRejected)
    (event,) = given(of, answer, source=1)
    assert isinstance(event, AppEvent)
    assert (event.target, event.port, event.value) == ("talk/reply", "answer", b"HI")
    (step,) = given(of, answer, source=1)  # it is closed
    assert isinstance(step, EnvelopeRejected)


def test_a_request_that_nobody_answers_ends_at_its_deadline() -> None:
    loopback = pair()
    ask(loopback, "ask_Break")
    loopback.run_to(40 * SECOND)
    timeouts = [s.step for s in loopback.seen if isinstance(s.step, WireTimeout)]
    assert [t.peers for t in timeouts] == [(peer(1),)]
    assert loopback.nodes[peer(0)].stats()["requests"] == 0


def test_nothing_goes_to_a_peer_that_is_blocked() -> None:
    loopback = pair()
    loopback.nodes[peer(0)].block(peer(1))
    ask(loopback, "ask_Shout")
    assert failures(loopback) == [PeerBlocked(peer(1))]
    assert loopback.envelopes == 0
    assert loopback.nodes[peer(0)].stats()["requests"] == 0


def test_a_message_larger_than_an_envelope_takes_is_the_senders_fault() -> None:
    loopback = pair()
    ask(loopback, "tell", b"x" * (5 * 2**20))
    (step,) = failures(loopback)
    assert isinstance(step, OpFailed)
    assert isinstance(step.error, errors.RoleError)
    assert "cannot be sent to a component" in step.error.message


# --- errors -----------------------------------------------------------------------------------------------------------


def test_what_a_method_raises_is_a_step() -> None:
    of = node()
    (step,) = given(of, call("Break"))
    assert isinstance(step, OpFailed)
    assert (step.target, step.op, step.slot, step.role) == ("talk/op/Break", "Break", "talk", "protocol")
    assert step.where.endswith("Chatter")
    assert isinstance(step.error.__cause__, ValueError)
    assert of.is_idle


class Loud(Chatter):
    """Its Concretes differ in what peers may call."""

    @bb.roles.inbound("More")
    def more(self, ctx: bb.Context, text: bytes) -> None: ...


bb.concrete("tests.Loud")(Loud)


@bb.concrete("tests.Agreed")
class Agreed(Chatter):
    """A component with an id that was agreed on."""

    component: ClassVar[int | None] = 1


class Both(bb.Module):
    one = bb.ProtocolSlot(Chat)
    two = bb.ProtocolSlot(Chat)

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("a", self.one.wind(g, delay=1, after=go))
        g.output("b", self.two.wind(g, delay=1, after=go))


def test_two_components_of_one_id_do_not_compile() -> None:
    with pytest.raises(errors.SiteCollision, match="'two' and 'one' have one id, 0x1"):
        bb.Compiler().bind({"one": Agreed, "two": Agreed}).compile(Both())
    bb.Compiler().bind({"one": Agreed, "two": Chatter}).compile(Both())


def test_what_peers_may_call_is_told_of_a_program() -> None:
    told = tell(read_program(bb.Compiler().bind({"talk": Agreed}).compile(Talking())))
    assert told.partition("PEERS MAY CALL\n")[2].splitlines()[:2] == [
        "  /component/1/op/Anything  of talk",
        "  /component/1/op/Break     of talk",
    ]


def test_an_agreed_id_is_the_one_that_peers_call() -> None:
    artefact = bb.Compiler().bind({"talk": Agreed}).compile(Talking())
    of = bb.install(peer(0), [], artefact, ["Talking"])
    assert given(of, call("Note", component=1)) == []
    assert len(heard(of)) == 1
    assert isinstance(given(of, call("Note"))[0], FillRejected)


def test_a_late_concrete_must_be_called_as_the_artefact_says() -> None:
    artefact = bb.Compiler().compile(Talking(), late=["talk"])
    with pytest.raises(errors.InstallError, match="peers") as caught:
        bb.install(peer(0), [], artefact, ["Talking"], {"talk": bb.use(Chatter)})
    assert "Note" in caught.value.message
    assert "no op of component" in (caught.value.expected or "")


class Heard(bb.roles.Protocol):
    """Declares its inbound ops itself, so that Concretes may come late."""

    protocol: ClassVar[str] = "tests.heard"

    @bb.roles.op("Size", outputs="n")
    def size(self, ctx: bb.Context) -> bb.Tensor:
        """Count."""
        raise NotImplementedError

    @bb.roles.inbound("Put")
    def put(self, ctx: bb.Context, what: bytes) -> None:
        """Take something."""
        raise NotImplementedError


@bb.concrete("tests.Listener")
class Listener(Heard, bb.roles.Index):
    """Of two Roles."""

    has_state: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.n = 0

    def size(self, ctx: bb.Context) -> bb.Tensor:
        return np.asarray(self.n, np.int64)

    def put(self, ctx: bb.Context, what: bytes) -> None:
        self.n += 1


class Listening(bb.Module):
    ears = bb.ProtocolSlot(Heard)

    def body(self, g: bb.Graph) -> None:
        g.output("n", self.ears.size(g, after=g.input("go", bb.types.TRIGGER)))


class Indexing(bb.Module):
    ears = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("n", self.ears.size(g, after=g.input("go", bb.types.TRIGGER)))


def test_a_late_concrete_of_a_protocol_that_declares_its_inbound_ops_is_called() -> None:
    artefact = bb.Compiler().compile(Listening(), late=["ears"])
    of = bb.install(peer(0), [], artefact, ["Listening"], {"ears": bb.use(Listener)})
    assert given(of, call("Put", component=component_id("ears"))) == []
    assert of.component("ears").n == 1


def test_a_protocol_in_a_slot_of_another_role_is_called_too() -> None:
    artefact = bb.Compiler().bind({"ears": Listener}).compile(Indexing())
    of = bb.install(peer(0), [], artefact, ["Indexing"])
    assert given(of, call("Put", component=component_id("ears"))) == []
    assert of.component("ears").n == 1


def declare(body: Callable[[], type]) -> str:
    with pytest.raises(errors.InvalidConcrete) as caught:
        bb.concrete("tests.Wrong")(body())
    return str(caught.value)


def test_what_cannot_be_called_is_refused_when_it_is_declared() -> None:
    class Unslashed(bb.roles.Protocol):
        @bb.roles.inbound("a/b")
        def put(self, ctx: bb.Context, what: bytes) -> None: ...

    class Doubled(bb.roles.Protocol):
        @bb.roles.inbound("Put")
        def put(self, ctx: bb.Context, what: bytes) -> None: ...

        @bb.roles.inbound("Put")
        def put_too(self, ctx: bb.Context, what: bytes) -> None: ...

    class Greedy(bb.roles.Protocol):
        @bb.roles.inbound("Put")
        def put(self, ctx: bb.Context, what: bytes, more: bytes) -> None: ...

    class Odd(bb.roles.Protocol):
        @bb.roles.inbound("Put")
        def put(self, ctx: bb.Context, what: dict[str, int]) -> None: ...

    class Silent(bb.roles.Index):
        @bb.roles.inbound("Put")
        def put(self, ctx: bb.Context, what: bytes) -> None: ...

    class Wide(bb.roles.Protocol):
        component = 2**32

    for wrong, part in (
        (Unslashed, "without a slash"),
        (Doubled, "both the inbound op"),
        (Greedy, "(ctx, payload)"),
        (Odd, "not the type of a port"),
        (Silent, "subclass of bb.roles.Protocol"),
        (Wide, "32 bits"),
    ):
        assert part in declare(lambda wrong=wrong: wrong), wrong


@bb.concrete("tests.Odd")
class Odd(Chatter):
    """Answers with what cannot travel."""

    def shouted(self, ctx: bb.Context, text: bytes) -> Any:
        return {"no": "wire type"}


def test_an_answer_that_cannot_travel_is_a_step() -> None:
    artefact = bb.Compiler().bind({"talk": Odd}).compile(Talking())
    of = bb.install(peer(0), [], artefact, ["Talking"])
    (step,) = given(of, call("Shout", kind=1, request=3))
    assert isinstance(step, OpFailed)
    assert (step.op, step.slot) == ("Reply", "talk")
    assert of.is_idle


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 255, 256, 2**31 - 1])
@pytest.mark.parametrize("request_id", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("left", [0, 1, 2**64 - 1])
def test_no_number_of_a_peer_raises(kind: int, request_id: int, left: int) -> None:
    of = node()
    given(of, call("Shout", kind=kind, request=request_id, remaining_deadline_ns=left), now=7)
    given(of, call("Slow", kind=kind, request=request_id, remaining_deadline_ns=left), now=7)
    node().restore(of.snapshot())


@pytest.mark.parametrize("kind", [256, 2**31 - 1])
def test_no_kind_of_a_peer_raises_at_a_site(kind: int) -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    of = bb.install(peer(1), [], artefact, ["Averaging@client"])
    (recv,) = [n for n in artefact.functions[1].node if n.op_type == "Recv"]
    (site,) = next(a.ints for a in recv.attribute if a.name == "sites")
    type_hash, payload, _ = encode_value(np.ones(1, np.float32))
    fill = Fill(site_suffix(site % 2**64), payload, False, type_hash)
    of.receive(encode(Envelope(fills=(fill,), kind=kind, request=1)), 0, source=peer(0))
    assert [type(s) for s in of.poll(0).steps] == [SendEnvelope]


def test_no_changed_byte_raises() -> None:
    of = node()
    data = call("Count", b"hello", kind=1, request=5, src_peer=peer(1).raw)
    for at in range(len(data)):
        for flipped in (0x01, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ flipped]) + data[at + 1 :]
            given(of, changed)
            given(of, data[:at])
    assert of.is_idle


# --- other Frames -----------------------------------------------------------------------------------------------------


@bb.concrete("tests.Told")
class Told(bb.roles.Protocol, Weight):
    """A Model that peers may call."""

    open: ClassVar[list[bb.Later]] = []

    def __init__(self, config: Any) -> None:
        Weight.__init__(self, config)

    def params(self, ctx: bb.Context) -> Any:
        self.open.append(ctx.later())
        return self.open[-1]

    @bb.roles.inbound("Add")
    def add(self, ctx: bb.Context, what: bb.Tensor) -> None:
        self.value += what


class Holding(bb.Module):
    """A Frame that holds its model while it computes."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = self.model.params(g, after=g.input("go", bb.types.TRIGGER))
        g.output("after", self.model.apply_delta(g, params))


class Preparing(Holding):
    """Its bootstrap prepares the model."""

    def bootstrap(self, g: bb.Graph) -> None:
        self.model.load_parameters(g, g.input("start", bb.f32[1]))


def test_a_call_waits_for_a_frame_that_holds_its_component() -> None:
    artefact = bb.Compiler().bind({"model": Told}).compile(Holding())
    of = bb.install(peer(0), [], artefact, ["Holding"])
    of.invoke("Holding", {"go": bb.TRIGGER}, 0)
    of.poll(0)
    add = call("Add", np.ones(1, np.float32), component=component_id("model"))
    assert given(of, add) == []
    assert "which Frame 1 holds" in str(of.explain()[1])
    assert of.component("model").value[0] == 0
    other = bb.install(peer(0), [], artefact, ["Holding"])
    other.restore(of.snapshot())
    for later, one in zip(Told.open[-2:], (of, other), strict=True):
        later.complete(np.full(1, 5, np.float32))
        one.poll(1)
        assert one.component("model").value[0] == 6
        assert one.is_idle


def test_a_call_waits_for_the_bootstrap_of_its_component() -> None:
    artefact = bb.Compiler().bind({"model": Told}).compile(Preparing())
    of = bb.install(peer(0), [], artefact, ["Preparing"])
    (step,) = given(of, call("Add", np.ones(1, np.float32), component=component_id("model")))
    assert isinstance(step, Deferred)
    assert of.component("model").value[0] == 0
    of.bootstrap("Preparing", {"start": np.full(1, 3, np.float32)}, 1)
    of.poll(1)
    assert of.component("model").value[0] == 4
    assert of.is_idle


# --- timers -----------------------------------------------------------------------------------------------------------


def test_a_timer_calls_its_component() -> None:
    of = node()
    of.invoke("Talking", {"wind": bb.TRIGGER}, SECOND)
    result = of.poll(SECOND)
    assert result.next_wakeup == 4 * SECOND
    assert of.explain_wakeup() == f"timer 'bell' of talk at {4 * SECOND} ns"
    of.invoke("Talking", {"wind": bb.TRIGGER}, 2 * SECOND)  # moves it
    assert of.poll(2 * SECOND).next_wakeup == 5 * SECOND
    assert of.poll(4 * SECOND).steps == []
    (event,) = of.poll(5 * SECOND).steps
    assert isinstance(event, AppEvent)
    assert (event.target, event.port, event.value["tag"]) == ("talk/timer", "rang", "bell")
    assert heard(of) == [["timer", "bell", 5 * SECOND, True]]
    assert of.poll(5 * SECOND).next_wakeup is None


# --- kept and repeated ------------------------------------------------------------------------------------------------


def test_a_node_goes_on_from_any_point_as_if_it_had_not_stopped() -> None:
    first = node(options=bb.NodeConfig(seed=3))
    first.invoke("Talking", {"wind_again": bb.TRIGGER}, 0)
    first.invoke("Talking", {"ask_Shout": peer(1), "text": b"hi"}, 0)
    sent = next(s for s in first.poll(0).steps if isinstance(s, SendEnvelope))
    request = decode(sent.data).request
    first.receive(call("Slow", b"parked", kind=1, request=5, remaining_deadline_ns=9), 1, source=peer(1))
    first.receive(call("Note", b"first"), 1, source=peer(1))
    first.poll(1)
    first.receive(call("Note", b"waits to be taken in"), 2, source=peer(2))
    second = node()
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    for one in (first, second):
        one.receive(call("Shout", b"HI", kind=2, request=request), 3, source=peer(1))
    for now in (3, SECOND, SECOND + 5, 3 * SECOND, 6 * SECOND, 40 * SECOND):
        assert repr(second.poll(now)) == repr(first.poll(now))
    assert heard(second) == heard(first)
    assert ["reply", "Shout", b"HI", str(peer(1)), True] in heard(second)
    assert second.snapshot() == first.snapshot()


def test_a_recording_is_replayed() -> None:
    log = io.BytesIO()
    of = node()
    of.record(log.write)
    of.invoke("Talking", {"wind_again": bb.TRIGGER}, 0)
    of.invoke("Talking", {"ask_Shout": peer(1), "text": b"hi"}, 0)
    sent = next(s for s in of.poll(0).steps if isinstance(s, SendEnvelope))
    given(of, call("Shout", b"HI", kind=2, request=decode(sent.data).request), now=4)
    for op in ("Note", "Break", "Slow", "Nothing"):
        given(of, call(op, kind=1, request=8), now=SECOND)
    of.poll(9 * SECOND)
    found = replay(log.getvalue(), node)
    assert found.divergence is None
    assert found.steps > 8
    assert heard(found.node) == heard(of)


def test_a_lossy_network_with_duplicates_and_disorder_calls_each_request_once() -> None:
    loopback = pair(Network(duplicate=0.5, reorder=0.3, jitter_ns=10**6))
    for n in range(40):
        ask(loopback, "ask_Count", b"x" * n)
    assert sorted(h[1] for h in heard(loopback.nodes[peer(0)])) == list(range(40))
