"""Our ops as ONNX schemas: what ONNX's own tools then check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bb_core.ir.onnx_schemas import onnx_schema
from bb_core.ops.spec import REQUIRED, OpSpec
from bb_core.ops.table import op_table

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("spec", op_table().values(), ids=lambda s: f"{s.domain.rpartition('.')[2]}.{s.name}")
def test_a_schema_says_what_the_declaration_says(spec: OpSpec) -> None:
    schema = onnx_schema(spec)
    assert (schema.name, schema.domain, schema.since_version) == (spec.name, spec.domain, spec.version)
    names = [i.name for i in schema.inputs]
    assert [n for n in names if n != "rest"] == [p.name for p in spec.inputs if not p.optional]
    assert [o.name for o in schema.outputs] == [p.name for p in spec.outputs]
    required = {a.name for a in spec.attributes if a.default is REQUIRED} | {s.name for s in spec.slots}
    assert {n for n, a in schema.attributes.items() if a.required} == required


PROGRAM = """
import onnx
from bb_core.ir.onnx_schemas import register_ours
from tests.core.dsl.test_recording import Arithmetic, Holding, Parent
from tests.core.compiler.passes import programs as p
from tests.support import AVERAGING, Averaging
import bb_core as bb
register_ours(); register_ours()
for module in (Arithmetic(), Parent(), Holding(), Averaging(), p.Asking(), p.Greeting(), p.Gossip()):
    onnx.checker.check_model(module.build(), full_check=True)
for module, bindings in ((Averaging(), AVERAGING), (p.Asking(), p.ASKING), (p.Greeting(), p.GREETING)):
    onnx.checker.check_model(bb.Compiler().bind(bindings).compile(module), full_check=True)
broken = p.Asking().build()
next(n for n in broken.functions[0].node if n.op_type == "Stack").attribute.add(name="no", type=2)
try:
    onnx.checker.check_model(broken)
except onnx.checker.ValidationError as error:
    assert "no" in str(error)
else:
    raise AssertionError("an unknown attribute passed")
print("fine")
"""


def test_onnx_checks_our_programs_wholly_once_it_knows_our_ops() -> None:
    """In a process of its own: what is registered with onnx stays there."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr[-2000:]
