"""Every op is checked against its declaration, and the dataflow as a whole."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from bb_core import errors
from bb_core.ir.proto import set_attribute
from tests.core.compiler.passes.programs import Asking, Greeting, Twice
from tests.core.compiler.passes.stage import alone, before, run


@pytest.mark.parametrize("module", [Asking(), Greeting(), Twice()], ids=lambda m: m.name)
def test_what_was_recorded_is_valid(module: object) -> None:
    alone("validate", module)  # type: ignore[arg-type]


def _node(f: onnx.FunctionProto, op: str) -> onnx.NodeProto:
    return next(n for n in f.node if n.op_type == op)


BREAKS: list[tuple[str, Callable[[onnx.FunctionProto], object], type[Exception], str]] = [
    ("an unknown op of ours", lambda f: setattr(_node(f, "Sample"), "op_type", "Sampel"), errors.UnknownOp, "Sample"),
    ("an unknown ONNX op", lambda f: setattr(_node(f, "Neg"), "op_type", "Negg"), errors.UnknownOp, "Negg"),
    ("an unknown domain", lambda f: setattr(_node(f, "Sample"), "domain", "acme"), errors.UnknownOp, "plugin"),
    ("a missing input", lambda f: _node(f, "Stack").input.pop(), errors.MalformedProgram, "lacks the input 'values'"),
    ("too many inputs", lambda f: _node(f, "Stack").input.append("x"), errors.MalformedProgram, "2 inputs"),
    ("an unknown attribute", lambda f: set_attribute(_node(f, "Sample"), "m", 1), errors.MalformedProgram, "'m'"),
    ("a missing attribute", lambda f: _node(f, "Send").attribute.pop(0), errors.MalformedProgram, "lacks"),
    ("a value from nowhere", lambda f: _node(f, "Neg").input.__setitem__(0, "no"), errors.MalformedProgram, "'no'"),
    ("a value twice", lambda f: _node(f, "Neg").output.__setitem__(0, "x"), errors.MalformedProgram, "twice"),
]


@pytest.mark.parametrize(("change", "error", "says"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
def test_what_is_broken_is_named_with_its_line(
    change: Callable[[onnx.FunctionProto], object], error: type[Exception], says: str
) -> None:
    model, state = before("validate", Asking())
    change(model.functions[0])
    run("validate", model, state)
    assert any(isinstance(e, error) and says in str(e) and "programs.py:" in str(e) for e in state.errors), state.errors
