"""Small readers and writers for the ONNX messages that programs are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bb_core import keys
from bb_core import types as t
from bb_core.types import Type


def metadata(proto: Any) -> dict[str, str]:
    """Return a message's metadata properties."""
    return {p.key: p.value for p in proto.metadata_props}


def set_metadata(proto: Any, key: str, value: str) -> None:
    """Set one metadata property."""
    for prop in proto.metadata_props:
        if prop.key == key:
            prop.value = value
            return
    prop = proto.metadata_props.add()
    prop.key, prop.value = key, value


def source_of(node: onnx.NodeProto) -> str:
    """Return the author's `file:line`, with the node's name."""
    line = metadata(node).get(keys.SOURCE, "")
    return f"{line} ({node.name})" if line else node.name


def input_source(function: onnx.FunctionProto, name: str) -> str:
    """Return the place where an input is declared; empty when it is not known."""
    return metadata(function).get(keys.INPUT_SOURCE + name, "")


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return one attribute of a node: int, float, str, tuple or array."""
    for a in node.attribute:
        if a.name == name:
            return attribute_value(a)
    return default


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return all attributes of a node."""
    return {a.name: attribute_value(a) for a in node.attribute}


def attribute_value(a: onnx.AttributeProto) -> Any:
    """Return an attribute's value as Python has it."""
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if a.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    if a.type == onnx.AttributeProto.STRINGS:
        return tuple(v.decode() for v in value)
    return value


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set one attribute of a node; an empty tuple removes it, for ONNX cannot tell an empty list's type."""
    for i, a in enumerate(node.attribute):
        if a.name == name:
            del node.attribute[i]
            break
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    if isinstance(value, tuple):
        value = list(value)
    if value != []:
        node.attribute.append(helper.make_attribute(name, value))


def make_node(
    op_type: str,
    domain: str,
    inputs: list[str],
    outputs: list[str],
    name: str,
    attrs: Mapping[str, Any],
    props: Mapping[str, str],
) -> onnx.NodeProto:
    """Make a NodeProto with attributes and metadata in order of their names."""
    node = onnx.NodeProto()
    node.op_type, node.domain, node.name = op_type, domain, name
    node.input.extend(inputs)
    node.output.extend(outputs)
    for key in sorted(attrs):
        set_attribute(node, key, attrs[key])
    for key in sorted(props):
        set_metadata(node, key, props[key])
    return node


def data_inputs(node: onnx.NodeProto) -> list[str]:
    """Return a node's inputs without its control edges."""
    return list(node.input)[: len(node.input) - control_count(node)]


def control_inputs(node: onnx.NodeProto) -> list[str]:
    """Return a node's control edges."""
    return list(node.input)[len(node.input) - control_count(node) :]


def control_count(node: onnx.NodeProto) -> int:
    """Return how many trailing inputs are control edges."""
    return 0 if node.domain in (keys.ONNX, keys.MODULE) else int(attribute(node, keys.AFTER, 0))


def add_control(node: onnx.NodeProto, value: str) -> None:
    """Add a control edge to one of our ops."""
    if value not in control_inputs(node):
        node.input.append(value)
        set_attribute(node, keys.AFTER, control_count(node) + 1)


def add_order(node: onnx.NodeProto, value: str) -> None:
    """Let one of our ops wait until the op that makes a value is over, whether it has made it or not."""
    add_control(node, value)
    set_attribute(node, keys.ORDER, int(attribute(node, keys.ORDER, 0)) + 1)


def order_inputs(node: onnx.NodeProto) -> list[str]:
    """Return the values whose makers must be over before a node runs, if they run in its Frame at all."""
    count = 0 if node.domain in (keys.ONNX, keys.MODULE) else int(attribute(node, keys.ORDER, 0))
    return list(node.input)[-count:] if count else []


def needs(node: onnx.NodeProto) -> list[str]:
    """Return all values that a node cannot run without."""
    order = order_inputs(node)
    return reads(node)[: -len(order)] if order else reads(node)


