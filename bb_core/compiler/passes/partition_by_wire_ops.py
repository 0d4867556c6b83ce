"""Pass 8."""

from __future__ import annotations

from collections import defaultdict

import onnx

from bb_core import keys
from bb_core.compiler.state import State, slots_touched
from bb_core.ir.encode import set_graph
from bb_core.ir.entries import entries_of, is_constant, is_recv
from bb_core.ir.naming import compiled_name, is_bootstrap
from bb_core.ir.proto import add_order, input_source, metadata, reads, set_metadata, set_value_types, value_types
from bb_core.ops.table import find_spec
from bb_core.types import Type


def partition_by_wire_ops(model: onnx.ModelProto, state: State) -> None:
    """Cut the program at its network edges: one function for each class of peers.

    They are named `<Module>` and `<Module>@<class>`, their bootstraps the same with `#bootstrap`.
    Constants are copied into each function that reads them. Ops on one stateful slot then get control edges in the
    order in which they were written, within one entry; ops that are ordered already get none. Such an edge waits for
    the earlier op to be over: when that one fails, or is not asked for in a Frame, the later one runs all the same.

    Needs: homes, Recvs. Leaves: the functions, the bodies first, sorted by class, and a graph that calls each. Fails
    with: nothing.
    """
    parts: list[onnx.FunctionProto] = []
    for root in model.functions:
        parts += _cut(root)
    del model.functions[:]
    entries = {}
    for part in parts:
        state.counts["order edges"] += _order_on_slots(part)
        model.functions.append(part)
        known = value_types(part)
        entries[part.name] = ({v: known[v] for v in part.input}, {v: known[v] for v in part.output})
    state.counts["partitions"] = len(parts)
    set_graph(model, entries)


def _cut(root: onnx.FunctionProto) -> list[onnx.FunctionProto]:
    types = value_types(root)
    by_home: dict[str, list[onnx.NodeProto]] = {keys.OWN_CLASS: []}
    constants = {n.output[0]: n for n in root.node if is_constant(n)}
    position = {n.name: i for i, n in enumerate(root.node)}
    for node in root.node:
        if not is_constant(node):
            by_home.setdefault(metadata(node).get(keys.HOME, keys.OWN_CLASS), []).append(node)
    parts = []
    for home in sorted(by_home):
        wanted = {v: constants[v] for n in by_home[home] for v in reads(n) if v in constants}
        nodes = sorted([*wanted.values(), *by_home[home]], key=lambda n: position[n.name])
        parts.append(_part(root, home, nodes, types))
    return parts


def _part(
    root: onnx.FunctionProto, home: str, nodes: list[onnx.NodeProto], types: dict[str, Type]
) -> onnx.FunctionProto:
    part = onnx.FunctionProto()
    part.name = compiled_name(root.name, home)
    part.domain = keys.MODULE
    set_metadata(part, keys.PEER_CLASS, home)
    set_metadata(part, keys.PHASE, "bootstrap" if is_bootstrap(root.name) else "body")
    if keys.TYPED in metadata(root):
        set_metadata(part, keys.TYPED, "1")
    if home == keys.OWN_CLASS:
        part.input.extend(root.input)
        for value in root.input:
            if input_source(root, value):
                set_metadata(part, keys.INPUT_SOURCE + value, input_source(root, value))
    part.node.extend(nodes)
    produced = {v for n in part.node for v in n.output}
    part.output.extend(v for v in root.output if v in produced)
    known = [*part.input, *sorted(produced)]
    set_value_types(part, {v: types[v] for v in known if v in types})
    return part


def _order_on_slots(part: onnx.FunctionProto) -> int:
    """Order ops on one slot that share an entry, going once through the nodes. Returns how many edges that took.

    `before[i]` holds the nodes that come before node i, by data or control, as the bits of one number.
    """
    producer = {v: i for i, n in enumerate(part.node) for v in n.output}
    reached_by: dict[int, set[str]] = defaultdict(set)
    for entry in entries_of(part):
        for i in entry.ops:
            reached_by[i].add(entry.name)
    before: list[int] = []
    on_slot: dict[str, list[int]] = {}
    added = 0
    for i, node in enumerate(part.node):
        mine = 0
        for value in reads(node):
            if value in producer:
                mine |= 1 << producer[value] | before[producer[value]]
        spec = find_spec(node.domain, node.op_type)
        if spec is not None and spec.stateful and not is_recv(node):
            for slot in slots_touched(node):
                earlier = on_slot.setdefault(slot, [])
                last = next((j for j in reversed(earlier) if reached_by[i] <= reached_by[j]), None)
                if last is not None and not mine >> last & 1:
                    add_order(node, part.node[last].output[0])
                    mine |= 1 << last | before[last]
                    added += 1
                earlier.append(i)
        before.append(mine)
    return added
