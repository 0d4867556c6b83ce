"""The schemas of standard ONNX ops, as the `onnx` package has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, Final

import onnx
from onnx import defs, helper, shape_inference

from bb_core.errors import MissingInput, UnknownPort, did_you_mean
from bb_core.ir.proto import type_from_proto, type_to_proto
from bb_core.types import BY_ELEM, TENSOR, Type, bool_, f32, i64

OPSET: Final = 21
"""Opset of every artefact: fixed, so that the installed `onnx` does not change the program's bytes."""
IR_VERSION: Final = 10


@cache
def _by_snake_name() -> dict[str, str]:
    names = {s.name for s in defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    return {n.lower(): n for n in sorted(names)}


def onnx_ops() -> Iterable[str]:
    """Name the standard ops."""
    return _by_snake_name().values()


def onnx_op_named(snake: str) -> defs.OpSchema | None:
    """Find a standard op by its name in snake case: `matmul` and `mat_mul`, `reduce_sum`, `gemm`."""
    name = _by_snake_name().get(snake.replace("_", ""))
    return schema_of(name) if name else None


@cache
def schema_of(op_type: str) -> defs.OpSchema | None:
    """Return the schema that the artefacts' opset has of an op, or None."""
    try:
        return onnx.defs.get_schema(op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return None


def check_onnx_call(op_type: str, n_inputs: int, attributes: Iterable[str], where: str) -> None:
    """Refuse a call of a standard op with the wrong number of inputs or an unknown attribute."""
    schema = schema_of(op_type)
    if schema is None:
        raise UnknownPort(f"opset {OPSET} has no op {op_type}", where=where)
    if not schema.min_input <= n_inputs <= schema.max_input:
        most = "many" if schema.max_input > 1000 else schema.max_input
        raise MissingInput(
            f"{op_type} was given {n_inputs} inputs", where=where, expected=f"{schema.min_input} to {most}"
        )
    for name in attributes:
        if name not in schema.attributes:
            raise UnknownPort(
                f"{op_type} has no attribute {name!r}", where=where, hint=did_you_mean(name, schema.attributes)
            )


class ShapeConflict(Exception):  # whoever asks says where
    """ONNX's inference refuses the inputs of an op."""


@lru_cache(maxsize=8192)
def infer(
    op_type: str,
    attributes: tuple[bytes, ...],
    inputs: tuple[Type | None, ...],
    constants: tuple[bytes, ...],
    n_outputs: int,
) -> tuple[Type, ...]:
    """Return the types of a standard op's outputs, by ONNX's own inference.

    `attributes` are the op's AttributeProtos as bytes, `inputs` the types of its inputs with known elements (None for
    an absent one), `constants` for each input the TensorProto of its constant as bytes, empty for what is none.

    Raises:
        ShapeConflict: the inputs do not fit.
    """
    schema = schema_of(op_type)
    assert schema is not None
    names = [f"i{k}" if x is not None else "" for k, x in enumerate(inputs)]
    outputs = [f"o{k}" for k in range(n_outputs)]
    node = onnx.NodeProto(op_type=op_type, input=names, output=outputs)
    node.attribute.extend(onnx.AttributeProto.FromString(a) for a in attributes)
    known = {n: type_to_proto(x) for n, x in zip(names, inputs, strict=True) if x is not None}
    data = {n: onnx.TensorProto.FromString(c) for n, c in zip(names, constants, strict=True) if c}
    try:
        found = shape_inference.infer_node_outputs(schema, node, known, data)
    except Exception as error:  # onnx raises several kinds, some of them plain RuntimeError
        text = str(error)
        raise ShapeConflict(text.rpartition("] ")[2] or text) from error
    return tuple(type_from_proto(found[v]) if v in found else TENSOR for v in outputs)


def recorded_types(
    op_type: str, inputs: Sequence[Type | None], attributes: Mapping[str, Any], n_outputs: int
) -> list[Type]:
    """Say what a standard op's outputs are while it is recorded: by inference when all is known, else by its schema.

    What does not fit is left to the type solver, which says so with all places.
    """
    if all(x is None or x.elem for x in inputs):
        attrs = tuple(helper.make_attribute(k, v).SerializeToString() for k, v in sorted(attributes.items()))
        with suppress(ShapeConflict):
            return list(infer(op_type, attrs, tuple(inputs), (b"",) * len(inputs), n_outputs))
    known = _output_elems(op_type, inputs)
    return [*known, *(known[-1:] or [TENSOR]) * n_outputs][:n_outputs]


def _output_elems(op_type: str, inputs: Sequence[Type | None]) -> list[Type]:
    schema = schema_of(op_type)
    if schema is None:
        return []
    bound: dict[str, Type] = {}
    formals = schema.inputs
    for i, given in enumerate(inputs):
        formal = formals[min(i, len(formals) - 1)] if formals else None
        if formal is not None and given is not None and given.elem:
            bound.setdefault(formal.type_str, BY_ELEM[given.elem])
    return [bound.get(o.type_str) or _FIXED.get(o.type_str, TENSOR) for o in schema.outputs]


@cache
def formal_types(op_type: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the type variables of a standard op's inputs and outputs; a fixed type counts as a variable of its own.

    A variadic formal whose values may differ (`heterogeneous`) has none.
    """
    schema = schema_of(op_type)
    if schema is None:
        return (), ()
    return tuple(map(_variable, schema.inputs)), tuple(map(_variable, schema.outputs))


def input_variables(op_type: str, count: int) -> list[str]:
    """Return the type variable of each of a standard op's inputs; inputs of one variable have the same elements."""
    formals = formal_types(op_type)[0]
    return [*formals, *[formals[-1] if formals else ""] * count][:count]


def _variable(formal: defs.OpSchema.FormalParameter) -> str:
    same = formal.option != defs.OpSchema.FormalParameterOption.Variadic or formal.is_homogeneous
    return formal.type_str if same and "(" not in formal.type_str else ""


_FIXED: Final = {"tensor(bool)": bool_, "tensor(int64)": i64, "tensor(float)": f32}
