"""One declaration per op: what is recorded, what a Concrete is called with, and what comes out agree, for every op."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core import errors, keys, steps
from bb_core import types as t
from bb_core.engine import program
from bb_core.engine.handlers import _WIRE
from bb_core.engine.syscalls import BODIES
from bb_core.ops import Attribute, OpSpec, Port, table
from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.ops.table import op_table
from bb_core.registry import Ops
from bb_core.roles import ROLES
from bb_core.roles.contract import Role, specs_of
from bb_core.types import Type
from bb_core.values import Composite, PeerList, Record, RequestId
from bb_core.wire.address import Address, AddressList, p2p_address
from tests.core.compiler.passes.programs import ASKING, Asking
from tests.support import Numbers, peer

VALUES: dict[str, Any] = {
    t.TENSOR.denotation: np.ones(2, np.float32),
    t.ANY.denotation: np.ones(2, np.float32),
    t.i64.denotation: np.asarray(3, np.int64),
    t.RECORD.denotation: Record(a=1),
    t.TRIGGER.denotation: bb.TRIGGER,
    t.PEER_LIST.denotation: PeerList([peer(3)]),
    t.PEER_ID.denotation: peer(3),
    t.REQUEST_ID.denotation: RequestId(9),
    t.COMPOSITE.denotation: Composite([np.ones(1)]),
    t.BYTES.denotation: b"abc",
    t.ADDRESS.denotation: Address.from_bytes(p2p_address(peer(4))),
    t.ADDRESS_LIST.denotation: AddressList([Address.from_bytes(p2p_address(peer(4)))]),
}
SECOND = 10**9
ATTRIBUTES: dict[str, Any] = {"int": 2, "float": 0.5, "str": "eval", "bool": True, "ints": (1, 2), "strs": ("a", "b")}
SLOTS = {role.role: getattr(bb, f"{role.__name__}Slot") for role in ROLES.values()}
CASES = [(role, name, spec) for role in ROLES.values() for name, spec in specs_of(role).items()]


for _value in VALUES.values():
    if isinstance(_value, np.ndarray):
        _value.flags.writeable = False  # as an edge has it; the Node then takes it in as it is


def value_of(type_: Type) -> Any:
    return VALUES[type_.denotation]


def recording(role: type[Role], method: str, spec: OpSpec, calls: list[Any]) -> type[Role]:
    """A Concrete whose one method keeps what it is called with."""

    def called(self: Any, ctx: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        outs = [None if p.type == t.TRIGGER else value_of(p.type) for p in spec.outputs]
        return outs[0] if len(outs) == 1 else tuple(outs)

    called.__signature__ = inspect.signature(getattr(role, method))  # type: ignore[attr-defined]
    return bb.concrete(f"tests.Recording.{role.role}.{method}")(
        type(f"Recording{spec.name}", (role,), {method: called})
    )


@pytest.mark.parametrize(("role", "method", "spec"), CASES, ids=[f"{r.role}.{m}" for r, m, _ in CASES])
def test_every_op_of_every_role_is_recorded_and_dispatched(role: type[Role], method: str, spec: OpSpec) -> None:
    class Probe(bb.Module):
        slot = SLOTS[role.role](*(["peers"] if role.role == keys.PEER_SELECTOR else []))
        data = bb.DataSourceSlot()

        def body(self, g: bb.Graph) -> None:
            given = {p.name: g.input(f"in_{p.name}", p.type) for p in spec.inputs}
            given |= {s.name: self.data for s in spec.slots}
            given |= {a.name: ATTRIBUTES[a.kind] for a in spec.attributes if a.name != "peer_class"}
            outs = getattr(self.slot, method)(g, after=g.input("go", t.TRIGGER), **given)
            for port, out in zip(spec.outputs, outs if isinstance(outs, tuple) else (outs,), strict=True):
                assert out.type == port.type
                g.output(f"out_{port.name}", out)

    calls: list[Any] = []
    bindings: dict[str, Any] = {"slot": recording(role, method, spec, calls)}
    if spec.slots:
        bindings["data"] = Numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: None)  # a collection here has no deadline
        artefact = bb.Compiler().bind(bindings).compile(Probe())
    node = bb.install(peer(0), [], artefact, ["Probe"])
    inputs = {f"in_{p.name}": value_of(p.type) for p in spec.inputs} | {"go": bb.TRIGGER}
    node.invoke("Probe", inputs, 0)
    result = node.poll(0)
    ((args, kwargs),) = calls
    assert list(args) == [node.component("data") for _ in spec.slots] + [value_of(p.type) for p in spec.inputs]
    wanted = {a.name: ATTRIBUTES[a.kind] for a in spec.attributes}
    assert kwargs == (wanted | {"peer_class": "peers"} if "peer_class" in wanted else wanted)
    found = {s.port: s.value for s in result.steps if isinstance(s, steps.AppEvent)}
    assert list(found) == [f"out_{p.name}" for p in spec.outputs]
    assert all(found[f"out_{p.name}"] is value_of(p.type) for p in spec.outputs)


# --- ops of the framework ---------------------------------------------------------------------------------------------

LOCAL = [spec for spec in FRAMEWORK_OPS if spec.key in BODIES]
CHOSEN: dict[tuple[str, str], Any] = {
    ("Again", "port"): "go",
    ("Cast", "to"): t.f64.denotation,
    ("Interval", "period"): SECOND,
    ("Threshold", "n"): 1,
    ("Unbundle", "types"): (t.TENSOR.denotation,),
}
"""Attributes that have to mean something, so that not any value of their kind will do."""
UNWRITTEN = {
    "DeadlineMatch": {"late"},  # the first input has won
    "Hold.Flush": {"value"},  # nothing is held
    "OnFailure": {"failed"},  # nothing has failed
    "Serialize.Dequeue": {"value"},  # nothing is queued
}
RUN_BY_ENGINE = {"OnFailure"}
"""Ops that never run, besides sources: the engine itself writes their output."""


def recorded(spec: OpSpec, g: bb.Graph, given: dict[str, Any], after: bb.Output | None) -> tuple[bb.Output, ...]:
    """Record an op by its function in `bb.syscalls`, or as `bb.Graph` itself does."""
    if not spec.record:
        variadic = any(p.variadic for p in spec.outputs)
        return g.record(spec, given, after=after, types=[t.TENSOR] if variadic else None)
    function: Any = bb.syscalls
    for part in spec.record.split("."):
        function = getattr(function, part)
    outs = function(g, **given) if after is None else function(g, after=after, **given)
    return outs if isinstance(outs, tuple) else (outs,)


class Spy:
    """Keeps what ops are called with."""

    wants_steps = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def op_began(self, run: bb.OpRun, inputs: tuple[Any, ...]) -> None:
        self.calls.append((run.op, inputs))

    def op_ended(self, run: bb.OpRun, outputs: Any) -> None: ...

    def op_failed(self, run: bb.OpRun, error: errors.BBError) -> None: ...

    def polled(self, now: int, steps: list[Any]) -> None: ...


def fits(value: Any, type_: Type) -> bool:
    """Whether a value is what a port's type says."""
    cls = t.python_class(type_)
    known = not type_.elem or value.dtype == onnx.helper.tensor_dtype_to_np_dtype(type_.elem)
    return (cls is None or isinstance(value, cls)) and known and (type_.shape is None or value.shape == type_.shape)


