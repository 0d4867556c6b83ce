"""Pass 1."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.errors import MalformedProgram
from bb_core.ir.proto import attribute, set_attribute, set_value_types, source_of, value_types
from bb_core.types import Type


def inline_for_partition(model: onnx.ModelProto, state: State) -> None:
    """Write every sub-module's body into the root function, under the name of its call.

    The `onnx` inliner is not used: it drops the metadata of the nodes (slots and lines), on which all later passes
    stand.

    Needs: the functions that `build` made. Leaves: one function, without calls; values and edges of a sub-module are
    named `<call>/<name>`. Fails with: MalformedProgram, for a call of a function that is not there.
    """
    functions = {f.name: f for f in model.functions}
    root = model.functions[0]
    types: dict[str, Type] = value_types(root)
    nodes: list[onnx.NodeProto] = []
    _inline(root, "", {}, functions, nodes, types, state)
    del root.node[:]
    root.node.extend(nodes)
    set_value_types(root, types)
    del model.functions[1:]


def _inline(
    function: onnx.FunctionProto,
    prefix: str,
    names: dict[str, str],
    functions: dict[str, onnx.FunctionProto],
    nodes: list[onnx.NodeProto],
    types: dict[str, Type],
    state: State,
) -> None:
    """Append a function's nodes; `names` maps its values to the root's."""
    for value, type_ in value_types(function).items():
        types.setdefault(names.get(value, prefix + value), type_)
    for original in function.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.name = prefix + node.name
        _rename(node.input, prefix, names)
        if node.domain == keys.MODULE:
            _inline_call(node, original, prefix, names, functions, nodes, types, state)
        elif prefix and (node.domain, node.op_type) == (keys.SYSCALL, "Output"):
            names[original.output[0]] = node.input[0]  # a sub-module's output is the value itself
        else:
            _rename(node.output, prefix, names)
            _scope_edge(node, prefix)
            nodes.append(node)


def _inline_call(
    call: onnx.NodeProto,
    original: onnx.NodeProto,
    prefix: str,
    names: dict[str, str],
    functions: dict[str, onnx.FunctionProto],
    nodes: list[onnx.NodeProto],
    types: dict[str, Type],
    state: State,
) -> None:
    callee = functions.get(call.op_type)
    if callee is None or len(callee.input) != len(call.input):
        state.add(MalformedProgram(f"the call of {call.op_type} has no function to go to", where=source_of(call)))
        return
    inner = dict(zip(callee.input, call.input, strict=True))
    _inline(callee, f"{call.name}/", inner, functions, nodes, types, state)
    for outer, port in zip(original.output, callee.output, strict=True):
        names[outer] = inner[port]


def _rename(values: list[str], prefix: str, names: dict[str, str]) -> None:
    for i, value in enumerate(values):
        if value:
            values[i] = names.get(value, prefix + value)


def _scope_edge(node: onnx.NodeProto, prefix: str) -> None:
    if prefix and node.domain == keys.WIRE:
        set_attribute(node, keys.EDGE, prefix + attribute(node, keys.EDGE))
        set_attribute(node, keys.PORTS, tuple(prefix + p for p in attribute(node, keys.PORTS)))
