"""What the type solver works out, what it refuses, and the lattice that it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bb_core as bb
from bb_core import errors
from bb_core import types as t
from bb_core.compiler.relations import Conflict, relation
from bb_core.ir.proto import value_types
from bb_core.types import Type, join, meet
from tests.support import Everyone, NumpyBackend

SPARSE = t.declare("tests.sparse")
RAGGED = t.declare("tests.ragged", parent=SPARSE)
NAMED = [t.ANY, t.TRIGGER, t.RECORD, t.TENSOR, t.COMPOSITE, SPARSE, RAGGED, t.f32, t.f64, t.i64]
DIMS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from("NM"))
TYPES = st.one_of(
    st.sampled_from(NAMED),
    st.builds(lambda base, dims: base[tuple(dims)], st.sampled_from([t.f32, t.f64, t.i64]), st.lists(DIMS, max_size=3)),
)


@given(TYPES)
def test_meet_and_join_keep_what_is_equal(a: Type) -> None:
    assert meet(a, a) == a == join(a, a)
    assert meet(a, t.ANY) == a
    assert join(a, t.ANY) == t.ANY


@given(TYPES, TYPES)
def test_meet_and_join_are_symmetric(a: Type, b: Type) -> None:
    assert meet(a, b) == meet(b, a)
    assert join(a, b) == join(b, a)
    assert a.accepts(b) == b.accepts(a)


@given(TYPES, TYPES, TYPES)
def test_meet_is_associative(a: Type, b: Type, c: Type) -> None:
    def both(x: Type | None, y: Type | None) -> Type | None:
        return None if x is None or y is None else meet(x, y)

    assert both(both(a, b), c) == both(a, both(b, c))


@given(TYPES, TYPES)
def test_a_meet_is_below_both(a: Type, b: Type) -> None:
    found = meet(a, b)
    if found is not None:
        assert meet(found, a) == found == meet(found, b)


def test_declared_types_stand_under_their_parents() -> None:
    assert SPARSE.accepts(RAGGED)
    assert not SPARSE.accepts(t.RECORD)
    assert meet(SPARSE, RAGGED) == RAGGED
    assert t.declare("tests.sparse") == SPARSE, "the same again is no error"


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("sparse", {}, errors.UsageError),
        ("bb.sparse", {}, errors.UsageError),
        ("tests.other", {"parent": Type("tests.unknown")}, errors.UsageError),
        ("tests.other", {"parent": t.f32}, errors.UsageError),
        ("tests.sparse", {"parent": t.RECORD}, errors.DuplicateRegistration),
    ],
)
def test_illegal_declarations_are_refused(name: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        t.declare(name, **options)


@pytest.mark.parametrize("make", [lambda: t.f32[-1], lambda: t.f32[1.5], lambda: t.f32[""], lambda: t.RECORD[2]])
def test_illegal_shapes_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(errors.UsageError, match="is no type"):
        make()


@pytest.mark.parametrize(
    ("name", "ins", "outs", "gives"),
    [
        ("same_type", [t.ANY], [t.f32["N"]], ([t.f32["N"]], [t.f32["N"]])),
        ("same_elem", [t.TENSOR, t.f64], [t.TENSOR], ([t.f64, t.f64], [t.f64])),
        ("elementwise", [t.f32["N", 4]], [t.TENSOR], ([t.f32["N", 4]], [t.f32["N", 4]])),
        ("broadcast", [t.f32["N", 4], t.f32[1, 4]], [t.TENSOR], ([t.f32["N", 4], t.f32[1, 4]], [t.f32["N", 4]])),
        ("broadcast", [t.f32[3, 1], t.f32[4]], [t.TENSOR], ([t.f32[3, 1], t.f32[4]], [t.f32[3, 4]])),
        ("broadcast", [t.f32[3], t.f32[4]], [t.TENSOR], None),
        ("broadcast", [t.f32[3], t.f64[3]], [t.TENSOR], None),
        ("matmul", [t.f32["N", 4], t.f32[4, 2]], [t.TENSOR], ([t.f32["N", 4], t.f32[4, 2]], [t.f32["N", 2]])),
        ("matmul", [t.f32["N", 4], t.f32[5, 2]], [t.TENSOR], None),
        ("reduce", [t.f32["N"]], [t.TENSOR], ([t.f32["N"]], [t.f32])),
    ],
)
def test_relations(name: str, ins: list[Type], outs: list[Type], gives: Any) -> None:
    rule = relation(name)
    assert rule is not None
    if gives is None:
        with pytest.raises(Conflict):
            rule(ins, outs)
    else:
        assert rule(ins, outs) == gives


def test_a_relation_of_ones_own_is_found_by_its_place() -> None:
    assert relation("bb_core.compiler.relations:matmul") is relation("matmul")
    assert relation("bb_core.compiler.relations:nothing") is None
    assert relation("nobodys.module:rule") is None


# --- programs ---------------------------------------------------------------------------------------------------------


@bb.concrete("tests.F32Model")
class F32Model(bb.roles.Model):
    """Takes and gives f32."""

    def params(self, ctx: bb.Context) -> Annotated[bb.Tensor, bb.f32["D"]]:
        return np.zeros(1, np.float32)

    def load_parameters(self, ctx: bb.Context, params: Annotated[bb.Tensor, bb.f32["D"]]) -> None: ...


@bb.concrete("tests.F64Model")
class F64Model(bb.roles.Model):
    """Takes and gives f64."""

    def params(self, ctx: bb.Context) -> Annotated[bb.Tensor, bb.f64["D"]]:
        return np.zeros(1, np.float64)

    def load_parameters(self, ctx: bb.Context, params: Annotated[bb.Tensor, bb.f64["D"]]) -> None: ...


@bb.concrete("tests.AnyModel")
class AnyModel(bb.roles.Model):
    """Takes and gives any elements: the Role's own annotations."""

    def params(self, ctx: bb.Context) -> bb.Tensor:
        return np.zeros(1, np.float32)

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None: ...


