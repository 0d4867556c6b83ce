"""Pass 8."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State, slots_touched
from bb_core.ir.encode import set_graph
from bb_core.ir.entries import entries_of, is_constant, is_recv
from bb_core.ir.proto import add_control, metadata, set_metadata, set_value_types, value_types
from bb_core.ops.table import find_spec
from bb_core.types import Type


def partition_by_wire_ops(model: onnx.ModelProto, state: State) -> None:
    """Cut the program at its network edges: one function for each class of peers.

    They are named `<Module>` and `<Module>@<class>`.
    Constants are copied into each function that reads them. Ops on one stateful slot then get control edges in the
    order in which they were written, within one entry; ops that are ordered already get none.

    Needs: homes, Recvs. Leaves: the functions, sorted by class, and a graph that calls each. Fails with: nothing.
    """
    root = model.functions[0]
    types = value_types(root)
    homes = sorted({metadata(n).get(keys.HOME, keys.OWN_CLASS) for n in root.node if not is_constant(n)})
    parts = [_part(root, home, types) for home in homes]
    del model.functions[:]
    for part in parts:
        _order_on_slots(part)
        model.functions.append(part)
    entries = {}
    for part in parts:
        known = value_types(part)
        entries[part.name] = ({v: known[v] for v in part.input}, {v: known[v] for v in part.output})
    set_graph(model, entries)


def _part(root: onnx.FunctionProto, home: str, types: dict[str, Type]) -> onnx.FunctionProto:
    part = onnx.FunctionProto()
    part.name = f"{root.name}@{home}" if home else root.name
    part.domain = keys.MODULE
    set_metadata(part, keys.PEER_CLASS, home)
    if home == keys.OWN_CLASS:
        part.input.extend(root.input)
    mine = [n for n in root.node if not is_constant(n) and metadata(n).get(keys.HOME, keys.OWN_CLASS) == home]
    read = {v for n in mine for v in n.input}
    names = {n.name for n in mine}
    part.node.extend(n for n in root.node if n.name in names or (is_constant(n) and n.output[0] in read))
    produced = {v for n in part.node for v in n.output}
    part.output.extend(v for v in root.output if v in produced)
    set_value_types(part, {v: x for v, x in types.items() if v in produced or v in part.input})
    return part


def _order_on_slots(part: onnx.FunctionProto) -> None:
    entries = entries_of(part)
    reached_by = [frozenset(e.name for e in entries if i in e.ops) for i in range(len(part.node))]
    before: dict[str, list[int]] = {}
    ancestors = _Ancestors(part)
    for i, node in enumerate(part.node):
        spec = find_spec(node.domain, node.op_type)
        if spec is None or not spec.stateful or is_recv(node):
            continue
        for slot in slots_touched(node):
            earlier = before.setdefault(slot, [])
            last = next((j for j in reversed(earlier) if reached_by[i] <= reached_by[j]), None)
            if last is not None and not ancestors.has(i, last):
                add_control(node, part.node[last].output[0])
                ancestors.add(i, last)
            earlier.append(i)


class _Ancestors:
    """Which nodes come before which, by data or control."""

    def __init__(self, part: onnx.FunctionProto) -> None:
        producer = {v: i for i, n in enumerate(part.node) for v in n.output}
        self._sets: list[set[int]] = []
        for node in part.node:
            direct = {producer[v] for v in node.input if v in producer}
            self._sets.append(direct.union(*(self._sets[j] for j in direct)))

    def has(self, node: int, ancestor: int) -> bool:
        return ancestor in self._sets[node]

    def add(self, node: int, ancestor: int) -> None:
        new = {ancestor} | self._sets[ancestor]
        for i in range(node, len(self._sets)):
            if i == node or node in self._sets[i]:
                self._sets[i] |= new
