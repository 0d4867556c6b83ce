"""Every value of every function has a type. `test_types.py` shows which."""

from __future__ import annotations

from bb_core.ir.proto import value_types
from tests.core.compiler.passes.programs import ASKING, Asking, Greeting
from tests.core.compiler.passes.stage import alone, before, run


def test_every_value_has_a_type() -> None:
    for module, bindings in ((Asking(), ASKING), (Greeting(), {})):
        model = alone("type_solver", module, bindings)
        for function in model.functions:
            known = value_types(function)
            assert {v for n in function.node for v in n.output} <= set(known)


def test_it_is_idempotent() -> None:
    model, state = before("type_solver", Asking(), ASKING)
    run("type_solver", model, state)
    once = model.SerializeToString(deterministic=True)
    run("type_solver", model, state)
    assert model.SerializeToString(deterministic=True) == once
