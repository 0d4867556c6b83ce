"""Every Send gets the time within which it must be handed over."""

from __future__ import annotations

from bb_core import keys
from bb_core.ir.proto import attribute, set_attribute
from tests.core.compiler.passes.programs import Asking, Greeting
from tests.core.compiler.passes.stage import alone, before, run


def test_sends_of_bodies_and_bootstraps_get_the_budget() -> None:
    for module, count in ((Asking(), 2), (Greeting(), 2)):
        model = alone("derive_wire_deadlines", module, per_hop_budget_ns=7)
        sends = [n for f in model.functions for n in f.node if n.op_type == "Send"]
        assert [attribute(n, keys.DELIVERY) for n in sends] == [7] * count


def test_one_that_is_written_stays() -> None:
    model, state = before("derive_wire_deadlines", Asking())
    send = next(n for n in model.functions[0].node if n.op_type == "Send")
    set_attribute(send, keys.DELIVERY, 5)
    run("derive_wire_deadlines", model, state)
    assert attribute(send, keys.DELIVERY) == 5