def input_names(port: Port) -> list[str]:
    return [f"in_{port.name}{i}" for i in range(2)] if port.variadic else [f"in_{port.name}"]


def chosen(spec: OpSpec, attribute: Attribute) -> Any:
    usual = SECOND if attribute.kind == "duration" else ATTRIBUTES[attribute.kind]
    return CHOSEN.get((spec.name, attribute.name), usual)


@pytest.mark.filterwarnings("ignore::bb_core.errors.ProtocolWarning")  # values that are left unread
@pytest.mark.parametrize("spec", LOCAL, ids=[s.name for s in LOCAL])
def test_every_op_of_the_framework_is_recorded_and_dispatched(spec: OpSpec) -> None:
    ports: list[Port] = []

    class Probe(bb.Module):
        def body(self, g: bb.Graph) -> None:
            given: dict[str, Any] = {a.name: chosen(spec, a) for a in spec.attributes}
            for port in spec.inputs:
                values = [g.input(name, port.type) for name in input_names(port)]
                given[port.name] = values if port.variadic else values[0]
            outs = recorded(spec, g, given, None if spec.source else g.input("go", t.TRIGGER))
            ports[:] = spec.outputs if not spec.outputs[0].variadic else spec.outputs * len(outs)
            for i, (port, out) in enumerate(zip(ports, outs, strict=True)):
                assert port.type.accepts(out.type)
                assert out.name.rpartition(".")[2] == (f"{port.name}{i}" if port.variadic else port.name)
                g.output(f"out_{i}", out)

    node, spy = bb.install(peer(0), [], bb.Compiler().compile(Probe()), ["Probe"]), Spy()
    node.observe(spy)
    node.add_peer(peer(3), [p2p_address(peer(3))])
    values = {name: value_of(port.type) for port in spec.inputs for name in input_names(port)}
    if spec.any_of:
        values = dict(list(values.items())[:1])
    if spec.source:
        node.fire_lifecycle(ATTRIBUTES["str"], 0)
        node.publish(ATTRIBUTES["str"], 0)
    else:
        node.invoke("Probe", values | {"go": bb.TRIGGER}, 0)
    told = [s for now in (0, SECOND) for s in node.poll(now).steps]
    assert [s for s in told if isinstance(s, steps.OpFailed)] == []
    calls = [call for call in spy.calls if call[0] == spec.name]
    if spec.source or spec.name in RUN_BY_ENGINE:
        assert calls == []
    else:
        outputs = len(ports) - len(UNWRITTEN.get(spec.name, ()))
        assert len(calls) == (1 + outputs if spec.name == "Output" else 1)  # an Output's value is read by another one
        wanted = [values.get(name) for port in spec.inputs for name in input_names(port)]
        assert all(a is w for a, w in zip(calls[0][1], wanted, strict=True))
    found = {s.port: s.value for s in told if isinstance(s, steps.AppEvent) and s.port.startswith("out_")}
    unwritten = UNWRITTEN.get(spec.name, set())
    assert list(found) == [f"out_{i}" for i, port in enumerate(ports) if port.name not in unwritten]
    for i, port in enumerate(ports):
        assert port.name in unwritten or fits(found[f"out_{i}"], port.type)
    if "same_type" in spec.relations and spec.name not in UNWRITTEN:
        assert all(value is values[input_names(spec.inputs[0])[0]] for value in found.values())


