"""Values as they pass: outputs, constants, copies, casts and composites."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port

_ONE: Final = (Port("value", t.ANY),)
_OUT: Final = (Port("out", t.ANY),)

OUTPUT: Final = OpSpec(
    keys.SYSCALL,
    "Output",
    1,
    _ONE,
    _OUT,
    relations=("same_type",),
    doc="Give a value to the host as an AppEvent.",
)
CONSTANT: Final = OpSpec(
    keys.ONNX, "Constant", 13, outputs=(Port("value", t.TENSOR),), doc="A tensor that stands in the program."
)
SUBGRAPH: Final = OpSpec(
    keys.FRAMEWORK,
    keys.SUBGRAPH,
    1,
    (Port("inputs", t.ANY, optional=True, variadic=True),),
    (Port("outputs", t.ANY, variadic=True),),
    doc="Ops of one Backend slot as a graph, which the Backend runs as a whole; the attribute `body` holds it. "
    "The stage `bytesandbrains.subgraphs` writes it.",
)
GATE: Final = OpSpec(
    keys.SYSCALL,
    "Gate",
    1,
    _ONE,
    _OUT,
    relations=("same_type",),
    record="gate",
    doc="Pass a value on once its control inputs have been written. It carries `after=` onto an ONNX op or a call.",
)
PASS_THROUGH: Final = OpSpec(
    keys.SYSCALL, "PassThrough", 1, _ONE, _OUT, relations=("same_type",), record="pass_through", doc="Pass a value on."
)
TEE: Final = OpSpec(
    keys.SYSCALL,
    "Tee",
    1,
    _ONE,
    (Port("outs", t.ANY, variadic=True),),
    (Attribute("fanout", "int", 2, minimum=1),),
    relations=("same_type",),
    record="tee",
    doc="Pass a value on `fanout` times, under as many names. Values are frozen, so nothing is copied.",
)
CAST: Final = OpSpec(
    keys.SYSCALL,
    "Cast",
    1,
    _ONE,
    _OUT,
    (Attribute("to", "str", REQUIRED),),
    doc="Convert a tensor to other elements, or state the type of a value, which is checked when it runs.",
)
BUNDLE: Final = OpSpec(
    keys.COMPOSITE,
    "Bundle",
    1,
    (Port("parts", t.ANY, variadic=True),),
    (Port("bundle", t.COMPOSITE),),
    doc="Tie several values into one composite.",
)
UNBUNDLE: Final = OpSpec(
    keys.COMPOSITE,
    "Unbundle",
    1,
    (Port("bundle", t.COMPOSITE),),
    (Port("parts", t.ANY, variadic=True),),
    (Attribute("types", "strs", REQUIRED),),
    doc="Take a composite apart: as many parts as `types`, and of those types.",
)
STACK: Final = OpSpec(
    keys.COMPOSITE,
    "Stack",
    1,
    (Port("values", t.COMPOSITE),),
    (Port("tensor", t.TENSOR),),
    doc="Make one tensor of a composite of equally shaped ones, on a new first axis.",
)

STRUCTURE_OPS: Final = (OUTPUT, SUBGRAPH, GATE, PASS_THROUGH, TEE, CAST, BUNDLE, UNBUNDLE, STACK)
