"""A program that could not run is refused, with what is missing."""

from __future__ import annotations

import pytest

import bb_core as bb
from bb_core import errors, keys
from bb_core.compiler.contracts import CONTRACTS
from bb_core.compiler.passes import PASSES
from bb_core.ir.proto import attribute
from tests.core.compiler.passes.programs import ASKING, GREETING, Asking, Greeting
from tests.core.compiler.passes.stage import alone, before, run


def test_a_whole_program_is_complete() -> None:
    for module, bindings in ((Asking(), ASKING), (Greeting(), GREETING)):
        alone("validate_runtime_complete", module, bindings)


def test_every_pass_before_it_has_a_contract() -> None:
    assert list(CONTRACTS) == [p.name for p in PASSES[:16]]


def test_a_gate_that_is_gone_is_named_with_its_pass() -> None:
    model, state = before("validate_runtime_complete", Asking(), ASKING)
    for function in model.functions:
        for node in function.node:
            for i, a in enumerate(node.attribute):
                if a.name == keys.GATES:
                    del node.attribute[i]
                    break
    run("validate_runtime_complete", model, state)
    missing = {e.fields["missing"][0] for e in state.errors}
    assert missing == {"insert_dedup_gate_rx", "insert_peer_health_gate_rx", "insert_peer_health_gate_tx"}
    assert all("programs.py:" in str(e) for e in state.errors)
    assert attribute(model.functions[0].node[0], keys.GATES) is None


class Idle(bb.Module):
    """An op that nothing starts."""

    data = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("x", g.input("a", bb.f32[1]))
        self.data.next_batch(g)


def test_an_op_that_nothing_starts_is_refused() -> None:
    model, state = before("validate_runtime_complete", Idle(), {}, late=("data",))
    run("validate_runtime_complete", model, state)
    with pytest.raises(errors.UnreachableOp, match="nothing ever starts NextBatch"):
        state.raise_errors("validate_runtime_complete")
