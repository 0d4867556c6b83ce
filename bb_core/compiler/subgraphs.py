"""A stage: ops that one Backend does one after another become one op, which the Backend is given as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.ir.encode import set_opsets
from bb_core.ir.entries import entries_of, is_constant
from bb_core.ir.proto import attribute, captured, make_node, metadata, reads
from bb_core.roles.backend import Backend

_FUNCTION_INPUTS = -1


@dataclass(slots=True)
class _Region:
    """Ops that become one.

    Attributes:
        ops: Indices of the nodes.
        slot: Of the Backend.
        entries: What reaches all of them.
        sources: Nodes outside whose outputs it reads; -1 stands for the inputs of the function. Never more than one,
            so that the whole region can run as soon as its first op could.
    """

    slot: str
    entries: tuple[str, ...]
    ops: list[int] = field(default_factory=list)
    sources: set[int] = field(default_factory=set)


def collapse_subgraphs(model: onnx.ModelProto, state: State) -> None:
    """Join the ONNX ops of a Backend slot, where all that they read arrives at once and the Backend runs graphs itself.

    What the program gives is the same, and so is when it gives it; an error in the region names its first op's line.
    Ops of a late slot stay as they are.
    """
    for function in model.functions:
        nodes = list(function.node)
        regions = [r for r in _regions(function, nodes, state) if len(r.ops) > 1]
        if regions:
            _replace(function, nodes, regions)
            state.counts["ops collapsed"] += sum(len(r.ops) for r in regions)
    set_opsets(model)


def _regions(function: onnx.FunctionProto, nodes: Sequence[onnx.NodeProto], state: State) -> list[_Region]:
    maker = {v: i for i, n in enumerate(nodes) for v in n.output if v}
    fixed = {i for i, n in enumerate(nodes) if is_constant(n)}
    reached: dict[int, tuple[str, ...]] = {}
    for entry in entries_of(function):
        for i in entry.ops:
            reached[i] = (*reached.get(i, ()), entry.name)
    regions: list[_Region] = []
    home: dict[int, _Region] = {}
    feeds: list[set[int]] = []  # for each node those that it reads from, constants left out
    for i, node in enumerate(nodes):
        feeds.append({maker.get(v, _FUNCTION_INPUTS) for v in reads(node)} - fixed)
        slot = metadata(node).get(keys.SLOT, "")
        if not _can_join(node, slot, state) or i not in reached:
            continue
        found = next((r for r in _neighbours(feeds[i], home) if _may_join(i, slot, reached[i], r, feeds, home)), None)
        if found is None:
            found = _Region(slot, reached[i])
            regions.append(found)
        found.ops.append(i)
        found.sources |= feeds[i] - set(found.ops)
        home[i] = found
    return [r for r in regions if len(r.sources) <= 1]


def _can_join(node: onnx.NodeProto, slot: str, state: State) -> bool:
    if node.domain != keys.ONNX or is_constant(node) or captured(node) or slot not in state.bound:
        return False
    concrete = state.bound[slot].concrete
    return concrete is not None and issubclass(concrete, Backend) and _runs_graphs(concrete)


def _runs_graphs(concrete: type[Backend]) -> bool:
    """Say whether a class does something of its own with graphs, and no heir has put its own kernels before that."""
    graph, kernel = (
        next(at for at, c in enumerate(concrete.__mro__) if name in vars(c)) for name in ("graph", "kernel")
    )
    return concrete.__mro__[graph] is not Backend and graph <= kernel


def _neighbours(feeds: set[int], home: dict[int, _Region]) -> Iterator[_Region]:
    for i in sorted(feeds, reverse=True):
        if i in home:
            yield home[i]


def _may_join(
    node: int, slot: str, entries: tuple[str, ...], region: _Region, feeds: Sequence[set[int]], home: dict[int, _Region]
) -> bool:
    inside = set(region.ops)
    sources = region.sources | (feeds[node] - inside)
    if (slot, entries) != (region.slot, region.entries) or len(sources) > 1:
        return False
    return not any(_depends(s, inside, feeds, home) for s in feeds[node] - inside)


def _depends(node: int, wanted: set[int], feeds: Sequence[set[int]], home: dict[int, _Region]) -> bool:
    """Say whether a node, or the region that it is in, reads what some nodes make."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        at = todo.pop()
        if at in wanted:
            return True
        if at == _FUNCTION_INPUTS or at in seen:
            continue
        together = home[at].ops if at in home else [at]
        seen.update(together)
        todo += [f for i in together for f in feeds[i]]
    return False


def _replace(function: onnx.FunctionProto, nodes: Sequence[onnx.NodeProto], regions: Sequence[_Region]) -> None:
    """Put one op in the place of each region's first, constants first of all, and drop what nobody reads any more."""
    types = {v.name: v for v in function.value_info}
    gone = {i for r in regions for i in r.ops}
    first = {r.ops[0]: r for r in regions}
    constants = {n.output[0]: n for n in nodes if is_constant(n)}
    read_outside = set(function.output) | {v for i, n in enumerate(nodes) if i not in gone for v in reads(n)}
    kept = []
    for i, node in enumerate(nodes):
        if i in first:
            others = {v for r in regions if r is not first[i] for k in r.ops for v in reads(nodes[k])}
            kept.append(_subgraph(first[i], nodes, constants, read_outside | others, types))
        elif i not in gone and not is_constant(node):
            kept.append(node)
    wanted = set(function.output) | {v for n in kept for v in reads(n)}
    ordered = [n for v, n in constants.items() if v in wanted] + kept
    left = set(function.input) | {v for n in ordered for v in n.output}
    del function.node[:], function.value_info[:]
    function.node.extend(ordered)
    function.value_info.extend(v for name, v in types.items() if name in left)


def _subgraph(
    region: _Region,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, onnx.NodeProto],
    read_outside: set[str],
    types: dict[str, onnx.ValueInfoProto],
) -> onnx.NodeProto:
    ops = [nodes[i] for i in region.ops]
    made = [v for n in ops for v in n.output if v]
    taken = [v for v in dict.fromkeys(v for n in ops for v in reads(n)) if v not in made]
    inputs = [v for v in taken if v not in constants]
    outputs = [v for v in made if v in read_outside]
    graph = onnx.GraphProto(name=ops[0].name)
    graph.node.extend(ops)
    graph.input.extend(_typed(v, types) for v in inputs)
    graph.output.extend(onnx.ValueInfoProto(name=v) for v in outputs)
    for v in taken:
        if v in constants:
            graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(attribute(constants[v], "value"), v))
    node = make_node(keys.SUBGRAPH, keys.FRAMEWORK, inputs, outputs, ops[0].name, {}, metadata(ops[0]))
    node.attribute.append(onnx.helper.make_attribute(keys.BODY, graph))
    return node


def _typed(name: str, types: dict[str, onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    """Declare an input, with its type where that is a tensor's."""
    known = types.get(name)
    if known is not None and known.type.HasField("tensor_type"):
        return onnx.ValueInfoProto(name=name, type=onnx.TypeProto(tensor_type=known.type.tensor_type))
    return onnx.ValueInfoProto(name=name)