@lru_cache(maxsize=4096)
def type_to_proto(type_: Type) -> onnx.TypeProto:
    """Write a type as ONNX: a tensor type when its elements are known, else an opaque type. To be read only."""
    proto = onnx.TypeProto()
    proto.denotation = type_.denotation
    if type_.elem:
        proto.tensor_type.elem_type = type_.elem
        if type_.shape is not None:
            proto.tensor_type.shape.SetInParent()
            for dim in type_.shape:
                added = proto.tensor_type.shape.dim.add()
                if isinstance(dim, int):
                    added.dim_value = dim
                elif dim is not None:
                    added.dim_param = dim
        return proto
    proto.opaque_type.domain = keys.PREFIX
    proto.opaque_type.name = type_.denotation
    return proto


def type_from_proto(proto: onnx.TypeProto) -> Type:
    """Read a type; what is not one of ours is ANY."""
    data = proto.SerializeToString()
    found = _read_types.get(data)
    if found is None:
        found = _type_from_proto(proto)
        if len(_read_types) < _MOST_TYPES and found != t.ANY:  # a type that is not declared yet may be later
            _read_types[data] = found
    return found


_read_types: Final[dict[bytes, Type]] = {}
_MOST_TYPES: Final = 4096


def _type_from_proto(proto: onnx.TypeProto) -> Type:
    if proto.WhichOneof("value") == "tensor_type":
        base = t.BY_ELEM.get(proto.tensor_type.elem_type, t.TENSOR)
        if not proto.tensor_type.HasField("shape"):
            return base
        dims = tuple(_dim(d) for d in proto.tensor_type.shape.dim)
        return Type(base.denotation, base.elem, dims)
    if proto.WhichOneof("value") == "opaque_type":
        return t.named(proto.opaque_type.name) or t.ANY
    return t.ANY


def _dim(dim: Any) -> t.Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None


def value_types(function: onnx.FunctionProto) -> dict[str, Type]:
    """Return the types that a function states of its values."""
    return {v.name: type_from_proto(v.type) for v in function.value_info}


def set_value_types(function: onnx.FunctionProto, types: Mapping[str, Type]) -> None:
    """State the types of a function's values, in order of their names."""
    del function.value_info[:]
    for name in sorted(types):
        info = function.value_info.add()
        info.name = name
        info.type.CopyFrom(type_to_proto(types[name]))


_BODIED: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""The standard ops that have bodies; to look at every attribute of every op would cost most of a compilation."""


def reads(node: onnx.NodeProto) -> list[str]:
    """Return all values that a node reads: its inputs, and what its `If` and `Loop` bodies take from outside."""
    found = list(filter(None, node.input))
    if node.op_type in _BODIED and node.domain == keys.ONNX:
        found += [v for v in captured(node) if v not in found]
    return found


def captured(node: onnx.NodeProto) -> list[str]:
    """Return what a node's bodies take from outside, each once, in order of first use; it may be an input too."""
    graphs = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH] if node.op_type in _BODIED else []
    return list(dict.fromkeys(v for g in graphs for v in captures(g)))


def with_bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Give a node, and all nodes of its bodies."""
    yield node
    for a in node.attribute if node.op_type in _BODIED else ():
        if a.type == onnx.AttributeProto.GRAPH:
            for inner in a.g.node:
                yield from with_bodies(inner)


def captures(graph: onnx.GraphProto) -> list[str]:
    """Return the values that a graph reads and does not make, in order of first use."""
    inside = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    inside |= {v for n in graph.node for v in n.output}
    wanted = [v for n in graph.node for v in reads(n)] + [v.name for v in graph.output]
    return list(dict.fromkeys(v for v in wanted if v not in inside))


def rename_captures(node: onnx.NodeProto, rename: Callable[[str], str]) -> None:
    """Give what a node's graphs take from outside other names."""
    for a in node.attribute if node.op_type in _BODIED else ():
        if a.type == onnx.AttributeProto.GRAPH:
            _rename_in(a.g, {v: rename(v) for v in captures(a.g)})


def _rename_in(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for i, value in enumerate(node.input):
            node.input[i] = names.get(value, value)
        rename_captures(node, lambda v: names.get(v, v))
    for info in graph.output:
        info.name = names.get(info.name, info.name)
