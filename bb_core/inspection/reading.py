"""A program as plain data: what all forms of inspection are made from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from bb_core import keys, places
from bb_core import types as t
from bb_core.ir.entries import BOOTSTRAP, INVOKE, begins, entries_of, is_constant, is_recv
from bb_core.ir.naming import is_bootstrap, target_of
from bb_core.ir.proto import attribute, attributes, control_inputs, data_inputs, metadata, reads, value_types
from bb_core.ops.spec import Answer
from bb_core.ops.table import find_spec

_INTERNAL = {
    keys.AFTER, keys.ORDER, keys.SITES, keys.KINDS, keys.PORTS, keys.EDGE, keys.COUNT, keys.GATES, keys.DELIVERY,
    keys.REPLY, keys.ANSWER, keys.ASKED, keys.GATHER, keys.DEADLINE_DEFAULT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Op:
    """One op of a function."""

    name: str
    op: str
    domain: str
    slot: str
    role: str
    inputs: tuple[str, ...]
    outputs: dict[str, str]
    """Value -> type."""
    after: tuple[str, ...]
    attributes: dict[str, Any]
    entries: tuple[str, ...]
    edge: str
    waits: bool
    """Whether it answers after other peers, or when a time has come."""
    source: str


@dataclass(frozen=True, slots=True)
class Function:
    """What runs on one class of peers."""

    name: str
    target: str
    peer_class: str
    is_bootstrap: bool
    inputs: dict[str, str]
    outputs: dict[str, str]
    entries: dict[str, str]
    """Entry -> what begins it."""
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """What goes from one function to another in one Envelope."""

    name: str
    sender: str
    receiver: str
    values: dict[str, str]
    """Port -> type."""
    is_reply: bool
    gates: tuple[str, ...]
    sites: tuple[int, ...]
    delivery_ns: int


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program, compiled or not."""

    name: str
    passport: dict[str, Any]
    functions: tuple[Function, ...]
    edges: tuple[Edge, ...]
    slots: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Write it as plain data, for JSON."""
        return dataclasses.asdict(self)


def read_program(model: onnx.ModelProto) -> Program:
    """Read a built model, one between two passes, or an artefact."""
    props = metadata(model)
    bindings = json.loads(props.get(keys.BINDINGS, "{}"))
    roles = {k.removeprefix(keys.SLOT_ROLE): v for k, v in props.items() if k.startswith(keys.SLOT_ROLE)}
    slots = {path: {"role": role, **bindings.get(path, {})} for path, role in sorted(roles.items())}
    slots |= {path: binding for path, binding in sorted(bindings.items()) if path not in slots}
    functions = tuple(_function(f, slots) for f in model.functions)
    return Program(
        model.functions[0].name if model.functions else "",
        json.loads(props.get(keys.PASSPORT, "{}")),
        functions,
        tuple(_edges(model)),
        slots,
    )


def _function(proto: onnx.FunctionProto, slots: dict[str, dict[str, Any]]) -> Function:
    types = value_types(proto)
    found = entries_of(proto)
    reached = {i: tuple(e.name for e in found if i in e.ops) for i in range(len(proto.node))}
    for i, node in enumerate(proto.node):
        if begins(node):
            reached[i] = (begins(node),)
    ops = tuple(_op(node, types, slots, reached[i]) for i, node in enumerate(proto.node) if not is_constant(node))
    constants = {n.output[0]: n for n in proto.node if is_constant(n)}
    named = {v: _constant(n) for v, n in constants.items()}
    ops = tuple(dataclasses.replace(o, inputs=tuple(named.get(v, v) for v in o.inputs)) for o in ops)
    return Function(
        proto.name,
        target_of(proto.name),
        metadata(proto).get(keys.PEER_CLASS, keys.OWN_CLASS),
        is_bootstrap(proto.name),
        {v: str(types.get(v, t.ANY)) for v in proto.input},
        {v: str(types.get(v, t.ANY)) for v in proto.output},
        {e.name: _began(e.name, proto) for e in found if e.ops or e.name in (INVOKE, BOOTSTRAP)},
        ops,
    )


def _op(
    node: onnx.NodeProto, types: dict[str, t.Type], slots: dict[str, dict[str, Any]], entries: tuple[str, ...]
) -> Op:
    spec = find_spec(node.domain, node.op_type)
    props = metadata(node)
    slot = props.get(keys.SLOT, "")
    given = data_inputs(node)
    captured = [v for v in reads(node) if v not in node.input]
    return Op(
        node.name,
        node.op_type,
        node.domain,
        slot,
        slots.get(slot, {}).get("role", ""),
        (*given, *captured),
        {v: str(types.get(v, t.ANY)) for v in node.output if v},
        tuple(control_inputs(node)),
        {k: _plain(v) for k, v in attributes(node).items() if k not in _INTERNAL},
        entries,
        str(attribute(node, keys.EDGE, "")) if node.domain == keys.WIRE else "",
        spec is not None and spec.answer in (Answer.NETWORK, Answer.TIME),
        places.short(props.get(keys.SOURCE, "")),
    )


def _edges(model: onnx.ModelProto) -> list[Edge]:
    recvs = {
        (is_bootstrap(f.name), attribute(n, keys.EDGE)): (f, n) for f in model.functions for n in f.node if is_recv(n)
    }
    found = []
    for function in model.functions:
        for node in function.node:
            if (node.domain, node.op_type) != (keys.WIRE, "Send"):
                continue
            there, recv = recvs.get((is_bootstrap(function.name), attribute(node, keys.EDGE)), (function, node))
            types = value_types(there)
            values = zip(attribute(node, keys.PORTS), list(recv.output)[1 if recv is not node else 2 :], strict=False)
            found.append(
                Edge(
                    str(attribute(node, keys.EDGE)),
                    function.name,
                    there.name if recv is not node else metadata(node).get(keys.DESTINATION, "?"),
                    {port: str(types.get(v, t.ANY)) for port, v in values},
                    bool(attribute(node, keys.REPLY, 0)),
                    tuple(attribute(recv, keys.GATES, ())),
                    tuple(s & 0xFFFFFFFFFFFFFFFF for s in attribute(node, keys.SITES, ())),
                    int(attribute(node, keys.DELIVERY, 0)),
                )
            )
    return found


def _began(entry: str, proto: onnx.FunctionProto) -> str:
    if entry == INVOKE:
        return "the host invokes it"
    if entry == BOOTSTRAP:
        return "once, before the body"
    kind = entry.partition(":")[0] if ":" in entry else ""
    return {"timer": "a timer", "event": "an event", "lifecycle": "a phase of life"}.get(kind, "an Envelope")


def _constant(node: onnx.NodeProto) -> str:
    value = np.asarray(attribute(node, "value"))
    return str(value.tolist()) if value.size <= 4 else f"<{value.dtype}{list(value.shape)}>"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= 16 else f"<{value.dtype}{list(value.shape)}>"
    if isinstance(value, onnx.GraphProto):
        return [n.op_type for n in value.node]
    return list(value) if isinstance(value, tuple) else value
