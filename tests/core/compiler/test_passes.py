"""What single passes do, seen in the compiled program."""

from __future__ import annotations

import onnx

import bb_core as bb
from bb_core import keys
from bb_core.ir.proto import attribute, control_inputs
from tests.support import AVERAGING, Averaging, NumpyBackend, Weight


class Twice(bb.Module):
    """Two ops on one stateful slot, with no edge between them."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        y = g.input("y", bb.f32[1])
        g.output("first", self.model.load_parameters(g, x))
        g.output("second", self.model.apply_delta(g, y))


class Inner(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        g.output("y", x + 1.0)


class Outer(bb.Module):
    def __init__(self) -> None:
        self.a = Inner()
        self.b = Inner()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        g.output("z", self.b(g, x=self.a(g, x=x).y).y)


def function(artefact: onnx.ModelProto, name: str) -> onnx.FunctionProto:
    return next(f for f in artefact.functions if f.name == name)


def test_ops_on_one_stateful_slot_keep_their_order() -> None:
    part = function(bb.Compiler().bind({"model": Weight}).compile(Twice()), "Twice")
    load, add = (next(n for n in part.node if n.op_type == t) for t in ("LoadParameters", "ApplyDelta"))
    assert load.output[0] in control_inputs(add)


def test_sub_modules_are_inlined_under_their_path() -> None:
    artefact = bb.Compiler().bind({"a.backend": NumpyBackend, "b.backend": NumpyBackend}).compile(Outer())
    assert [f.name for f in artefact.functions] == ["Outer"]
    assert {n.name.split("/")[0] for n in artefact.functions[0].node if n.op_type == "Add"} == {
        "Inner_0",
        "Inner_1",
    } or {n.name.split("/")[0] for n in artefact.functions[0].node if n.op_type == "Add"} == {"a_0", "b_0"}


def test_a_collection_always_has_a_deadline() -> None:
    part = function(bb.Compiler().bind(AVERAGING).compile(Averaging()), "Averaging")
    collect = next(n for n in part.node if n.op_type == "Collect")
    assert collect.input[3] or attribute(collect, keys.DEADLINE)


def test_every_receiver_is_guarded_against_duplicates() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    gates = [attribute(n, keys.GATES) for f in artefact.functions for n in f.node if n.op_type == "Recv"]
    assert gates
    assert all(keys.GATE_DEDUP in g for g in gates)
