"""Pass 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.errors import MalformedProgram
from bb_core.ir.proto import (
    attribute,
    attributes,
    control_inputs,
    data_inputs,
    make_node,
    metadata,
    set_attribute,
    source_of,
)
from bb_core.ops.spec import REQUIRED
from bb_core.ops.table import find_spec


def expand_ops(model: onnx.ModelProto, state: State) -> None:
    """Replace ops that stand for several by those, and write the defaults of attributes that are absent.

    A Gather becomes a `Gather.Contribute`, which runs in the Frame of each answer, and a `Gather.Collect`, which waits
    in the Frame that asked.

    Needs: declared ops. Leaves: no op whose declaration names this pass. Fails with: MalformedProgram, for one that
    nobody knows how to expand.
    """
    for function in model.functions:
        nodes: list[onnx.NodeProto] = []
        for node in function.node:
            spec = find_spec(node.domain, node.op_type)
            if spec is None or not spec.expanded_by:
                _write_defaults(node)
                nodes.append(node)
                continue
            expand = _EXPANSIONS.get(spec.key)
            if expand is None:
                state.add(MalformedProgram(f"nothing expands {node.op_type}", where=source_of(node)))
                continue
            nodes.extend(expand(node))
            state.counts["ops expanded"] += 1
        if len(nodes) != len(function.node):
            kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
            del function.node[:]
            function.node.extend(kept)


def _write_defaults(node: onnx.NodeProto) -> None:
    spec = find_spec(node.domain, node.op_type)
    for a in spec.attributes if spec else ():
        if a.default not in (None, REQUIRED, ()) and attribute(node, a.name) is None:
            set_attribute(node, a.name, int(a.default) if a.kind == "bool" else a.default)


def _gather(node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
    peers, request, *received = data_inputs(node)
    props = metadata(node)
    given = attributes(node)
    contribute = f"{node.name}.contribute"
    yield make_node(
        "Gather.Contribute", keys.WIRE, received, [f"{contribute}.done"], contribute, {keys.GATHER: node.name}, props
    )
    control = control_inputs(node)
    attrs = {
        keys.GATHER: node.name,
        keys.COUNT: len(received),
        "n": given.get("n", 0),
        "minimum": given.get("minimum", 1),
    }
    if given.get("deadline"):
        attrs[keys.DEADLINE] = given["deadline"]
    if control:
        attrs[keys.AFTER] = len(control)
    yield make_node("Gather.Collect", keys.WIRE, [peers, request, *control], list(node.output), node.name, attrs, props)


_EXPANSIONS: Final[dict[tuple[str, str], Callable[[onnx.NodeProto], Iterable[onnx.NodeProto]]]] = {
    (keys.WIRE, "Gather"): _gather,
}
