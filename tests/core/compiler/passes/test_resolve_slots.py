"""Every slot gets its Concrete, or is late."""

from __future__ import annotations

import pytest

import bb_core as bb
from bb_core import errors
from tests.core.compiler.passes.programs import ASKING, Asking
from tests.core.compiler.passes.stage import alone, before, run
from tests.support import AVERAGING, Averaging, Everyone, NumpyBackend, Weight


def test_bindings_are_found_by_path() -> None:
    model, state = before("resolve_slots", Averaging(), AVERAGING)
    run("resolve_slots", model, state)
    assert {k: b.concrete for k, b in state.bound.items()} == AVERAGING


def test_only_the_wanted_targets_need_theirs() -> None:
    alone("resolve_slots", Asking(), {"backend": NumpyBackend}, targets=("Asking@client",))
    with pytest.raises(errors.UnboundSlot, match="'cohort'"):
        alone("resolve_slots", Asking(), {"backend": NumpyBackend}, targets=("Asking",))


def test_a_late_slot_is_left_open() -> None:
    model, state = before("resolve_slots", Asking(), {"cohort": Everyone}, late=("backend",))
    run("resolve_slots", model, state)
    state.raise_errors("resolve_slots")
    assert state.bound["backend"].concrete is None


class TwoModels(bb.Module):
    """A teacher and a student; the teacher pins its Concrete."""

    teacher = bb.ModelSlot(default=bb.use(Weight, start=1.0))
    student = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("loaded", self.student.load_parameters(g, self.teacher.params(g, after=go)))


def test_a_pinned_concrete_is_used_and_a_binding_overrides_it() -> None:
    for given, start in (({}, 1.0), ({"teacher": bb.use(Weight, start=2.0)}, 2.0)):
        model, state = before("resolve_slots", TwoModels(), {"student": Weight, **given})
        run("resolve_slots", model, state)
        assert state.bound["teacher"].config.start == start
        assert state.bound["student"].config is None


def test_all_faults_are_reported_together() -> None:
    model, state = before("resolve_slots", Asking(), ASKING)
    state.given = {"cohort": bb.use(Weight), "bakend": bb.use(NumpyBackend)}
    run("resolve_slots", model, state)
    assert [type(e).__name__ for e in state.errors] == ["UnboundSlot", "RoleMismatch", "UnknownSlot"]
