"""Our ops as ONNX schemas, made from their declarations, so that ONNX's own tools know them.

Nothing here is needed to compile or to run. With `register_ours`, `onnx.checker` checks the arity and attributes of our
ops too, and shape inference passes through those whose output is their input (Gate, Output, PassThrough), also in
sub-modules that call one another, and through Sends. Types that are not tensors are opaque to ONNX: it carries them and
infers nothing; so `full_check=True` refuses a standard op that reads a tensor of unknown elements, which runs well.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from onnx import defs

from bb_core import keys
from bb_core import types as t
from bb_core.ir.proto import type_to_proto
from bb_core.ops.spec import REQUIRED, OpSpec, Port
from bb_core.ops.table import op_table
from bb_core.ops.wire import SEND

_Option = defs.OpSchema.FormalParameterOption
_KINDS: Final = {
    "int": defs.OpSchema.AttrType.INT,
    "bool": defs.OpSchema.AttrType.INT,
    "duration": defs.OpSchema.AttrType.INT,
    "float": defs.OpSchema.AttrType.FLOAT,
    "str": defs.OpSchema.AttrType.STRING,
    "ints": defs.OpSchema.AttrType.INTS,
    "strs": defs.OpSchema.AttrType.STRINGS,
}
_ELEMENTS: Final = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "double", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip


def onnx_schema(spec: OpSpec) -> defs.OpSchema:
    """Make the ONNX schema of one of our ops."""
    inputs = [_formal(p, i, "I") for i, p in enumerate(spec.inputs) if not p.optional]
    if not any(p.variadic for p in spec.inputs):
        rest = defs.OpSchema.FormalParameter(
            "rest", "V", param_option=_Option.Variadic, is_homogeneous=False, min_arity=0
        )
        inputs.append(rest)  # optional inputs, then control edges: ONNX allows nothing after what may be left out
    outputs = [_formal(p, i, "O") for i, p in enumerate(spec.outputs)]
    schema = defs.OpSchema(
        spec.name,
        spec.domain,
        spec.version,
        doc=spec.doc,
        inputs=inputs,
        outputs=outputs,
        type_constraints=[(formal.type_str, _anything(), "") for formal in (*inputs, *outputs)],
        attributes=[*_attributes(spec)],
    )
    if "same_type" in spec.relations:
        schema.set_type_and_shape_inference_function(_pass_type_on)
    elif spec is SEND:
        schema.set_type_and_shape_inference_function(_pass_values_on)
    return schema


@cache
def register_ours() -> int:
    """Register the schemas of all our ops with `onnx`, once in a process. Returns how many there are."""
    schemas = [onnx_schema(spec) for spec in op_table().values()]
    for schema in schemas:
        defs.register_schema(schema)
    return len(schemas)


def _formal(port: Port, index: int, letter: str) -> defs.OpSchema.FormalParameter:
    option = _Option.Variadic if port.variadic else _Option.Optional if port.optional else _Option.Single
    return defs.OpSchema.FormalParameter(
        port.name,
        f"{letter}{index}",
        param_option=option,
        is_homogeneous=not port.variadic,
        min_arity=0 if port.variadic else 1,
    )


def _attributes(spec: OpSpec) -> list[defs.OpSchema.Attribute]:
    named = {a.name: (_KINDS[a.kind], a.default is REQUIRED) for a in spec.attributes}
    named |= {s.name: (defs.OpSchema.AttrType.STRING, True) for s in spec.slots}
    for name in (keys.AFTER, keys.ORDER, keys.DEADLINE, keys.DEADLINE_DEFAULT):
        named.setdefault(name, (defs.OpSchema.AttrType.INT, False))
    return [defs.OpSchema.Attribute(n, kind, "", required=needed) for n, (kind, needed) in sorted(named.items())]


@cache
def _anything() -> list[str]:
    """All types that an edge may have: which of them it has is the type solver's to say."""
    names = [t.ANY, t.TRIGGER, t.BYTES, t.RECORD, t.PEER_ID, t.PEER_LIST, t.REQUEST_ID, t.ADDRESS, t.ADDRESS_LIST]
    opaque = [f"opaque({keys.PREFIX},{x.denotation})" for x in (*names, t.COMPOSITE, t.TENSOR)]
    return [*(f"tensor({name})" for name in _ELEMENTS.values()), *opaque]


def _pass_values_on(context: Any) -> None:
    """What a Send delivers has the types of what it is given. Outputs: request, sender, values; inputs: to, values."""
    for i, type_ in enumerate((t.REQUEST_ID, t.PEER_ID)):
        if i < context.get_num_outputs():
            context.set_output_type(i, type_to_proto(type_))
    for i in range(2, context.get_num_outputs()):
        known = context.get_input_type(i - 1)
        if known is not None:
            context.set_output_type(i, known)


def _pass_type_on(context: Any) -> None:
    known = context.get_input_type(0)
    if known is not None:
        for i in range(context.get_num_outputs()):
            context.set_output_type(i, known)
