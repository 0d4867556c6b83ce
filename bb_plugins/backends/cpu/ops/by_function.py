"""Ops that ONNX itself writes in terms of others: the body of their schema is run as a graph."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bb_plugins.backends.cpu.node import Kernel, Node

if TYPE_CHECKING:
    import onnx

_KEPT: Final = 64
"""Bodies that an op keeps which has one for each types of inputs."""


def by_function(node: Node) -> Kernel:
    """Run an op by the function that its schema has. What depends on the types of inputs is made when they are seen."""
    import onnx
    from onnx import defs

    schema: Any = defs.get_schema(node.op, node.version, node.domain)  # its stub lacks half of what it has
    if schema.has_function:
        from bb_plugins.backends.cpu.graph import function_kernel

        body = onnx.FunctionProto.FromString(schema.get_function_with_opset_version(_newest(schema, node)))
        return function_kernel(body, _given(schema, node), opsets=node.opsets)
    bodies: OrderedDict[Any, Kernel] = OrderedDict()

    def run(*inputs: Any) -> Any:
        key = tuple(_key(x) for x in inputs)
        found = bodies.get(key)
        if found is None:
            found = bodies[key] = _specialised(schema, node, inputs)
            if len(bodies) > _KEPT:
                bodies.popitem(last=False)
        return found(*inputs)

    return run


def _newest(schema: Any, node: Node) -> int:
    """Return the newest opset, not above the node's, that the schema has a body for."""
    return max(int(v) for v in schema.function_opset_versions if v <= max(node.version, schema.since_version))


def _given(schema: Any, node: Node) -> dict[str, Any]:
    """Return an op's attributes as protos, those that it leaves out by their defaults."""
    import onnx

    found: dict[str, Any] = {}
    for name, declared in schema.attributes.items():
        if name in node.attributes:
            found[name] = _attribute(name, node.attributes[name], declared)
        elif declared.default_value.type != onnx.AttributeProto.UNDEFINED:
            found[name] = declared.default_value
    return found


def _attribute(name: str, value: Any, declared: Any) -> onnx.AttributeProto:
    from onnx import helper, numpy_helper

    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    return helper.make_attribute(name, value, attr_type=int(declared.type.value))


def _specialised(schema: Any, node: Node, inputs: tuple[Any, ...]) -> Kernel:
    import onnx

    from bb_plugins.backends.cpu.graph import function_kernel

    names = [f"in{i}" if x is not None else "" for i, x in enumerate(inputs)]
    wanted = node.wanted or (True,)
    proto = onnx.NodeProto(op_type=node.op, domain=node.domain, input=names)
    proto.output.extend(f"out{i}" if w else "" for i, w in enumerate(wanted))
    proto.attribute.extend(
        _attribute(k, v, schema.attributes[k]) for k, v in node.attributes.items() if k in schema.attributes
    )
    types = [_type(x).SerializeToString() for x in inputs]
    version = max(
        v for v in schema.context_dependent_function_opset_versions if v <= max(node.version, schema.since_version)
    )
    body = onnx.FunctionProto.FromString(
        schema.get_context_dependent_function_with_opset_version(version, proto.SerializeToString(), types)
    )
    return function_kernel(body, _given(schema, node), opsets=node.opsets)


def _type(x: Any) -> onnx.TypeProto:
    import onnx
    from onnx import helper

    if x is None:
        return onnx.TypeProto()
    if isinstance(x, list):
        return helper.make_sequence_type_proto(_type(x[0]) if x else helper.make_tensor_type_proto(1, None))
    code = onnx.TensorProto.STRING if x.dtype.kind in "OUT" else helper.np_dtype_to_tensor_dtype(x.dtype)
    return helper.make_tensor_type_proto(code, x.shape)


def _key(x: Any) -> Any:
    return (x.dtype, x.shape) if isinstance(x, np.ndarray) else (type(x), len(x) if isinstance(x, list) else 0)
