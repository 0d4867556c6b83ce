"""From a recording to a ModelProto, and the top-level graph that makes it one that `onnx.checker` accepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.ir.proto import make_node, set_metadata, set_value_types, type_to_proto
from bb_core.ir.recorded import RecordedFunction, RecordedGraph, RecordedNode, Recording
from bb_core.ir.schemas import IR_VERSION, OPSET
from bb_core.registry import encode_use
from bb_core.types import Type
from bb_core.version import __version__

_OUR_OPSET_VERSION = 2


def encode_recording(recording: Recording) -> onnx.ModelProto:
    """Turn a recording into a model: a function for each Module, and a graph that calls the first."""
    model = onnx.ModelProto()
    model.ir_version = IR_VERSION
    model.producer_name = "bytesandbrains"
    model.producer_version = __version__
    for recorded in recording.functions:
        model.functions.append(_encode_function(recorded))
    root = recording.functions[0]
    set_graph(model, {root.name: (root.inputs, root.outputs)})
    for path in sorted(recording.slots):
        set_metadata(model, keys.SLOT_ROLE + path, recording.slots[path])
    for path in sorted(recording.slot_classes):
        set_metadata(model, keys.SLOT_CLASS + path, recording.slot_classes[path])
    for path in sorted(recording.slot_defaults):
        set_metadata(model, keys.SLOT_DEFAULT + path, encode_use(recording.slot_defaults[path]))
    return model


def set_graph(model: onnx.ModelProto, entries: Mapping[str, tuple[Mapping[str, Type], Mapping[str, Type]]]) -> None:
    """Write the top-level graph: one call of each entry function, whose inputs and outputs are the graph's.

    Names are prefixed with the function's when there is more than one entry. A function that only the wire reaches has
    neither input nor output, and ONNX has no call of such a one; it stands among the functions alone.
    """
    graph = model.graph
    graph.Clear()
    graph.name = next(iter(entries))
    for name, (inputs, outputs) in entries.items():
        if not inputs and not outputs:
            continue
        prefix = f"{name}/" if len(entries) > 1 else ""
        graph.node.append(
            make_node(name, keys.MODULE, [prefix + i for i in inputs], [prefix + o for o in outputs], name, {}, {})
        )
        for values, infos in ((inputs, graph.input), (outputs, graph.output)):
            for value, type_ in values.items():
                info = infos.add()
                info.name = prefix + value
                info.type.CopyFrom(type_to_proto(_graph_type(type_)))
    set_opsets(model)


def _graph_type(type_: Type) -> Type:
    """A graph's tensors must have a shape; one without is written as opaque."""
    return t.TENSOR if type_.is_tensor and type_.shape is None else type_


def set_opsets(model: onnx.ModelProto) -> None:
    """State the opsets that the model and each function import, in order of domain."""
    everywhere: set[str] = {keys.ONNX, keys.MODULE}
    for function in model.functions:
        used = {n.domain for n in function.node} | {keys.ONNX}
        everywhere |= used
        _import(function, used)
    _import(model, everywhere)


def _import(proto: Any, domains: Iterable[str]) -> None:
    del proto.opset_import[:]
    for domain in sorted(domains):
        opset = proto.opset_import.add()
        opset.domain = domain
        opset.version = OPSET if domain == keys.ONNX else _OUR_OPSET_VERSION


def _encode_function(recorded: RecordedFunction) -> onnx.FunctionProto:
    function = onnx.FunctionProto()
    function.name, function.domain = recorded.name, keys.MODULE
    function.input.extend(recorded.inputs)
    function.output.extend(recorded.outputs)
    function.node.extend(_encode_node(n) for n in recorded.nodes)
    if recorded.is_bootstrap:
        set_metadata(function, keys.PHASE, "bootstrap")
    for name, place in recorded.sources.items():
        set_metadata(function, keys.INPUT_SOURCE + name, place)
    set_value_types(function, recorded.types)
    return function


def _encode_node(node: RecordedNode) -> onnx.NodeProto:
    attrs = {k: _encode_graph(v) if isinstance(v, RecordedGraph) else v for k, v in node.attributes.items()}
    return make_node(node.op_type, node.domain, list(node.inputs), list(node.outputs), node.name, attrs, node.metadata)


def _encode_graph(recorded: RecordedGraph) -> onnx.GraphProto:
    graph = onnx.GraphProto()
    graph.name = recorded.name
    graph.node.extend(_encode_node(n) for n in recorded.nodes)
    for name, type_ in [*recorded.inputs.items(), *((o.name, o.type) for o in recorded.outputs)]:
        info = (graph.input if name in recorded.inputs else graph.output).add()
        info.name = name
        if type_.elem:
            info.type.CopyFrom(type_to_proto(type_))
    return graph
