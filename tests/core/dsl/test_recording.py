"""What a Module records, and how the recorder refuses what is wrong: always with the author's own line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core import errors
from bb_core.ir.proto import source_of
from tests.support import Averaging


class Arithmetic(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N", 4])
        y = g.input("y", bb.f32["N", 4])
        g.output("z", (x + y) * 2.0 - x)


class Parent(bb.Module):
    backend = bb.BackendSlot()

    def __init__(self) -> None:
        self.first = Arithmetic()
        self.others = [Arithmetic(), Arithmetic()]

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N", 4])
        z = self.first(g, x=x, y=x).z
        for other in self.others:
            z = other(g, x=z, y=x).z
        g.output("z", z)


@pytest.mark.parametrize(("module", "full"), [(Arithmetic(), True), (Parent(), False), (Averaging(), True)], ids=str)
def test_what_is_built_is_checkable_onnx(module: bb.Module, full: bool) -> None:
    onnx.checker.check_model(module.build(), full_check=full)


def test_building_twice_gives_equal_bytes() -> None:
    first, second = (Averaging().build().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_every_node_knows_its_line() -> None:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (function,) = [f for f in Arithmetic().build().functions if f.name == "Arithmetic"]
    for node in function.node:
        file, line = source_of(node).split(" ")[0].rsplit(":", 1)
        assert file.endswith("test_recording.py")
        assert "g.output" in lines[int(line) - 1]


def test_each_instance_of_a_sub_module_has_slots_of_its_own() -> None:
    names = [f.name for f in Parent().build().functions]
    assert names == ["Parent", "Parent.first", "Parent.others_0", "Parent.others_1"]


def record(body: Callable[[bb.Module, bb.Graph], object]) -> None:
    class Probe(bb.Module):
        cohort = bb.PeerSelectorSlot(peer_class="client")
        model = bb.ModelSlot()
        data = bb.DataSourceSlot()
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            body(self, g)

    Probe().build()


def _foreign(m: bb.Module, g: bb.Graph) -> None:
    kept: list[bb.Output] = []

    class Other(bb.Module):
        def body(self, g: bb.Graph) -> None:
            kept.append(g.input("x"))
            g.output("y", kept[0])

    Other().build()
    g.output("y", kept[0])


MISTAKES: list[tuple[str, Callable[..., object], type[errors.AuthoringError], str]] = [
    ("nothing recorded", lambda m, g: g.input("x"), errors.EmptyModule, "g.output"),
    ("an input twice", lambda m, g: (g.input("x"), g.input("x")), errors.DuplicateName, "'x'"),
    ("an output twice", lambda m, g: [g.output("y", g.constant(1.0)) for _ in "ab"], errors.DuplicateName, "'y'"),
    ("a reserved character", lambda m, g: g.input("a.b"), errors.ReservedName, "a.b"),
    ("an empty name", lambda m, g: g.input(""), errors.ReservedName, "cannot name"),
    ("another Graph's value", _foreign, errors.ForeignOutput, "input of this Module"),
    ("a string as a value", lambda m, g: g.output("y", "text"), errors.TypeMismatch, "Output"),
    ("a missing input", lambda m, g: m.model.load_parameters(g), errors.MissingInput, "params"),
    ("an unknown name", lambda m, g: m.model.train_epochs(g, m.data, epoch=5), errors.UnknownPort, "'epochs'"),
    ("too many inputs", lambda m, g: m.model.params(g, 1, 2), errors.UnknownPort, "0 inputs"),
    ("a slot of another Role", lambda m, g: m.model.train_epochs(g, m.model), errors.TypeMismatch, "data_source"),
    ("a float for an int", lambda m, g: m.model.train_epochs(g, m.data, epochs=1.5), errors.TypeMismatch, "epochs"),
    ("send to a tensor", lambda m, g: g.send(g.constant(1.0), to=g.constant(1.0)), errors.TypeMismatch, "peer"),
    ("send nothing", lambda m, g: g.send((), to=g.input("p", bb.types.PEER_LIST)), errors.MissingInput, "nothing"),
    ("look up what is not there", lambda m, g: g.lookup_output("zz"), errors.UnknownPort, "zz"),
    ("a wrong type", lambda m, g: m.model.load_parameters(g, g.input("t", bb.types.TRIGGER)),
     errors.TypeMismatch, "params"),
    ("what is planned", lambda m, g: g.gather(3), errors.NotYetAvailable, "collect with an Aggregator"),
    ("a complex constant", lambda m, g: g.constant(np.zeros(1, complex)), errors.TypeMismatch, "complex"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error", "says"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistakes_are_refused(body: Callable[..., object], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        record(body)
    text = str(caught.value)
    assert says in text
    assert "test_recording.py:" in text or error in (errors.EmptyModule, errors.ReservedName)


def test_a_value_cannot_be_asked_for_its_truth() -> None:
    with pytest.raises(TypeError, match="not known while"):
        record(lambda m, g: bool(g.input("x")))


def test_an_unknown_graph_method_names_what_there_is() -> None:
    with pytest.raises(AttributeError, match="did you mean 'send'"):
        record(lambda m, g: g.sent(1))


def test_an_unknown_slot_method_names_what_there_is() -> None:
    with pytest.raises(AttributeError, match="train_epochs"):
        record(lambda m, g: m.model.train_epoch(g, m.data))


def test_equal_constants_are_one_value() -> None:
    class Constants(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            assert g.constant(1.0) is g.constant(np.float32(1))
            assert g.constant(1.0) is not g.constant(1)
            g.output("y", g.constant(1.0))

    Constants().build()


def test_bootstrap_is_refused_by_name() -> None:
    class Prepared(bb.Module):
        def body(self, g: bb.Graph) -> None:
            g.output("y", g.constant(1.0))

        def bootstrap(self, g: bb.Graph) -> None: ...

    with pytest.raises(errors.NotYetAvailable, match="bootstrap"):
        Prepared().build()