@bb.concrete("tests.Halving")
class Halving(bb.roles.Codec):
    """Sends f64 as f32."""

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[Any, bb.Record]:
        return value.astype(np.float32), bb.Record(bytes_in=8, bytes_out=4, distortion=0.0)

    def decode(self, ctx: bb.Context, encoded: Any) -> bb.Tensor:
        return np.asarray(encoded)


class Push(bb.Module):
    """Sends one Model's parameters to another, through a Codec or not."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    mine = bb.ModelSlot()
    theirs = bb.ModelSlot()
    codec = bb.CodecSlot()
    decoder = bb.CodecSlot()

    def __init__(self, coded: bool = False) -> None:
        self.coded = coded

    def body(self, g: bb.Graph) -> None:
        start = g.input("go", bb.types.TRIGGER)
        value = self.mine.params(g, after=start)
        if self.coded:
            value, _ = self.codec.encode(g, value)
        received = g.send(value, to=self.cohort.sample(g, n=1, after=start))
        if self.coded:
            received = self.decoder.decode(g, received)
        self.theirs.load_parameters(g, received)


def push(mine: type, theirs: type, coded: bool = False) -> onnx.ModelProto:
    bindings: dict[str, Any] = {"cohort": Everyone, "mine": mine, "theirs": theirs}
    if coded:
        bindings |= {"codec": Halving, "decoder": Halving}
    return bb.Compiler().bind(bindings).compile(Push(coded))


def test_a_mismatch_across_a_send_names_both_types_and_both_lines() -> None:
    with pytest.raises(errors.EdgeTypeMismatch) as caught:
        push(F32Model, F64Model)
    text = str(caught.value)
    assert "f64[D]" in text
    assert "f32[D]" in text
    assert "Codec" in text
    assert text.count("test_types.py:") >= 2


@pytest.mark.parametrize(("mine", "theirs"), [(F64Model, F64Model), (AnyModel, AnyModel), (F32Model, AnyModel)])
def test_what_fits_compiles_strictly(mine: type, theirs: type) -> None:
    onnx.checker.check_model(push(mine, theirs), full_check=True)


def test_a_codec_between_two_types_compiles() -> None:
    push(F64Model, F32Model, coded=True)


def solved(body: Callable[[bb.Module, bb.Graph], object]) -> dict[str, str]:
    """The types of a program's outputs."""

    class Probe(bb.Module):
        backend = bb.BackendSlot()
        cohort = bb.PeerSelectorSlot(peer_class="client")

        def body(self, g: bb.Graph) -> None:
            body(self, g)

    class Whole(NumpyBackend):
        ops = frozenset({"Add", "MatMul", "Neg", "Mul", "Reshape", "Less", "If", "Gather", "Identity"})

    bb.concrete("tests.Whole")(Whole)
    model = Probe().build()
    used = {p.value for f in model.functions for n in f.node for p in n.metadata_props}
    bindings = {"backend": Whole, "cohort": Everyone}
    artefact = bb.Compiler().bind({k: v for k, v in bindings.items() if k in used}).compile(model)
    return {v: str(value_types(f)[v]) for f in artefact.functions for v in f.output}


