"""What the surface and the compiler must do, point by point; beside each the proof that the test can fail.

Each `..._is_caught` breaks the piece on purpose and expects the test above it to notice.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core import errors, keys
from bb_core.compiler.verify import problems
from bb_core.dsl.graph import Graph
from bb_core.dsl.module import Module
from bb_core.engine import handlers
from bb_core.ir.passport import digest_of
from bb_core.ir.proto import attribute, metadata
from bb_core.steps import AppEvent, SendEnvelope
from bb_core.testing import Loopback
from tests.core.compiler.passes import programs
from tests.support import AVERAGING, Averaging, Everyone, NumpyBackend, Weight, peer

ROOT = Path(__file__).parents[3]
PASS_MODULES = {n: sys.modules[f"bb_core.compiler.passes.{n}"] for n in ("inline_for_partition", "analyze_wire_edges")}


def fails(check: Callable[[], object]) -> bool:
    """Whether a check notices."""
    try:
        check()
    except (AssertionError, errors.BBError, KeyError, ValueError, StopIteration, pytest.fail.Exception):
        return True
    return False


def run(artefact: onnx.ModelProto, inputs: dict[str, Any], targets: tuple[str, ...] | None = None) -> dict[str, Any]:
    """What one Node with all targets gives."""
    names = targets or tuple(dict.fromkeys(f.name.partition("#")[0] for f in artefact.functions))
    node = bb.install(peer(0), [], artefact, list(names))
    node.invoke(artefact.functions[0].name, inputs, 0)
    return {s.port: s.value for s in node.poll(0).steps if isinstance(s, AppEvent)}


X = np.array([1, 2], np.float32)


# 1. A child that is called twice in a row: recorded once, two calls, both results usable.


def called_twice() -> None:
    model = programs.Twice().build()
    assert [f.name for f in model.functions] == ["Twice", "Twice.child"]
    assert len(model.functions[1].node) == 2, "an Add and an Output"
    artefact = bb.Compiler().bind({"child.backend": NumpyBackend}).compile(model)
    np.testing.assert_array_equal(run(artefact, {"x": X})["out"], X + (X + X))


def test_a_child_called_twice_is_recorded_once() -> None:
    called_twice()


def test_a_child_recorded_at_every_call_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bb_core.ir.recorded.Recording.find", lambda self, name: None)
    assert fails(called_twice)


# 2. A child's inputs are bound by name; unknown, missing and repeated ones are refused while recording.


def by_name() -> None:
    class Difference(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            a, b = g.input("a", bb.f32[2]), g.input("b", bb.f32[2])
            g.output("out", a + -b)

    class Outer(bb.Module):
        def __init__(self, swapped: bool) -> None:
            self.child, self.swapped = Difference(), swapped

        def body(self, g: bb.Graph) -> None:
            x, y = g.input("x", bb.f32[2]), g.input("y", bb.f32[2])
            g.output("out", (self.child(g, b=y, a=x) if self.swapped else self.child(g, a=x, b=y)).out)

    for swapped in (False, True):
        artefact = bb.Compiler().bind({"child.backend": NumpyBackend}).compile(Outer(swapped))
        np.testing.assert_array_equal(run(artefact, {"x": X * 3, "y": X})["out"], X * 2)


def test_inputs_are_bound_by_name() -> None:
    by_name()


def test_binding_in_the_order_of_the_call_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_order(self: Module, g: Graph, path: str, function: Any, inputs: dict[str, Any]) -> list[str]:
        return [g.check(v).name for v in inputs.values()]

    monkeypatch.setattr(Module, "_actual", in_order)
    assert fails(by_name)


# 3. Two Sends from, and two Recvs into, one partition: every value name is unique, after every pass.


class TwoEdges(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        peers = self.cohort.sample(g, n=1, after=x)
        for n in range(2):
            g.output(f"y{n}", g.send((x, x), to=peers)[n])


def unique_names() -> None:
    def check(seen: Any) -> None:
        for function in seen.model.functions:
            assert problems(function) == []

    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(TwoEdges(), observe=check)
    sites = [s for f in artefact.functions for n in f.node if n.op_type == "Recv" for s in attribute(n, keys.SITES)]
    assert len(set(sites)) == len(sites) == 4


def test_every_value_has_a_name_of_its_own_after_every_pass() -> None:
    unique_names()


def test_edges_of_one_name_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "edge_name", lambda self, wanted: wanted)
    assert fails(unique_names)


# 4. A bootstrap beside several partitions compiles; one that sends survives; body and bootstrap share slot paths.


def bootstrap_survives() -> None:
    artefact = bb.Compiler().bind(programs.GREETING).compile(programs.Greeting())
    names = [f.name for f in artefact.functions]
    assert names == ["Greeting", "Greeting@client", "Greeting#bootstrap", "Greeting@client#bootstrap"]
    nodes = [bb.install(peer(0), [], artefact, ["Greeting"]), bb.install(peer(1), [], artefact, ["Greeting@client"])]
    nodes[0].add_peer(peer(1), peer_class="client")
    loopback = Loopback(nodes)
    loopback.invoke(peer(0), "Greeting", {"x": X})
    loopback.run_until_quiet()
    assert nodes[1].counters() == {"greeted": 1}
    assert [s.step.port for s in loopback.seen if isinstance(s.step, AppEvent)] == ["there"]


def test_a_bootstrap_sends_and_shares_the_slots() -> None:
    bootstrap_survives()


def test_a_bootstrap_that_is_lost_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PASS_MODULES["inline_for_partition"], "bootstrap_name", lambda name: "lost")
    assert fails(bootstrap_survives)


# 5. Two Concretes of one Role reach their own slots: in body and bootstrap, every partition, every order of targets.


class TeacherAndStudent(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    teacher = bb.ModelSlot()
    student = bb.ModelSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.teacher.load_parameters(g, g.constant(np.full(1, 5, np.float32)))

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        there = g.send(go, to=self.cohort.sample(g, n=1, after=go))
        g.output("here", self.teacher.params(g, after=go))
        g.output("there", self.student.params(g, after=there))


def right_instances(order: tuple[int, ...] = (0, 1)) -> None:
    bindings = {"cohort": Everyone, "teacher": bb.use(Weight, start=1.0), "student": bb.use(Weight, start=2.0)}
    artefact = bb.Compiler().bind(bindings).compile(TeacherAndStudent())
    targets = ["TeacherAndStudent", "TeacherAndStudent@client"]
    both = bb.install(peer(0), [], artefact, [targets[i] for i in order])
    other = bb.install(peer(1), [], artefact, [targets[1]])
    both.add_peer(peer(1), peer_class="client")
    loopback = Loopback([both, other])
    loopback.invoke(peer(0), targets[0], {"go": bb.TRIGGER})
    loopback.run_until_quiet()
    found = {s.step.port: float(s.step.value[0]) for s in loopback.seen if isinstance(s.step, AppEvent)}
    assert found == {"here": 5.0, "there": 2.0}
    if 1 in order:
        assert both.component("student").log == []
    assert other.component("student").log == ["params"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0,)])
def test_two_concretes_of_one_role_are_told_apart(order: tuple[int, ...]) -> None:
    right_instances(order)


def test_slots_that_are_told_by_role_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = handlers._bind_role

    def by_role(engine: Any, component: Any, info: Any) -> Any:
        return bind(engine, next(c for c in engine.components.values() if isinstance(c, type(component))), info)

    monkeypatch.setattr(handlers, "_bind_role", by_role)
    assert fails(right_instances)


# 6. A value really arrives at another Node, which knows only ids; one fill for one sent value.


def arrives() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    first = bb.install(peer(0), [], artefact.SerializeToString(), ["Averaging"])
    second = bb.install(peer(1), [], artefact.SerializeToString(), ["Averaging@client"])
    first.add_peer(peer(1), peer_class="client")
    first.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    (sent,) = [s for s in first.poll(0).steps if isinstance(s, SendEnvelope)]
    from bb_core.wire.codec import decode
    from bb_core.wire.limits import WireLimits

    assert len(decode(sent.data, WireLimits()).fills) == 1
    second.receive(sent.data, 0, source=peer(0))
    (back,) = [s for s in second.poll(0).steps if isinstance(s, SendEnvelope)]
    assert second.component("model").log == ["load 0", "train", "params"]
    first.receive(back.data, 1, source=peer(1))
    assert {s.port for s in first.poll(1).steps if isinstance(s, AppEvent)} == {"training", "params"}


def test_a_value_arrives_where_only_ids_are_known() -> None:
    arrives()


def test_destinations_that_sender_and_receiver_see_differently_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bb_core.engine.sending.site_suffix", lambda site: b"\xa1\x07" + (site ^ 1).to_bytes(8, "big"))
    assert fails(arrives)


# 7. A type mismatch across a Send is refused with both types, and compiles with a Codec: see test_types.py.


def test_a_mismatch_that_nobody_checks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_core.compiler.passes import type_solver  # noqa: F401  # the pass's module is found by name below
    from tests.core.compiler import test_types as types

    solver = sys.modules["bb_core.compiler.passes.type_solver"]
    monkeypatch.setattr(solver, "narrowed", lambda concrete, method, spec: spec)
    assert fails(types.test_a_mismatch_across_a_send_names_both_types_and_both_lines)


# 8. A plugin's op and a Protocol compile, install and run: see tests/core/test_ops.py.


def test_ops_of_plugins_that_are_not_looked_up_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_core.ops import table
    from tests.core import test_ops as ops

    monkeypatch.setattr(table, "protocol_of", lambda domain: None)
    assert fails(ops.test_a_protocols_ops_compile_install_and_run)


# 9. Equal bytes with every hash seed and from every folder; a changed attribute changes the digest.

PRINT_DIGEST = (
    "import hashlib, sys; sys.path.insert(0, {root!r}); import bb_core as bb; from tests.support import *;"
    "from tests.core.compiler.passes.programs import *;"
    "made = [bb.Compiler().bind(b).compile(m) for m, b in ((Averaging(), AVERAGING), (Asking(), ASKING),"
    " (Greeting(), GREETING))];"
    "print(hashlib.sha256(b''.join(m.SerializeToString(deterministic=True) for m in made)).hexdigest())"
)


def digest_in(seed: int, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST.format(root=str(ROOT))],
        cwd=folder,
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def here() -> str:
    pairs = ((Averaging(), AVERAGING), (programs.Asking(), programs.ASKING), (programs.Greeting(), programs.GREETING))
    made = [bb.Compiler().bind(b).compile(m) for m, b in pairs]
    return hashlib.sha256(b"".join(m.SerializeToString(deterministic=True) for m in made)).hexdigest()


@pytest.mark.parametrize("seed", [0, 1, 2, 4711])
def test_equal_bytes_with_any_hash_seed_and_from_any_folder(seed: int, tmp_path: Path) -> None:
    assert digest_in(seed, tmp_path if seed % 2 else ROOT) == here()


@pytest.mark.slow
def test_equal_bytes_in_a_hundred_processes(tmp_path: Path) -> None:
    assert {digest_in(seed, tmp_path if seed % 2 else ROOT) for seed in range(100)} == {here()}


def test_a_changed_attribute_changes_the_digest() -> None:
    digests = {digest_of(bb.Compiler().bind(AVERAGING).compile(Averaging(n))) for n in (2, 3)}
    assert len(digests) == 2


def test_artefacts_that_hold_what_changes_from_run_to_run_are_caught(tmp_path: Path) -> None:
    program = PRINT_DIGEST.replace("print(", "made[0].doc_string = str(hash('a')); print(")
    found = set()
    for seed in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", program.format(root=str(ROOT))],
            cwd=tmp_path,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 2


# 10. Every op that cannot be resolved fails the install, with op, slot and who could provide it.


def unresolved(component: Any = None) -> None:
    artefact = bb.Compiler().compile(programs.Ordered(), late=["model"])
    with pytest.raises(errors.InstallError) as caught:
        bb.install(peer(0), [], artefact, ["Ordered"], {"model": bb.use(Half)})
    assert "does not implement apply_delta" in str(caught.value)
    assert "'model'" in str(caught.value)
    assert "programs.py:" in str(caught.value)


@bb.concrete("tests.Half")
class Half(bb.roles.Model):
    """Loads and gives parameters, and cannot add to them."""

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None: ...

    def params(self, ctx: bb.Context) -> bb.Tensor:
        return np.zeros(1, np.float32)


def test_what_a_late_concrete_lacks_fails_the_install() -> None:
    unresolved()


def test_an_install_that_looks_away_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "implements", lambda concrete, method: True)
    assert fails(unresolved)


# 11. Every error class that DSL input reaches has a test that reaches it: tests/miswired; no class is without a use.
# 12. Every op of every Role is recorded and dispatched from one declaration: tests/core/test_ops.py.


def test_a_method_that_differs_from_its_declaration_is_caught() -> None:
    with pytest.raises(errors.InvalidConcrete, match="declares"):

        @bb.concrete("tests.Differs")
        class Differs(bb.roles.Model):
            def load_parameters(self, ctx: bb.Context, weights: bb.Tensor) -> None: ...  # type: ignore[override]


# Beside the twelve: every artefact is ONNX, whole.


@pytest.mark.parametrize(
    ("module", "bindings"),
    [(Averaging(), AVERAGING), (programs.Asking(), programs.ASKING), (programs.Greeting(), programs.GREETING)],
    ids=lambda x: getattr(x, "name", ""),
)
def test_every_artefact_is_checkable_onnx(module: bb.Module, bindings: dict[str, Any]) -> None:
    artefact = bb.Compiler().bind(bindings).compile(module)
    onnx.checker.check_model(artefact)
    assert artefact.ir_version > 0
    domains = {o.domain for o in artefact.opset_import}
    for function in artefact.functions:
        assert function.domain == keys.MODULE
        assert {n.domain for n in function.node} <= {o.domain for o in function.opset_import} <= domains
        for node in function.node:
            assert not metadata(node).get(keys.SOURCE, "x").startswith("/")
