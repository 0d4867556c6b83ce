"""Sub-modules become part of the root, under the name of their call."""

from __future__ import annotations

import pytest

from bb_core import errors
from tests.core.compiler.passes.programs import Greeting, Twice
from tests.core.compiler.passes.stage import alone, before, run, text
from tests.core.dsl.test_recording import Holding


def test_a_child_that_is_called_twice_is_written_twice() -> None:
    model = alone("inline_for_partition", Twice())
    assert text(model) == {
        "Twice": [
            "child_0/Add_0.out = Add(x, x)",
            "child_1/Add_0.out = Add(x, child_0/Add_0.out)",
            "out = Output(child_1/Add_0.out)",
        ]
    }


def test_bootstraps_are_inlined_beside_the_body() -> None:
    model = alone("inline_for_partition", Holding())
    assert list(text(model)) == ["Holding", "Holding#bootstrap"]
    assert [n.op_type for n in model.functions[1].node] == ["Constant", "Add", "Constant", "Add"]


def test_a_program_without_children_stays_as_it_is() -> None:
    model, state = before("inline_for_partition", Greeting())
    was = model.SerializeToString(deterministic=True)
    run("inline_for_partition", model, state)
    assert model.SerializeToString(deterministic=True) == was
    assert state.counts["calls inlined"] == 0


@pytest.mark.parametrize("change", ["gone", "arity", "ring"])
def test_a_call_that_leads_nowhere_is_refused(change: str) -> None:
    model, state = before("inline_for_partition", Twice())
    if change == "gone":
        del model.functions[1]
    elif change == "arity":
        model.functions[1].input.pop()
    else:
        model.functions[1].node[0].CopyFrom(model.functions[0].node[0])
    run("inline_for_partition", model, state)
    with pytest.raises(errors.CompileError, match="call"):
        state.raise_errors("inline_for_partition")
