"""One declaration per op: what is recorded, what a Concrete is called with, and what comes out agree, for every op."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors, keys, steps
from bb_core import types as t
from bb_core.engine import program
from bb_core.engine.handlers import _WIRE
from bb_core.engine.syscalls import BODIES
from bb_core.ops import Attribute, OpSpec, Port, table
from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.registry import Ops
from bb_core.roles import ROLES
from bb_core.roles.contract import Role, specs_of
from bb_core.types import Type
from bb_core.values import Composite, PeerList, Record, RequestId
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
}
ATTRIBUTES: dict[str, Any] = {"int": 2, "float": 0.5, "str": "eval", "bool": True, "ints": (1, 2), "strs": ("a", "b")}
SLOTS = {role.role: getattr(bb, f"{role.__name__}Slot") for role in ROLES.values()}
CASES = [(role, name, spec) for role in ROLES.values() for name, spec in specs_of(role).items()]


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


def test_every_op_of_the_framework_has_a_body_or_is_expanded() -> None:
    for spec in FRAMEWORK_OPS:
        runs = spec.key in BODIES or (spec.domain == keys.WIRE and spec.name in _WIRE) or spec.expanded_by
        assert runs, spec.name


def test_every_recorder_is_made_from_a_declaration() -> None:
    flat = {spec.record for spec in FRAMEWORK_OPS if spec.record}
    assert len(flat) >= 30
    for name in flat:
        function: Any = bb.syscalls
        for part in name.split("."):
            function = getattr(function, part)
        assert function.__doc__


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
