"""What starts a function's ops: its entries, and which ops each one reaches.

An entry is all inputs of the function together (an invoke), or what one Envelope brings (a Recv). An op is reached by
an entry when all its inputs can come from that entry, from constants, or from ops that need no input at all; those last
ones run with the entry of whoever reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from bb_core import keys
from bb_core.ir.proto import attribute

INVOKE = "invoke"


@dataclass(frozen=True, slots=True)
class Entry:
    """One way in which a Frame of a function begins.

    Attributes:
        name: `invoke`, or the edge of the Recv.
        seeds: Values that the entry writes.
        ops: Indices of the nodes that it reaches, in order.
        starts: Those of them that have no input to wait for.
    """

    name: str
    seeds: tuple[str, ...]
    ops: tuple[int, ...]
    starts: tuple[int, ...]


def is_constant(node: onnx.NodeProto) -> bool:
    """Whether a node is a constant, which every Frame holds from the start."""
    return node.op_type == "Constant" and node.domain == keys.ONNX


def is_recv(node: onnx.NodeProto) -> bool:
    """Whether a node is where an Envelope's values arrive."""
    return node.op_type == "Recv" and node.domain == keys.WIRE


def entries_of(function: onnx.FunctionProto) -> list[Entry]:
    """Return a function's entries: the invoke first, then its Recvs in order."""
    nodes = list(function.node)
    found = [entry_for(nodes, INVOKE, function.input)] if function.input else []
    return found + [entry_for(nodes, str(attribute(n, keys.EDGE)), n.output) for n in nodes if is_recv(n)]


def entry_for(nodes: Sequence[onnx.NodeProto], name: str, seeds: Iterable[str]) -> Entry:
    """Work out what a set of written values reaches."""
    seeds = tuple(seeds)
    passive = _passive(nodes)
    still = {v for i in passive for v in nodes[i].output} | {v for n in nodes if is_constant(n) for v in n.output}
    alive = set(seeds)
    live: list[int] = []
    for i, node in enumerate(nodes):
        inputs = [v for v in node.input if v]
        if any(v in alive for v in inputs) and all(v in alive or v in still for v in inputs):
            live.append(i)
            alive.update(node.output)
    wanted = {v for i in live for v in nodes[i].input}
    for i in sorted(passive, reverse=True):
        if any(v in wanted for v in nodes[i].output):
            live.append(i)
            wanted.update(nodes[i].input)
    constants = {v for n in nodes if is_constant(n) for v in n.output}
    ops = tuple(sorted(live))
    starts = tuple(i for i in ops if all(not v or v in constants for v in nodes[i].input))
    return Entry(name, seeds, ops, starts)


def _passive(nodes: Sequence[onnx.NodeProto]) -> set[int]:
    """Ops that wait for nothing from outside: no inputs, or inputs from constants and other such ops only."""
    found: set[int] = set()
    still = {v for n in nodes if is_constant(n) for v in n.output}
    for i, node in enumerate(nodes):
        if is_constant(node) or is_recv(node):
            continue
        if all(not v or v in still for v in node.input):
            found.add(i)
            still.update(node.output)
    return found
