"""Pass 1."""

from __future__ import annotations

from collections.abc import MutableSequence

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.errors import MalformedProgram
from bb_core.ir.naming import bootstrap_name
from bb_core.ir.proto import attribute, rename_captures, set_attribute, set_value_types, source_of, value_types
from bb_core.types import Type


def inline_for_partition(model: onnx.ModelProto, state: State) -> None:
    """Write every sub-module's body into the root function, under the name of its call; bootstraps likewise.

    The `onnx` inliner is not used: it drops the metadata of the nodes (slots and lines), on which all later passes
    stand.

    Needs: the functions that `build` made. Leaves: the body, and the bootstrap if there is one, without calls; values
    and edges of a sub-module are named `<call>/<name>`. Fails with: MalformedProgram, for a call of a function that is
    not there.
    """
    functions = {f.name: f for f in model.functions}
    names = [model.functions[0].name, bootstrap_name(model.functions[0].name)]
    roots = [onnx.FunctionProto.FromString(functions[n].SerializeToString()) for n in names if n in functions]
    for root in roots:
        types: dict[str, Type] = value_types(root)
        nodes: list[onnx.NodeProto] = []
        _Inliner(functions, nodes, types, state).inline(root, "", {})
        del root.node[:]
        root.node.extend(nodes)
        set_value_types(root, types)
    del model.functions[:]
    model.functions.extend(roots)


class _Inliner:
    """Appends functions' nodes to one list. `names` maps a function's values to the root's."""

    def __init__(
        self,
        functions: dict[str, onnx.FunctionProto],
        nodes: list[onnx.NodeProto],
        types: dict[str, Type],
        state: State,
    ) -> None:
        self._functions = functions
        self._nodes = nodes
        self._types = types
        self._state = state
        self._open: list[str] = []

    def inline(self, function: onnx.FunctionProto, prefix: str, names: dict[str, str]) -> None:
        """Append a function's nodes."""
        for value, type_ in value_types(function).items():
            self._types.setdefault(names.get(value, prefix + value), type_)
        for original in function.node:
            if any(p.key == keys.CALL_ONLY for p in original.metadata_props):
                continue
            node = onnx.NodeProto()
            node.CopyFrom(original)
            node.name = prefix + node.name
            _rename(node.input, prefix, names)
            if prefix:
                rename_captures(node, lambda v: names.get(v, prefix + v))
            if node.domain == keys.MODULE:
                self._call(node, original, names)
            elif prefix and (node.domain, node.op_type) == (keys.SYSCALL, "Output"):
                names[original.output[0]] = node.input[0]  # a sub-module's output is the value itself
            else:
                _rename(node.output, prefix, names)
                _scope_edge(node, prefix)
                self._nodes.append(node)

    def _call(self, call: onnx.NodeProto, original: onnx.NodeProto, names: dict[str, str]) -> None:
        callee = self._functions.get(call.op_type)
        wrong = None
        if callee is None:
            wrong = f"the call of {call.op_type} has no function to go to"
        elif len(callee.input) != len(call.input) or len(callee.output) < len(call.output):
            wrong = f"the call of {call.op_type} does not fit its inputs and outputs"
        elif callee.name in self._open:
            wrong = f"{callee.name} calls itself"
        if wrong is not None or callee is None:
            self._state.add(MalformedProgram(str(wrong), where=source_of(call)))
            return
        inner = dict(zip(callee.input, call.input, strict=True))
        self._open.append(callee.name)
        self.inline(callee, f"{call.name}/", inner)
        self._open.pop()
        self._state.counts["calls inlined"] += 1
        for outer, port in zip(original.output, callee.output, strict=False):
            names[outer] = inner[port]


def _rename(values: MutableSequence[str], prefix: str, names: dict[str, str]) -> None:
    for i, value in enumerate(values):
        if value:
            values[i] = names.get(value, prefix + value)


def _scope_edge(node: onnx.NodeProto, prefix: str) -> None:
    if prefix and (node.domain, node.op_type) == (keys.WIRE, "Send"):
        set_attribute(node, keys.EDGE, prefix + attribute(node, keys.EDGE))
        set_attribute(node, keys.PORTS, tuple(prefix + p for p in attribute(node, keys.PORTS)))
