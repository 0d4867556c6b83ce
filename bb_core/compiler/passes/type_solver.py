"""Pass 5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx
from onnx import shape_inference

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.state import State
from bb_core.errors import TypeSolveError
from bb_core.ir.proto import (
    attribute,
    data_inputs,
    set_value_types,
    source_of,
    type_from_proto,
    type_to_proto,
    value_types,
)
from bb_core.ir.schemas import schema_of
from bb_core.ops.table import find_spec
from bb_core.types import Type

Types = dict[str, Type]


def type_solver(model: onnx.ModelProto, state: State) -> None:
    """Work out the type of every value, from inputs and constants forward.

    Standard ops by ONNX's own shape inference, ours by their declarations. Each port is checked against what reads it.

    Needs: a valid function. Leaves: `value_info` for every value. Fails with: TypeSolveError.
    """
    for function in model.functions:
        types = {v: type_ for v, type_ in value_types(function).items() if v in function.input}
        stated = value_types(function)
        for node in function.node:
            outputs = _outputs(node, types, state)
            for value, type_ in zip(node.output, outputs, strict=True):
                types[value] = _sharper(type_, stated.get(value, t.ANY))
        set_value_types(function, types)


def _outputs(node: onnx.NodeProto, types: Types, state: State) -> list[Type]:
    if node.domain == keys.ONNX:
        return _onnx_outputs(node, types, state)
    rule = _RULES.get((node.domain, node.op_type))
    if rule is not None:
        return rule(node, types)
    spec = find_spec(node.domain, node.op_type)
    assert spec is not None  # validate has seen to it
    for port, value in zip(spec.inputs, data_inputs(node), strict=False):
        actual = types.get(value, t.ANY)
        if value and not port.type.accepts(actual):
            state.add(
                TypeSolveError(
                    f"{node.op_type} reads {value!r} of type {actual} as {port.name!r}",
                    where=source_of(node),
                    expected=str(port.type),
                )
            )
    return [p.type for p in spec.outputs]


def _onnx_outputs(node: onnx.NodeProto, types: Types, state: State) -> list[Type]:
    schema = schema_of(node.op_type)
    assert schema is not None  # validate has seen to it
    known = {v: types.get(v, t.TENSOR) for v in node.input if v}
    for value, type_ in known.items():
        if not t.TENSOR.accepts(type_):
            state.add(
                TypeSolveError(
                    f"{node.op_type} reads {value!r} of type {type_}", where=source_of(node), expected="a tensor"
                )
            )
            return [t.TENSOR] * len(node.output)
    if not all(type_.elem for type_ in known.values()):
        return [t.TENSOR] * len(node.output)
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    del bare.metadata_props[:]
    try:
        inferred = shape_inference.infer_node_outputs(schema, bare, {v: type_to_proto(x) for v, x in known.items()})
    except Exception as error:  # onnx raises several kinds, some of them plain RuntimeError
        state.add(TypeSolveError(f"{node.op_type}: {error}", where=source_of(node)))
        return [t.TENSOR] * len(node.output)
    return [type_from_proto(inferred[v]) if v in inferred else t.TENSOR for v in node.output]


def _same(node: onnx.NodeProto, types: Types) -> list[Type]:
    return [types.get(node.input[0], t.ANY)]


def _send(node: onnx.NodeProto, types: Types) -> list[Type]:
    count = attribute(node, keys.COUNT)
    values = [types.get(v, t.ANY) for v in data_inputs(node)[1 : 1 + count]]
    return [t.REQUEST_ID, t.PEER_ID, *values]


_RULES: Final[dict[tuple[str, str], Callable[[onnx.NodeProto, Types], list[Type]]]] = {
    (keys.SYSCALL, "Gate"): _same,
    (keys.SYSCALL, "Output"): _same,
    (keys.WIRE, "Send"): _send,
}


def _sharper(solved: Type, stated: Type) -> Type:
    return stated if solved in (t.ANY, t.TENSOR) and solved.accepts(stated) and stated != t.ANY else solved