class AskingSurely(Asking):
    """Asks with a receipt."""

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x), ack=True)
        g.output("all", g.stack(g.gather(g.reply(self.backend.neg(g, asked), to=asked), deadline="5s")))


@pytest.mark.filterwarnings("ignore::bb_core.errors.ProtocolWarning")
def test_every_op_of_the_wire_is_recorded_and_dispatched(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr("bb_core.testing.population.install", lambda *a: (node := bb.install(*a), node.observe(spy))[0])
    given = bb.run(AskingSurely(), bindings=ASKING, peers={"client": 3}, inputs={"x": np.ones(2, np.float32)})
    assert given.metrics[0]["all"].tolist() == [[-1.0, -1.0]] * 3
    told = {n.op_type for f in given.artefact.functions for n in f.node if n.domain == keys.WIRE}
    assert told == {s.name for s in FRAMEWORK_OPS if s.domain == keys.WIRE and not s.expanded_by} == set(_WIRE)
    calls = [name for name, _ in spy.calls]
    assert set(calls) & set(_WIRE) == told - {"Recv"}  # which its entry writes
    assert calls.count("Gather.Contribute") == 3


def test_no_op_is_left_out() -> None:
    expanded = {s.key for s in FRAMEWORK_OPS if s.expanded_by}
    wire = {(keys.WIRE, name) for name in _WIRE}
    role_ops = {spec.key for _, _, spec in CASES}
    by_stage = {(keys.FRAMEWORK, keys.SUBGRAPH)}  # tests/core/compiler/test_subgraphs.py
    assert set(op_table()) == {s.key for s in LOCAL} | wire | expanded | role_ops | by_stage


def test_every_recorder_is_made_from_a_declaration() -> None:
    flat = {spec.record for spec in FRAMEWORK_OPS if spec.record}
    assert len(flat) >= 30
    for name in flat:
        function: Any = bb.syscalls
        for part in name.split("."):
            function = getattr(function, part)
        assert function.__doc__


def test_a_source_waits_for_nothing() -> None:
    class Waiting(bb.Module):
        def body(self, g: bb.Graph) -> None:
            bb.syscalls.interval(g, period="1s", after=g.input("x"))  # type: ignore[call-arg]

    with pytest.raises(
        errors.UnknownPort, match=r"(?s)Interval begins a Frame of its own.*put after= on what reads it"
    ):
        Waiting().build()


MISSPELLED = [
    (lambda m, g: m.model.forwrd, "a model slot has no op 'forwrd'.*did you mean 'forward'"),
    (lambda m, g: m.backend.matmull, "ONNX has no op 'matmull'.*did you mean 'mat_mul'"),
    (lambda m, g: g.outputt, "a Graph has no 'outputt'.*did you mean 'output'"),
    (lambda m, g: bb.syscalls.aftr, "bb.syscalls has no 'aftr'.*did you mean 'after'"),
]


@pytest.mark.parametrize(("reach", "says"), MISSPELLED)
def test_a_misspelled_recorder_is_pointed_at(reach: Any, says: str) -> None:
    class Misspelled(bb.Module):
        model, backend = bb.ModelSlot(), bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            reach(self, g)

    with pytest.raises(errors.UnknownRecorder, match=f"(?s){says}") as caught:
        Misspelled().build()
    assert str(caught.value.where).startswith("tests/core/test_ops.py:")


# --- ops of plugins ---------------------------------------------------------------------------------------------------

SCALE = OpSpec(
    "acme.ops",
    "ScaleAll",
    1,
    inputs=(Port("values", t.TENSOR, variadic=True),),
    outputs=(Port("sum", t.TENSOR),),
    attributes=(Attribute("factor", "float", 2.0),),
    call="tests.core.test_ops:scale_all",
    relations=("same_elem",),
    doc="Sum and scale.",
)


def scale_all(ctx: bb.Context, *values: Any, factor: float) -> Any:
    """Run SCALE."""
    return np.float32(factor) * sum(values)


@pytest.fixture
def _scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_declared", {})
    table.declare_op(SCALE, "acme 1.0 (ops)")


class Scaled(bb.Module):
    """Uses the op of a plugin."""

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32[2]), g.input("y")
        g.output("z", bb.opset("acme.ops").scale_all(g, x, y, factor=0.5))


