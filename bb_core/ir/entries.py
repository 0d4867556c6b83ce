"""What starts a function's ops: its entries, and which ops each one reaches.

An entry is all inputs of the function together (an invoke), what one Envelope brings (a Recv), a timer, an event or a
phase of life (a source), or the bootstrap. An op is reached by an entry when all its inputs can come from that entry,
from constants, or from ops that need no input at all; those last ones run with the entry of whoever reads them, and all
of them with the bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Final

import onnx

from bb_core import keys
from bb_core.ir.naming import is_bootstrap
from bb_core.ir.proto import attribute, metadata, needs, order_inputs
from bb_core.ops.table import find_spec

INVOKE: Final = "invoke"
BOOTSTRAP: Final = "bootstrap"


@dataclass(frozen=True, slots=True)
class Entry:
    """One way in which a Frame of a function begins.

    Attributes:
        name: `invoke`, `bootstrap`, the edge of a Recv, or `<source>:<node>`.
        seeds: Values that the entry writes.
        ops: Indices of the nodes that it reaches, in order.
        starts: Those of them that have no input to wait for.
        absent: Indices of nodes that come before one of its ops on a slot, and that it does not reach.
    """

    name: str
    seeds: tuple[str, ...]
    ops: tuple[int, ...]
    starts: tuple[int, ...]
    absent: tuple[int, ...] = ()


def is_constant(node: onnx.NodeProto) -> bool:
    """Whether a node is a constant, which every Frame holds from the start."""
    return node.op_type == "Constant" and node.domain == keys.ONNX


def is_recv(node: onnx.NodeProto) -> bool:
    """Whether a node is where an Envelope's values arrive."""
    return node.op_type == "Recv" and node.domain == keys.WIRE


def is_on_failure(node: onnx.NodeProto) -> bool:
    """Whether a node watches its input instead of waiting for it."""
    return node.op_type == "OnFailure" and node.domain == keys.SYSCALL


def source_entry(node: onnx.NodeProto) -> str:
    """Name of the entry that a source begins (`timer:Interval_0`); empty for any other op."""
    if node.domain in (keys.ONNX, keys.MODULE):
        return ""
    spec = find_spec(node.domain, node.op_type)
    return f"{spec.source}:{node.name}" if spec is not None and spec.source else ""


def begins(node: onnx.NodeProto) -> str:
    """Name of the entry that a node begins: a Recv's edge, or a source's; empty for any other op."""
    return str(attribute(node, keys.EDGE)) if is_recv(node) else source_entry(node)


def entries_of(function: onnx.FunctionProto) -> list[Entry]:
    """Return a function's entries: the invoke or bootstrap first, then its Recvs and sources in order."""
    nodes = list(function.node)
    first = _first_entry(function)
    seeds = [(first, tuple(function.input))] if first else []
    for node in nodes:
        name = begins(node)
        if name:
            seeds.append((name, tuple(node.output)))
    return _reach(nodes, seeds)


def entry_for(nodes: Sequence[onnx.NodeProto], name: str, seeds: Iterable[str]) -> Entry:
    """Work out what a set of written values reaches."""
    return _reach(nodes, [(name, tuple(seeds))])[0]


def _first_entry(function: onnx.FunctionProto) -> str:
    if is_bootstrap(function.name):
        own = metadata(function).get(keys.PEER_CLASS, keys.OWN_CLASS) == keys.OWN_CLASS
        return BOOTSTRAP if own else ""
    return INVOKE if function.input else ""


def _reach(nodes: Sequence[onnx.NodeProto], entries: Sequence[tuple[str, tuple[str, ...]]]) -> list[Entry]:
    """Go through the nodes once forward and once backward; a set of entries is the bits of one number."""
    inputs = [needs(n) for n in nodes]
    maker = {v: i for i, n in enumerate(nodes) for v in n.output}
    constants = {n.output[0] for n in nodes if is_constant(n)}
    reached, passive = _forward(nodes, inputs, constants, entries)
    _backward(nodes, inputs, reached, passive)
    found = []
    for bit, (name, seeds) in enumerate(entries):
        ops = tuple(i for i, mask in enumerate(reached) if mask >> bit & 1)
        first = [i for i in ops if not is_on_failure(nodes[i]) and all(v in constants for v in inputs[i])]
        starts = tuple(i for i in first if not order_inputs(nodes[i]))
        among = set(ops)
        ahead = {maker[v] for i in ops for v in order_inputs(nodes[i])} - among
        found.append(Entry(name, seeds, ops, starts, tuple(sorted(ahead))))
    return found


def _forward(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[list[str]],
    constants: set[str],
    entries: Sequence[tuple[str, tuple[str, ...]]],
) -> tuple[list[int], set[int]]:
    """Find which entries reach each node, and the nodes that wait for nothing from outside."""
    alive: dict[str, int] = {}
    for bit, (_, seeds) in enumerate(entries):
        for value in seeds:
            alive[value] = alive.get(value, 0) | 1 << bit
    boot = sum(1 << bit for bit, (name, _) in enumerate(entries) if name == BOOTSTRAP)
    still = set(constants)
    reached = [0] * len(nodes)
    passive: set[int] = set()
    for i, node in enumerate(nodes):
        if is_constant(node) or begins(node):
            continue
        masks = [alive.get(v, 0) for v in inputs[i] if v not in still]
        if masks:
            reached[i] = reduce(or_ if _is_any_of(node) else and_, masks)
            alive.update(dict.fromkeys(node.output, reached[i]))
        else:
            passive.add(i)
            reached[i] = boot
            still.update(node.output)
    return reached, passive


def _backward(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[list[str]], reached: list[int], passive: set[int]
) -> None:
    """Let the nodes that wait for nothing run with the entries of whoever reads them."""
    wanted: dict[str, int] = {}
    for i in range(len(nodes) - 1, -1, -1):
        if i in passive:
            for value in nodes[i].output:
                reached[i] |= wanted.get(value, 0)
        if reached[i]:
            for value in inputs[i]:
                wanted[value] = wanted.get(value, 0) | reached[i]


def _is_any_of(node: onnx.NodeProto) -> bool:
    spec = find_spec(node.domain, node.op_type) if node.domain != keys.ONNX else None
    return spec is not None and spec.any_of
