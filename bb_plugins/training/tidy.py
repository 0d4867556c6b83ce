"""`tidied`: a derived graph without what is computed twice, passed on unchanged, or read by nobody.

Only what cannot change a bit of the result is done: common subexpressions, Identity, dead code.
"""

from __future__ import annotations

import onnx
from onnx import helper

_DRAWS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def tidied(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Return a graph of the same inputs and outputs that computes the same with fewer nodes."""
    outputs = {o.name for o in graph.output}
    known: dict[bytes, onnx.NodeProto] = {}
    other: dict[str, str] = {}
    """What stands for a value that is not computed again."""
    nodes = []
    for node in graph.node:
        mine = onnx.NodeProto()
        mine.CopyFrom(node)
        mine.input[:] = [other.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            other[node.output[0]] = mine.input[0]
            continue
        twin = known.setdefault(_content(mine), mine)
        if twin is not mine and _may_stand_for(twin, mine, outputs) and not _has_body(mine):
            other |= {m: t for m, t in zip(mine.output, twin.output, strict=True) if m}
            continue
        nodes.append(mine)
    return pruned(helper.make_graph(nodes, graph.name, list(graph.input), list(graph.output), list(graph.initializer)))


def _content(node: onnx.NodeProto) -> bytes:
    """What a node computes: equal for two that give the same."""
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    bare.name = ""
    del bare.output[:]
    return bytes(bare.SerializeToString(deterministic=True))


def _may_stand_for(twin: onnx.NodeProto, node: onnx.NodeProto, outputs: set[str]) -> bool:
    if node.op_type in _DRAWS or len(twin.output) != len(node.output) or outputs.intersection(node.output):
        return False
    return all(t or not m for t, m in zip(twin.output, node.output, strict=True))


def _has_body(node: onnx.NodeProto) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def pruned(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Leave out the nodes and initializers whose values nobody reads."""
    wanted = {o.name for o in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(filter(None, node.input))
            for attribute in node.attribute:
                for inner in [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else ():
                    wanted.update(name for n in inner.node for name in n.input)
    initializers = [i for i in graph.initializer if i.name in wanted]
    return helper.make_graph(kept[::-1], graph.name, list(graph.input), list(graph.output), initializers)