@pytest.mark.usefixtures("_scale")
def test_a_plugins_op_compiles_installs_and_runs() -> None:
    artefact = bb.Compiler().compile(Scaled())
    assert "acme 1.0" in next(p.value for p in artefact.metadata_props if p.key == keys.PASSPORT)
    node = bb.install(peer(0), [], artefact, ["Scaled"])
    node.invoke("Scaled", {"x": np.ones(2, np.float32), "y": np.full(2, 3, np.float32)}, 0)
    (event,) = [s for s in node.poll(0).steps if isinstance(s, steps.AppEvent)]
    assert event.value.tolist() == [2.0, 2.0]


@pytest.mark.usefixtures("_scale")
def test_mistakes_with_a_plugins_op_name_the_nearest() -> None:
    class Wrong(bb.Module):
        def body(self, g: bb.Graph) -> None:
            bb.opset("acme.ops").scale_all(g, g.input("x"), factr=1.0)

    with pytest.raises(errors.UnknownPort, match="did you mean 'factor'"):
        Wrong().build()
    with pytest.raises(AttributeError, match="did you mean 'scale_all'"):
        bb.opset("acme.ops").scale_al  # noqa: B018
    with pytest.raises(errors.UnknownPort, match=r"did you mean 'acme\.ops'"):
        bb.opset("acme.op")


