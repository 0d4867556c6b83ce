"""What a Module records, and how the recorder refuses what is wrong: always with the author's own line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_core import errors, keys
from bb_core.ir.proto import attributes, metadata, reads, source_of
from tests.support import Averaging, Everyone, NumpyBackend


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
        file, line, columns = source_of(node).split(" ")[0].split(":")
        first, last = map(int, columns.split("-"))
        assert file.endswith("test_recording.py")
        assert lines[int(line) - 1][first - 1 : last - 1] in (
            '(x + y) * 2.0 - x', '(x + y) * 2.0', 'x + y', 'g.output("z", (x + y) * 2.0 - x)',
        )  # fmt: skip


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


MISTAKES: list[tuple[str, Callable[..., object], type[Exception], str]] = [
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
    ("gather what is no answer", lambda m, g: g.gather(g.input("x")), errors.MissingInput, "peers=clients"),
    ("reply to nobody", lambda m, g: g.reply(g.constant(1.0), to=g.input("x")), errors.TypeMismatch, "g.send"),
    ("an unknown gate", lambda m, g: g.send(g.constant(1.0), to=g.input("p", bb.types.PEER_LIST), gates=["backof"]),
     errors.UnknownPort, "did you mean 'backoff'"),
    ("two edges of one name", lambda m, g: [g.send(g.constant(1.0), to=m.cohort.current_view(g), name="up")
                                            for _ in "ab"], errors.DuplicateName, "named 'up'"),
    ("an edge called invoke", lambda m, g: g.send(g.constant(1.0), to=g.input("p", bb.types.PEER_LIST), name="invoke"),
     errors.ReservedName, "entry"),
    ("an output called as an input", lambda m, g: g.output("x", g.input("x")), errors.DuplicateName, "'x'"),
    ("begin again on nothing", lambda m, g: g.again("x", g.constant(1.0)), errors.UnknownPort, "begin again"),
    ("begin again with another type", lambda m, g: g.again("x", g.input("x", bb.types.TRIGGER), after=g.again(
        "x", g.constant(1.0))), errors.TypeMismatch, "x: trigger"),
    ("wait for a number", lambda m, g: m.model.params(g, after=3), errors.TypeMismatch, "a int"),
    ("wait for numbers", lambda m, g: m.model.params(g, after=[3]), errors.TypeMismatch, "a int"),
    ("a numpy type", lambda m, g: g.input("x", np.float32), errors.TypeMismatch, "bb.f32"),
    ("fewer than one", lambda m, g: m.cohort.sample(g, n=0), errors.IllegalValue, "at least 1"),
    ("epochs below one", lambda m, g: m.model.train_epochs(g, m.data, epochs=-1), errors.IllegalValue, "at least 1"),
    ("a place with an at sign", lambda m, g: g.place(on="a@b").__enter__(), errors.ReservedName, "a@b"),
    ("index with text", lambda m, g: g.input("x", bb.f32["N"])["a"], errors.TypeMismatch, "cannot be an index"),
    ("a step of zero", lambda m, g: g.input("x", bb.f32["N"])[::0], errors.TypeMismatch, "step 0"),
    ("two ellipses", lambda m, g: g.input("x", bb.f32["N"])[..., ...], errors.TypeMismatch, "one `...`"),
    ("a role op in a branch", lambda m, g: m.backend.if_(
        g, g.constant(True), then_branch=lambda: m.model.params(g), else_branch=lambda: g.constant(1.0)),
     errors.IllegalInBranch, "outside"),
    ("branches that differ", lambda m, g: m.backend.if_(
        g, g.constant(True), then_branch=lambda: (g.constant(1.0), g.constant(1.0)),
        else_branch=lambda: g.constant(1.0)), errors.TypeMismatch, "2 and 1"),
    ("bundle nothing", lambda m, g: g.bundle(), errors.MissingInput, "nothing to bundle"),
    ("unbundle into nothing", lambda m, g: g.unbundle(g.bundle(g.constant(1.0))), errors.MissingInput, "how many"),
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


def test_a_value_cannot_be_unpacked() -> None:
    with pytest.raises(TypeError, match="cannot be unpacked"):
        record(lambda m, g: list(g.input("x")))


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


# --- operators --------------------------------------------------------------------------------------------------------


def recorded(body: Callable[[bb.Module, bb.Graph], object]) -> onnx.FunctionProto:
    """The ops of a program with one Backend slot."""

    class Probe(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            body(self, g)

    model = Probe().build()
    onnx.checker.check_model(model)
    return model.functions[0]


def evaluated(body: Callable[[bb.Output], bb.Output], x: np.ndarray) -> np.ndarray:
    """What a program of standard ops gives, by ONNX's own reference."""
    function = recorded(lambda m, g: g.output("y", body(g.input("x", bb.f32[x.shape]))))
    nodes = [n for n in function.node if n.domain == ""]
    (last,) = [n.input[0] for n in function.node if n.op_type == "Output"]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, x.shape)],
        [onnx.helper.make_empty_tensor_value_info(last)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    (found,) = ReferenceEvaluator(model).run(None, {"x": x})
    return np.asarray(found)


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 5
OPERATORS: dict[str, Callable[[object], object]] = {
    "add": lambda x: x + 1,
    "radd": lambda x: 1 + x,
    "rsub": lambda x: 2.5 - x,
    "rtruediv": lambda x: 1 / (x + 100),
    "pow": lambda x: x**2,
    "neg abs": lambda x: abs(-x),
    "matmul": lambda x: x @ np.ones((4, 2), np.float32),
    "less": lambda x: x < 3,
    "greater or equal": lambda x: x >= 3,
    "first": lambda x: x[0],
    "last of last": lambda x: x[..., -1],
    "two of three": lambda x: x[1, 2],
    "first and last": lambda x: x[0, ..., 1],
    "slice": lambda x: x[:, 1:3],
    "steps": lambda x: x[:, ::-1, ::2],
    "slice and index": lambda x: x[1, 1:, -2],
    "all three": lambda x: x[0, 1, 2],
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_operators_mean_what_numpy_means(operator: Callable[[object], object]) -> None:
    np.testing.assert_array_equal(evaluated(operator, X), operator(X))


def test_a_number_takes_the_elements_of_what_it_is_used_with() -> None:
    function = recorded(lambda m, g: g.output("y", g.input("x", bb.f64["N"]) * 2 + 0.5))
    constants = [onnx.numpy_helper.to_array(n.attribute[0].t) for n in function.node if n.op_type == "Constant"]
    assert [c.dtype for c in constants] == [np.float64, np.float64]


def test_branches_capture_what_is_around_them() -> None:
    def body(m: bb.Module, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        y = m.backend.if_(g, x[0] > 0, then_branch=lambda: x + x, else_branch=lambda: x)
        g.output("y", y)

    function = recorded(body)
    (branch,) = [n for n in function.node if n.op_type == "If"]
    assert reads(branch) == [branch.input[0], "x"]


def test_a_loop_gives_its_state_and_its_scans() -> None:
    def body(m: bb.Module, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])

        def step(i: bb.Output, going: bb.Output, total: bb.Output) -> tuple[bb.Output, ...]:
            total = total + x
            return going, total, total

        total, history = m.backend.loop(g, 3, True, x, body=step)
        g.output("total", total)
        g.output("history", history)

    function = recorded(body)
    (loop,) = [n for n in function.node if n.op_type == "Loop"]
    assert len(loop.output) == 2


# --- peers ------------------------------------------------------------------------------------------------------------


class Asking(bb.Module):
    """Asks its clients for a number and gathers the answers."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        asked = g.send(start, to=self.cohort.sample(g, n=3, after=start))
        answer = g.reply(self.model.params(g, after=asked), to=asked)
        numbers = g.gather(answer, deadline="10s", minimum=2)
        g.output("numbers", g.stack(numbers))
        g.output("who", numbers.senders)


def test_a_gather_finds_who_was_asked() -> None:
    (function,) = Asking().build().functions
    gather = next(n for n in function.node if n.op_type == "Gather")
    sample = next(n for n in function.node if n.op_type == "Sample")
    first, second = (n for n in function.node if n.op_type == "Send")
    assert list(gather.input) == [sample.output[0], first.output[0], second.output[2]]
    assert attributes(gather) == {"n": 0, "minimum": 2, "deadline": 10 * 10**9}


class Crowded(bb.Module):
    """Sends whose names press on one another."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x, other = g.input("x", bb.f32[1]), g.input("x_2", bb.f32[1])
        peers = self.cohort.sample(g, n=1, after=x)
        for n, values in enumerate([(x, other), (x, other), (other,), (x,)]):
            received = g.send(values, to=peers)
            g.output(f"y{n}", received[-1])


def test_edges_and_ports_never_share_a_name() -> None:
    (function,) = Crowded().build().functions
    sends = [attributes(n) for n in function.node if n.op_type == "Send"]
    assert [s[keys.EDGE] for s in sends] == ["x", "x_2", "x_2_2", "x_3"]
    ports = [p for s in sends for p in s[keys.PORTS]]
    assert len(set(ports)) == len(ports)
    bb.Compiler().bind({"cohort": Everyone}).compile(Crowded())


# --- sub-modules ------------------------------------------------------------------------------------------------------


class Sum(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("z", g.input("x", bb.f32[2]) + g.input("y", bb.f32[2]))


class Sums(bb.Module):
    def __init__(self) -> None:
        self.child = Sum()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        g.output("z", self.child(g, x=self.child(g, x=x, y=x).z, y=x).z)


class Twice(bb.Module):
    """Calls one child twice."""

    def __init__(self) -> None:
        self.child = Arithmetic()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N", 4])
        once = self.child(g, y=x, x=x)
        g.output("z", self.child(g, x=once.z, y=x).z)


def test_a_child_that_is_called_twice_has_one_body_and_two_calls() -> None:
    model = Twice().build()
    assert [f.name for f in model.functions] == ["Twice", "Twice.child"]
    assert [n.op_type for n in model.functions[0].node] == ["Twice.child", "Twice.child", "Output"]
    artefact = bb.Compiler().bind({"child.backend": NumpyBackend}).compile(Sums())
    assert [n.op_type for n in artefact.functions[0].node] == ["Add", "Add", "Output"]


def test_the_order_of_keywords_does_not_matter() -> None:
    class Swapped(Twice):
        name = "Twice"  # type: ignore[assignment]

        def body(self, g: bb.Graph) -> None:
            x = g.input("x", bb.f32["N", 4])
            once = self.child(g, x=x, y=x)
            g.output("z", self.child(g, y=x, x=once.z).z)

    def bare(model: onnx.ModelProto) -> list[tuple[str, ...]]:
        return [(n.op_type, *n.input, *n.output) for f in model.functions for n in f.node]

    assert bare(Swapped().build()) == bare(Twice().build())


CALLS: list[tuple[str, Callable[[Arithmetic, bb.Graph, bb.Output], object], type[Exception], str]] = [
    ("a missing input", lambda c, g, x: c(g, x=x), errors.MissingInput, "'y'"),
    ("an unknown input", lambda c, g, x: c(g, x=x, y=x, z=x), errors.UnknownPort, "known: x, y"),
    ("a wrong type", lambda c, g, x: c(g, x=x, y=g.input("t", bb.types.TRIGGER)), errors.TypeMismatch, "y: f32"),
    ("an unknown output", lambda c, g, x: c(g, x=x, y=x).w, errors.UnknownPort, "known: z"),
    ("a child that is not held", lambda c, g, x: Arithmetic()(g, x=x, y=x), errors.AuthoringError, "attribute"),
]


@pytest.mark.parametrize(("call", "error", "says"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_calls_are_checked_by_name(call: Callable[..., object], error: type[Exception], says: str) -> None:
    class Holder(bb.Module):
        def __init__(self) -> None:
            self.child = Arithmetic()

        def body(self, g: bb.Graph) -> None:
            call(self.child, g, g.input("x", bb.f32["N", 4]))

    with pytest.raises(error, match=says):
        Holder().build()


def test_a_module_that_calls_itself_is_refused() -> None:
    class Ring(bb.Module):
        def __init__(self) -> None:
            self.child: bb.Module = self

        def body(self, g: bb.Graph) -> None:
            g.output("y", self.child(g, x=g.input("x")).y)

    class Held(bb.Module):
        def __init__(self) -> None:
            self.inner = Ring()

        def body(self, g: bb.Graph) -> None:
            g.output("y", self.inner(g, x=g.input("x")).y)

    for module in (Ring(), Held()):
        with pytest.raises(errors.AuthoringError):
            module.build()


# --- bootstrap --------------------------------------------------------------------------------------------------------


class Filled(bb.Module):
    """Adds vectors to an Index once, then searches."""

    index = bb.IndexSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.index.add(g, g.constant(np.eye(2, dtype=np.float32)))

    def body(self, g: bb.Graph) -> None:
        ids, _ = self.index.search(g, g.input("query", bb.f32[1, 2]), k=1)
        g.output("ids", ids)


class Holding(bb.Module):
    """Holds one that has a bootstrap."""

    def __init__(self) -> None:
        self.parts = {"left": Filled(), "right": Filled()}

    def body(self, g: bb.Graph) -> None:
        query = g.input("query", bb.f32[1, 2])
        for side in ("right", "left"):
            g.output(side, self.parts[side](g, query=query).ids)


def test_a_bootstrap_stands_beside_the_body_in_one_namespace_of_slots() -> None:
    model = Filled().build()
    onnx.checker.check_model(model, full_check=True)
    assert [f.name for f in model.functions] == ["Filled", "Filled#bootstrap"]
    assert {metadata(n)[keys.SLOT] for f in model.functions for n in f.node if n.op_type in ("Add", "Search")} == {
        "index"
    }


def test_children_bootstrap_in_the_order_of_their_first_call() -> None:
    model = Holding().build()
    onnx.checker.check_model(model)
    root = next(f for f in model.functions if f.name == "Holding#bootstrap")
    calls = [n.op_type for n in root.node if n.domain == keys.MODULE]
    assert calls == ["Holding.parts_right#bootstrap", "Holding.parts_left#bootstrap"]


def test_a_bootstrap_that_leaves_a_child_out_is_warned_of() -> None:
    class Forgetful(Holding):
        def bootstrap(self, g: bb.Graph) -> None:
            self.parts["left"](g)

    with pytest.warns(errors.UncalledBootstrap, match="parts_right"):
        Forgetful().build()


# --- built programs as Modules ----------------------------------------------------------------------------------------


def test_a_built_program_is_a_module_again() -> None:
    built = Holding().build()
    assert bb.Module.from_proto(built.SerializeToString()).build() == built


def test_a_built_program_can_be_called() -> None:
    class Around(bb.Module):
        def __init__(self, inner: bb.Module) -> None:
            self.inner = inner

        def body(self, g: bb.Graph) -> None:
            g.output("ids", self.inner(g, query=g.input("query", bb.f32[1, 2])).right)

    direct = Around(Holding()).build()
    composed = Around(bb.Module.from_proto(Holding().build())).build()

    def bare(model: onnx.ModelProto) -> object:
        return sorted((f.name, [(n.op_type, *n.input, *n.output) for n in f.node]) for f in model.functions)

    assert bare(composed) == bare(direct)
    assert metadata(composed) == metadata(direct)


@pytest.mark.parametrize(
    "model",
    [onnx.ModelProto(), onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))],
    ids=["empty", "plain"],
)
def test_what_was_not_built_here_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(errors.AuthoringError, match="no built Module"):
        bb.Module.from_proto(model)


@pytest.mark.parametrize("junk", [b"junk", None, 3])
def test_what_is_no_model_is_refused(junk: object) -> None:
    with pytest.raises(errors.AuthoringError, match="is no model"):
        bb.Module.from_proto(junk)  # type: ignore[arg-type]
