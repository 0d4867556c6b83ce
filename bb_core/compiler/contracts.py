"""What each pass must have left for a program to run: one table, read by the completeness check.

It looks at the program alone, so it does not matter whether the pass or a stage in its place has done the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import onnx

from bb_core import keys
from bb_core.compiler.passes.gates import RULES, wants
from bb_core.compiler.state import State, nodes_of, slots_touched
from bb_core.ir.entries import is_recv
from bb_core.ir.naming import target_of
from bb_core.ir.proto import attribute, attributes, data_inputs, metadata, source_of, value_types
from bb_core.ir.schemas import schema_of
from bb_core.ops.spec import REQUIRED, Answer
from bb_core.ops.table import find_spec

Missing = Iterator[tuple[str, str]]
"""What is missing, and where."""


def _no_calls(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        if node.domain == keys.MODULE:
            yield f"the call of {node.op_type} is not inlined", source_of(node)


def _delivery(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        if _is_send(node) and not attribute(node, keys.DELIVERY):
            yield "a Send has no time within which it must be handed over", source_of(node)


def _declared(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        known = schema_of(node.op_type) if node.domain == keys.ONNX else find_spec(node.domain, node.op_type)
        if known is None and node.domain != keys.MODULE:
            yield f"nobody declares the op {node.op_type!r} of {node.domain!r}", source_of(node)


def _expanded(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        spec = find_spec(node.domain, node.op_type)
        if spec is None:
            continue
        if spec.expanded_by:
            yield f"{node.op_type} stands for several ops, and is not expanded", source_of(node)
        given = attributes(node)
        for a in spec.attributes:
            if a.default is REQUIRED and a.name not in given and (node.domain != keys.WIRE):
                yield f"{node.op_type} lacks the attribute {a.name!r}", source_of(node)


def _typed(model: onnx.ModelProto, state: State) -> Missing:
    for function in model.functions:
        if keys.TYPED not in metadata(function):
            yield f"the types of {function.name} are not settled", ""
        known = value_types(function)
        for node in function.node:
            for value in node.output:
                if value and value not in known:
                    yield f"the value {value!r} has no type", source_of(node)
                    return


def _homes(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        if _is_send(node) and keys.DESTINATION not in metadata(node):
            yield "a Send has no class of peers to go to", source_of(node)


def _receivers(model: onnx.ModelProto, state: State) -> Missing:
    received = {attribute(n, keys.EDGE) for n in nodes_of(model) if is_recv(n)}
    for node in nodes_of(model):
        if _is_send(node) and attribute(node, keys.EDGE) not in received:
            yield f"the edge {attribute(node, keys.EDGE)!r} has no Recv", source_of(node)


def _partitions(model: onnx.ModelProto, state: State) -> Missing:
    for function in model.functions:
        own = metadata(function).get(keys.PEER_CLASS)
        if own is None:
            yield f"{function.name} is not cut at its network edges", ""
            continue
        for node in function.node:
            if metadata(node).get(keys.HOME, own) != own:
                yield f"{node.op_type} stands in {function.name}, and has another home", source_of(node)


def _bindings(model: onnx.ModelProto, state: State) -> Missing:
    wanted = None if state.targets is None else set(state.targets)
    for function in model.functions:
        if wanted is not None and target_of(function.name) not in wanted:
            continue
        for node in function.node:
            for path in slots_touched(node):
                if path not in state.bound:
                    yield f"the slot {path!r} is not resolved", source_of(node)
                    return


def _sites(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        if (_is_send(node) or is_recv(node)) and not attribute(node, keys.SITES):
            yield f"the edge {attribute(node, keys.EDGE)!r} has no destination", source_of(node)


def _gate(stamped_by: str) -> Callable[[onnx.ModelProto, State], Missing]:
    rule = RULES[stamped_by]

    def check(model: onnx.ModelProto, state: State) -> Missing:
        for node in nodes_of(model):
            if wants(rule, node) and rule.gate not in attribute(node, keys.GATES, ()):
                yield f"a {rule.side} lacks the gate {rule.gate!r}", source_of(node)

    return check


def _deadlines(model: onnx.ModelProto, state: State) -> Missing:
    for node in nodes_of(model):
        spec = find_spec(node.domain, node.op_type)
        if spec is None or spec.answer is not Answer.NETWORK or attribute(node, keys.DEADLINE):
            continue
        given = dict(zip((p.name for p in spec.inputs), data_inputs(node), strict=False))
        if not given.get("deadline"):
            yield f"{node.op_type} waits for peers without a deadline", source_of(node)


def _is_send(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) == (keys.WIRE, "Send")


CONTRACTS: Final[dict[str, Callable[[onnx.ModelProto, State], Missing]]] = {
    "inline_for_partition": _no_calls,
    "derive_wire_deadlines": _delivery,
    "validate": _declared,
    "expand_ops": _expanded,
    "type_solver": _typed,
    "infer_peer_classes": _homes,
    "synthesize_wire_recvs": _receivers,
    "partition_by_wire_ops": _partitions,
    "resolve_slots": _bindings,
    "analyze_wire_edges": _sites,
    **{name: _gate(name) for name in RULES},
    "insert_async_deadlines": _deadlines,
}
"""Pass -> what is missing of its work."""
