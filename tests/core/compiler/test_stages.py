"""Stages of users and plugins between the passes, and passes that are left out."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

import bb_core as bb
from bb_core import errors, plugins
from bb_core.compiler.driver import Observation
from bb_core.compiler.passes import PASSES
from bb_core.compiler.state import State
from bb_core.registry import Stages
from tests.core.compiler.passes.programs import ASKING, Asking
from tests.support import AVERAGING, Averaging

NAMES = [p.name for p in PASSES]


def nothing(model: onnx.ModelProto, state: State) -> None:
    """A stage that does nothing."""


def compiler() -> bb.Compiler:
    return bb.Compiler().bind(ASKING)


def seen(made: bb.Compiler) -> list[str]:
    """The passes and stages of a compilation, in order."""
    found: list[str] = []
    made.compile(Asking(), observe=lambda o: found.append(o.name))
    return found


def test_an_observer_sees_the_recording_and_every_pass() -> None:
    shown: list[Observation] = []
    compiler().compile(Asking(), observe=shown.append)
    assert [o.name for o in shown] == ["build", *NAMES]
    assert shown[0].counters["functions"] == 1
    assert shown[-1].counters["functions"] == 2
    assert shown[-1].counters["receivers"] == 2


@pytest.mark.parametrize(
    ("options", "at"),
    [({"after": "validate"}, 4), ({"before": "validate"}, 3), ({}, 6)],
    ids=["after", "before", "default"],
)
def test_a_stage_stands_at_its_anchor(options: dict[str, str], at: int) -> None:
    assert seen(compiler().with_stage(nothing, **options)).index("nothing") == at


def test_stages_at_one_anchor_keep_the_order_in_which_they_were_added() -> None:
    made = compiler()
    for name in ("first", "second", "third"):
        made.with_stage(nothing, after="validate", name=name)
    made.with_stage(nothing, after="second", name="between")
    found = seen(made)
    assert found[found.index("validate") + 1 :][:4] == ["first", "second", "between", "third"]


def test_a_stage_changes_the_program() -> None:
    def double(model: onnx.ModelProto, state: State) -> None:
        for node in model.functions[0].node:
            if node.op_type == "Neg":
                node.op_type = "Identity"

    artefact = compiler().with_stage(double).compile(Asking())
    assert [n.op_type for n in artefact.functions[1].node] == ["Recv", "Identity", "Send"]


def test_a_stage_that_breaks_the_program_is_named() -> None:
    def drop(model: onnx.ModelProto, state: State) -> None:
        del model.functions[0].node[1]

    with pytest.raises(errors.MalformedProgram, match="the stage drop left Asking broken"):
        compiler().with_stage(drop).compile(Asking())


def test_a_stage_reports_errors_and_warnings() -> None:
    def check(model: onnx.ModelProto, state: State) -> None:
        state.warn(errors.UnusedValue("look"))
        state.add(errors.MalformedProgram("no"))

    with pytest.raises(errors.MalformedProgram, match="no"):
        compiler().with_stage(check).compile(Asking())


def _registered(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    stages = Stages(owner="acme 1.0")
    stages.add("acme.nothing", target, after="expand_ops")
    monkeypatch.setattr(plugins.installed_plugins(), "stages", stages)


def test_a_plugins_stage_runs_for_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _registered(monkeypatch, "tests.core.compiler.test_stages:nothing")
    assert "acme.nothing" not in seen(compiler())
    found = seen(compiler().with_stage("acme.nothing"))
    assert found[found.index("expand_ops") + 1] == "acme.nothing"


def test_a_plugins_stage_that_cannot_be_imported_names_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    _registered(monkeypatch, "tests.nowhere:nothing")
    with pytest.raises(errors.PluginLoadError, match=r"acme 1\.0"):
        compiler().with_stage("acme.nothing")


WRONG: list[tuple[str, Callable[[bb.Compiler], object], str]] = [
    ("an unknown stage", lambda c: c.with_stage("acme.fuse"), "no plugin registers"),
    ("an unknown anchor", lambda c: c.with_stage(nothing, after="validat"), "did you mean 'validate'"),
    ("a name that is taken", lambda c: c.with_stage(nothing, name="validate"), "already"),
    ("after the seal", lambda c: c.with_stage(nothing, after=NAMES[-1]), "nothing may follow"),
    ("an unknown pass", lambda c: c.without_stage("dedup"), "no pass or stage"),
    ("the seal", lambda c: c.without_stage(NAMES[-1]), "cannot be left out"),
    ("the check", lambda c: c.without_stage(NAMES[-2]), "cannot be left out"),
]


@pytest.mark.parametrize(("attempt", "says"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_mistakes_with_stages(attempt: Callable[[bb.Compiler], object], says: str) -> None:
    with pytest.raises(errors.UnknownStage, match=says):
        attempt(bb.Compiler())


NOTHING_TO_DO_HERE = {
    "validate",
    "expand_ops",
    "insert_async_deadlines",
    "insert_backoff_gate_rx",
    "insert_backoff_gate_tx",
}


@pytest.mark.parametrize("name", [n for n in NAMES[:16] if n not in NOTHING_TO_DO_HERE])
def test_what_a_pass_would_have_left_is_missed_by_name(name: str) -> None:
    made = bb.Compiler().bind(AVERAGING).without_stage(name)
    with pytest.raises((errors.IncompleteProgram, errors.CompileErrors)) as caught:
        made.compile(Averaging())
    found = caught.value.errors if isinstance(caught.value, errors.CompileErrors) else [caught.value]
    assert any(name in e.fields.get("missing", ()) for e in found), found


class Impatient(Asking):
    """Gathers without a deadline."""

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x), gates=["backoff"])
        g.output("all", g.stack(g.gather(g.reply(self.backend.neg(g, asked), to=asked))))


@pytest.mark.parametrize(
    "name", ["insert_async_deadlines", "expand_ops", "insert_backoff_gate_rx", "insert_backoff_gate_tx"]
)
def test_what_only_some_programs_need_is_missed_there(name: str) -> None:
    with pytest.raises((errors.IncompleteProgram, errors.CompileErrors)) as caught:
        compiler().without_stage(name).compile(Impatient())
    found = caught.value.errors if isinstance(caught.value, errors.CompileErrors) else [caught.value]
    assert any(name in e.fields.get("missing", ()) for e in found), found


def test_an_unknown_op_is_missed_when_nobody_validates() -> None:
    model = Asking().build()
    stack = next(n for n in model.functions[0].node if n.op_type == "Stack")
    stack.op_type = "Stak"
    with pytest.raises(errors.CompileError) as caught:
        compiler().without_stage("validate").compile(model)
    assert "nobody declares the op 'Stak'" in str(caught.value)


def test_a_stage_may_do_the_work_of_a_pass() -> None:
    by_hand = next(p for p in PASSES if p.name == "insert_dedup_gate_rx").run
    made = compiler().without_stage("insert_dedup_gate_rx").with_stage(by_hand, after="analyze_wire_edges", name="mine")
    onnx.checker.check_model(made.compile(Asking()))


def test_each_target_is_a_model_of_its_own_for_inspection() -> None:
    parts = compiler().compile_partitions(Asking())
    assert list(parts) == ["Asking", "Asking@client"]
    for name, part in parts.items():
        onnx.checker.check_model(part)
        assert [f.name for f in part.functions] == [name]
