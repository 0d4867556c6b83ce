"""Pass 10."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.components import component_ids
from bb_core.compiler.state import State
from bb_core.errors import MalformedProgram, SiteCollision
from bb_core.ids import site_id
from bb_core.ir.entries import is_recv
from bb_core.ir.naming import is_bootstrap
from bb_core.ir.proto import attribute, set_attribute, source_of, value_types


def analyze_wire_edges(model: onnx.ModelProto, state: State) -> None:
    """Give every value that crosses the network its destination: a 64-bit hash of function and port.

    Sender and receiver work it out from the artefact alone, so they agree without ever having met.

    Needs: partitions. Leaves: `sites` on Sends and Recvs, `kinds` (type names) on both. Fails with: SiteCollision,
    MalformedProgram for two edges of one name.
    """
    taken: dict[int, str] = {}
    edges: dict[tuple[bool, str], tuple[tuple[int, ...], tuple[str, ...]]] = {}
    for function in model.functions:
        types = value_types(function)
        for node in function.node:
            if not is_recv(node):
                continue
            if _edge(function, node) in edges:
                state.add(
                    MalformedProgram(f"two Sends are named {attribute(node, keys.EDGE)!r}", where=source_of(node))
                )
            sites = tuple(site_id(function.name, port) for port in attribute(node, keys.PORTS))
            kinds = tuple(types.get(v, t.ANY).denotation for v in node.output[1:])
            for site, port in zip(sites, attribute(node, keys.PORTS), strict=True):
                _claim(
                    taken, site, f"{port} of {attribute(node, keys.EDGE)} at {function.name}", source_of(node), state
                )
            edges[_edge(function, node)] = (tuple(_signed(s) for s in sites), kinds)
    for function in model.functions:
        for node in function.node:
            if node.domain == keys.WIRE and node.op_type in ("Send", "Recv"):
                sites_signed, kinds = edges[_edge(function, node)]
                set_attribute(node, keys.SITES, sites_signed)
                set_attribute(node, keys.KINDS, kinds)
    components: dict[int, str] = {}
    for path, number in component_ids(model, state).items():
        _claim(components, number, path, "", state)


def _edge(function: onnx.FunctionProto, node: onnx.NodeProto) -> tuple[bool, str]:
    """What pairs a Send with its Recv: edges of a body and of a bootstrap may have one name."""
    return is_bootstrap(function.name), str(attribute(node, keys.EDGE))


def _claim(taken: dict[int, str], number: int, owner: str, where: str, state: State) -> None:
    if number in taken and taken[number] != owner:
        state.add(
            SiteCollision(
                f"{owner!r} and {taken[number]!r} have one id, {number:#x}", where=where, hint="rename one of them"
            )
        )
    taken[number] = owner


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