SHAPE = np.array([2, 3])
SOLVED: list[tuple[str, Callable[[Any, bb.Graph], object], dict[str, str]]] = [
    ("matmul", lambda m, g: g.output("y", g.input("x", bb.f32["N", 4]) @ g.input("w", bb.f32[4, 2])),
     {"y": "f32[N, 2]"}),
    ("from the other operand", lambda m, g: g.output("y", g.input("x") + g.input("w", bb.f64[3])), {"y": "f64"}),
    ("a comparison", lambda m, g: g.output("y", g.input("x", bb.f32["N"]) < 2), {"y": "bool[N]"}),
    ("a constant shape", lambda m, g: g.output("y", m.backend.reshape(g, g.input("x", bb.f32[6]), SHAPE)),
     {"y": "f32[2, 3]"}),
    ("through a send", lambda m, g: g.output("y", g.send(
        g.input("x", bb.f32["N"]), to=m.cohort.sample(g, n=1, after=g.input("go", bb.types.TRIGGER)))),
     {"y": "f32[N]"}),
    ("a cast", lambda m, g: g.output("y", g.cast(g.input("x", bb.f32["N"]), bb.i64)), {"y": "i64[N]"}),
    ("an unbundled part", lambda m, g: g.output("y", g.unbundle(g.input("b", bb.types.COMPOSITE), bb.f64)[0]),
     {"y": "f64"}),
    ("a syscall", lambda m, g: g.output("y", bb.syscalls.clock(g, g.input("go", bb.types.TRIGGER))), {"y": "i64[]"}),
    ("branches", lambda m, g: g.output("y", m.backend.if_(
        g, g.input("c", bb.bool_[()]), then_branch=lambda: g.constant(1.0), else_branch=lambda: g.constant(2.0))),
     {"y": "f32[]"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "gives"), [s[1:] for s in SOLVED], ids=[s[0] for s in SOLVED])
def test_what_is_inferred(body: Callable[[Any, bb.Graph], object], gives: dict[str, str]) -> None:
    assert solved(body) == gives


REFUSED: list[tuple[str, Callable[[Any, bb.Graph], object], type[Exception], str]] = [
    ("two elements", lambda m, g: g.output("y", g.input("x", bb.f32[2]) + g.input("w", bb.f64[2])),
     errors.TypeSolveError, "mixes elements of f32 and f64"),
    ("two sizes", lambda m, g: g.output("y", g.input("x", bb.f32[2]) + g.input("w", bb.f32[3])),
     errors.TypeSolveError, "Incompatible dimensions"),
    ("a record to an op", lambda m, g: g.output("y", m.backend.neg(g, g.input("r", bb.types.RECORD))),
     errors.TypeSolveError, "of type record"),
    ("an untyped send", lambda m, g: g.output("y", g.send(g.input("x"), to=g.input("p", bb.types.PEER_LIST))),
     errors.UnresolvedType, "g.input"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error", "says"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_refused(body: Callable[[Any, bb.Graph], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        solved(body)
    assert "test_types.py:" in str(caught.value)


def test_permissive_types_make_a_warning_of_it() -> None:
    class Untyped(bb.Module):
        def body(self, g: bb.Graph) -> None:
            g.output("y", g.send(g.input("x"), to=g.input("p", bb.types.PEER_LIST)))

    compiler = bb.Compiler().with_permissive_types()
    with pytest.warns(errors.UntypedValue):
        compiler.compile(Untyped())
    assert [type(w) for w in compiler.warnings] == [errors.UntypedValue]


@given(st.permutations(range(6)))
def test_the_order_of_nodes_does_not_matter(order: list[int]) -> None:
    """Six independent chains; the solver's queue begins in the order of the nodes."""

    class Chains(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            known = g.input("known", bb.f64[3])
            for i in order:
                x = g.input(f"x{i}")
                g.output(f"y{i}", -(x + known) if i % 2 else known + x)

    artefact = bb.Compiler().bind({"backend": NumpyBackend}).compile(Chains())
    (function,) = artefact.functions
    types = value_types(function)
    assert {str(types[v].bare) for v in (*function.output, *function.input)} == {"f64"}


@dataclass
class Sparse:
    """A value of a third party."""

    rows: int


def test_a_third_partys_value_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_core.registry import Types
    from bb_core.wire import wire_types
    from bb_core.wire.payloads import decode_value, encode_value

    for known in ("_BY_HASH", "_WRITERS"):
        monkeypatch.setattr(wire_types, known, dict(getattr(wire_types, known)))
    types = Types(owner="test")
    types.declare(
        "tests.crossing", python_class=Sparse, encode=lambda v: bytes([v.rows]), decode=lambda p: Sparse(p[0])
    )
    types.apply()
    kind, payload, _ = encode_value(Sparse(7))
    assert decode_value(kind, memoryview(b"".join(payload) if isinstance(payload, tuple) else payload)) == Sparse(7)
    assert t.python_class(Type("tests.crossing")) is Sparse
    with pytest.raises(errors.InvalidConcrete, match="half"):
        types.declare("tests.half", encode=lambda v: b"")