@pytest.mark.usefixtures("_scale")
def test_an_op_that_nobody_declares_is_refused_at_install_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = bb.Compiler().compile(Scaled())
    monkeypatch.setattr(program, "_cache", {})
    monkeypatch.setattr(table, "_declared", {})
    with pytest.raises(errors.InstallError, match=r"nothing on this Node can run ScaleAll of domain 'acme\.ops'"):
        bb.install(peer(0), [], artefact, ["Scaled"])


BAD = [
    ({"domain": "ai.bytesandbrains.mine"}, "domain of your own"),
    ({"domain": ""}, "domain of your own"),
    ({"call": "nowhere"}, "module:function"),
    ({"attributes": (Attribute("values", "int", 1),)}, "two ports"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_bad_declarations_are_refused(change: dict[str, Any], says: str) -> None:
    from dataclasses import replace

    with pytest.raises(errors.InvalidOp, match=says):
        table.check_op(replace(SCALE, **change))
    ops = Ops(owner="acme")
    ops.add(replace(SCALE, **change))
    assert len(ops.specs) == 1


@pytest.mark.usefixtures("_scale")
def test_two_owners_of_one_op_are_both_named() -> None:
    from dataclasses import replace

    with pytest.raises(errors.DuplicateRegistration, match=r"acme 1.0 \(ops\) and other"):
        table.declare_op(replace(SCALE, version=2), "other")


# --- protocols --------------------------------------------------------------------------------------------------------


class Rumours(bb.roles.Protocol):
    """Counts what it hears."""

    protocol: ClassVar[str] = "tests.rumours"

    @bb.roles.op("Hear", outputs="count")
    def hear(self, ctx: bb.Context, rumour: bb.Tensor, *, weight: int = 1) -> bb.Tensor:
        """Take a rumour in, and give how many there are."""
        raise NotImplementedError


@bb.concrete("tests.Village")
class Village(Rumours):
    """A small one."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.heard = 0

    def hear(self, ctx: bb.Context, rumour: bb.Tensor, *, weight: int = 1) -> bb.Tensor:
        self.heard += weight
        return np.asarray(self.heard, np.int64)


@bb.concrete("tests.Deaf")
class Deaf(bb.roles.Protocol):
    """Speaks another protocol."""


class Gossip(bb.Module):
    talk = bb.ProtocolSlot(Rumours)

    def body(self, g: bb.Graph) -> None:
        g.output("count", self.talk.hear(g, g.input("rumour", bb.f32[1]), weight=3))


def test_a_protocols_ops_compile_install_and_run() -> None:
    artefact = bb.Compiler().bind_protocol("talk", Village).compile(Gossip())
    (function,) = artefact.functions
    assert function.node[0].domain == "ai.bytesandbrains.protocol.tests.rumours"
    node = bb.install(peer(0), [], artefact.SerializeToString(), ["Gossip"])
    for _ in range(2):
        node.invoke("Gossip", {"rumour": np.ones(1, np.float32)}, 0)
    assert [int(s.value) for s in node.poll(0).steps if isinstance(s, steps.AppEvent)] == [3, 6]


def test_a_concrete_of_another_protocol_is_refused() -> None:
    with pytest.raises(errors.RoleMismatch, match=r"does not speak the protocol 'tests\.rumours'"):
        bb.Compiler().bind_protocol("talk", Deaf).compile(Gossip())
    with pytest.raises(errors.TypeMismatch, match="declares no protocol"):
        bb.ProtocolSlot(Deaf)
