"""From an artefact to flat tables: what all Nodes that install it share."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.engine.dispatch import Plan, Table
from bb_core.engine.governor import GATES
from bb_core.errors import InstallError
from bb_core.ir.entries import INVOKE, Entry, begins, entries_of, entry_for, is_constant, is_on_failure, is_recv
from bb_core.ir.passport import digest_of
from bb_core.ir.proto import (
    attribute,
    attributes,
    captured,
    data_inputs,
    metadata,
    needs,
    order_inputs,
    source_of,
    value_types,
)
from bb_core.ops.spec import Answer, OpSpec
from bb_core.ops.table import find_spec
from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES
from bb_core.types import python_class
from bb_core.version import ARTEFACT_FORMAT


@dataclass(frozen=True, slots=True)
class OpInfo:
    """What is said of an op when it is bound, and when it fails."""

    name: str
    op_type: str
    domain: str
    source: str
    slot: str
    role: str
    spec: OpSpec | None
    attributes: dict[str, Any]
    touched: tuple[str, ...]
    exclusive: bool
    output_classes: tuple[type | None, ...]
    output_ports: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name the op for a message."""
        return f"{self.op_type} of slot {self.slot!r}" if self.slot else self.op_type

    @property
    def waits_for_others(self) -> bool:
        """Whether the op answers when other peers have, or when a time has come: not after computing."""
        return self.spec is not None and self.spec.answer in (Answer.NETWORK, Answer.TIME)

    @property
    def collects(self) -> bool:
        """Whether the op waits for the answers of peers to a request."""
        return self.spec is not None and self.spec.answer is Answer.NETWORK

    @property
    def deadline_ns(self) -> int | None:
        """The op's own deadline, if it has one."""
        return self.attributes.get(keys.DEADLINE)


@dataclass(frozen=True, slots=True)
class Source:
    """An op that begins Frames of its own: every `period` nanoseconds, at an event, or at a phase of life."""

    kind: str
    entry: str
    value: int
    key: str
    period: int


@dataclass(frozen=True, slots=True)
class Export:
    """A value that an Envelope may fill."""

    site: int
    function: str
    edge: str
    value: int
    sender: int
    wanted: type | None
    gates: frozenset[str]
    together: int
    """How many values of this edge one Send gives."""
    lead: int
    """The site of the first of them."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """An invoke with some inputs: which entry that is, where the values go, and of which classes they are."""

    plan: Plan
    indices: tuple[int, ...]
    classes: tuple[type | None, ...]


@dataclass(slots=True)
class FunctionProgram:
    """One target as flat tables."""

    name: str
    peer_class: str
    table: Table
    ops: list[OpInfo]
    inputs: dict[str, int]
    input_types: dict[str, t.Type]
    entries: dict[str, Plan]
    proto: onnx.FunctionProto = field(repr=False)
    index: dict[str, int] = field(repr=False)
    needed_by: dict[int, tuple[int, ...]] = field(repr=False)
    """For each value, the ops that never run without it."""
    watches: tuple[tuple[int, frozenset[int]], ...] = ()
    """For each OnFailure: the value to write, and the ops whose failure it watches for."""
    sources: tuple[Source, ...] = ()

    def outputs(self, op: int) -> list[int]:
        """Return the values that an op writes."""
        return [self.index[name] for name in self.ops[op].output_ports if name]

    def never_run(self, lacking: Iterable[int]) -> Iterator[int]:
        """Give the ops that never run when some values are never written, each once."""
        found: set[int] = set()
        queue = deque(lacking)
        while queue:
            for reader in self.needed_by.get(queue.popleft(), ()):
                if reader not in found:
                    found.add(reader)
                    queue += self.outputs(reader)
                    yield reader

    invocations: dict[tuple[str, ...], Invocation] = field(default_factory=dict, repr=False)
    """Those that have been asked for, by key."""

    def invocation(self, key: tuple[str, ...]) -> Invocation:
        """Return what an invoke comes to; its key is the function's name, then its inputs', as they are given."""
        found = self.invocations.get(key)
        if found is None:
            names = key[1:]
            indices = tuple(self.inputs[n] for n in names)
            classes = tuple(python_class(self.input_types[n]) for n in names)
            found = self.invocations[self.name, *names] = Invocation(self.invoke_plan(names), indices, classes)
        return found

    def invoke_plan(self, given: Sequence[str]) -> Plan:
        """Return the plan of an invoke that gives these inputs."""
        key = f"{INVOKE}:{','.join(sorted(given))}"
        plan = self.entries.get(key)
        if plan is None:
            entry = entry_for(list(self.proto.node), key, given)
            plan = self.entries[key] = _plan(entry, self)
        return plan


@dataclass(slots=True)
class Program:
    """An artefact, verified and flattened."""

    digest: str
    functions: dict[str, FunctionProgram]
    bindings: dict[str, dict[str, Any]]
    exports: dict[int, Export]
    slot_classes: dict[str, str]
    component_functions: dict[str, FunctionProgram] = field(default_factory=dict)
    """Functions of what begins in components, made when a Node first has one."""


_cache: dict[str, Program] = {}
_CACHED = 32


def load_program(model: onnx.ModelProto) -> Program:
    """Verify an artefact and flatten it. Nodes of one process share the result.

    Raises:
        InstallError: it is not compiled, of another format, or changed since.
    """
    props = metadata(model)
    if keys.PASSPORT not in props:
        raise InstallError("the model is not compiled", hint="call Compiler().bind({...}).compile(module) first")
    passport = json.loads(props[keys.PASSPORT])
    if passport.get("format") != ARTEFACT_FORMAT:
        raise InstallError(
            f"the artefact has format {passport.get('format')}",
            expected=f"format {ARTEFACT_FORMAT}",
            hint="compile it again with this version",
        )
    digest = digest_of(model)
    if digest != passport["digest"]:
        raise InstallError("the artefact was changed after it was compiled", hint="compile it again")
    program = _cache.get(digest)
    if program is None:
        program = _flatten(model, digest, props)
        if len(_cache) >= _CACHED:
            del _cache[next(iter(_cache))]
        _cache[digest] = program
    return program


def _flatten(model: onnx.ModelProto, digest: str, props: dict[str, str]) -> Program:
    bindings = json.loads(props[keys.BINDINGS])
    for path, binding in bindings.items():
        if binding["role"] not in ROLES:
            raise InstallError(
                f"the slot {path!r} is one of the Role {binding['role']!r}, which no plugin adds here",
                expected=f"a plugin that adds it; there are: {', '.join(sorted(ROLES))}",
            )
        if binding["role"] == keys.PROTOCOL and binding["concrete"] is not None:
            installed_plugins().resolve(binding["concrete"])  # its module declares the protocol's ops
    functions = {f.name: _function(f, bindings) for f in model.functions}
    exports: dict[int, Export] = {}
    for function in functions.values():
        for node in function.proto.node:
            for gate in attribute(node, keys.GATES, ()) if node.domain == keys.WIRE else ():
                if gate not in GATES:
                    raise InstallError(
                        f"the artefact asks for the gate {gate!r}, which this engine does not have",
                        where=source_of(node),
                        expected=", ".join(sorted(GATES)),
                    )
            if is_recv(node):
                _export(node, function, exports)
    classes = {k.removeprefix(keys.SLOT_CLASS): v for k, v in props.items() if k.startswith(keys.SLOT_CLASS)}
    return Program(digest, functions, bindings, exports, classes)


def _function(proto: onnx.FunctionProto, bindings: dict[str, dict[str, Any]]) -> FunctionProgram:
    nodes = [n for n in proto.node if not is_constant(n)]
    constants = [n for n in proto.node if is_constant(n)]
    names = [*proto.input, *(v for n in (*constants, *nodes) for v in n.output if v)]
    index = {v: i for i, v in enumerate(names)}
    fixed = {n.output[0] for n in constants}
    needed = [[] if is_on_failure(n) else needs(n) for n in nodes]
    read = {v for values in needed for v in values}
    tokens = _tokens(nodes, len(names))
    index |= {f"{nodes[i].name} is over": token for i, token in enumerate(tokens) if token >= 0}
    maker = {v: i for i, n in enumerate(nodes) for v in n.output}
    waits = [
        sorted({index[v] for v in values if v not in fixed} | {tokens[maker[v]] for v in order_inputs(n)})
        for n, values in zip(nodes, needed, strict=True)
    ]
    inputs = [[index.get(v, -1) for v in _arguments(n)] for n in nodes]
    outputs = [[index[v] if v in read else -1 for v in n.output] for n in nodes]
    any_of = frozenset(i for i, n in enumerate(nodes) if (spec := find_spec(n.domain, n.op_type)) and spec.any_of)
    held = tuple((index[n.output[0]], _constant(n)) for n in constants)
    table = Table(proto.name, len(index), waits, inputs, outputs, held, any_of, tokens)
    types = value_types(proto)
    ops = [_info(n, types, bindings) for n in nodes]
    function = FunctionProgram(
        proto.name,
        metadata(proto).get(keys.PEER_CLASS, keys.OWN_CLASS),
        table,
        ops,
        {v: index[v] for v in proto.input},
        {v: types.get(v, t.ANY) for v in proto.input},
        {},
        proto,
        index,
        _needed_by(nodes, needed, index, any_of) if any(token >= 0 for token in tokens) else {},
        _watches(nodes, index),
        tuple(_source(n, index) for n in nodes if begins(n) and not is_recv(n)),
    )
    for entry in entries_of(proto):
        function.entries[entry.name] = _plan(entry, function)
    return function


def _tokens(nodes: Sequence[onnx.NodeProto], first: int) -> list[int]:
    """For each op, the index of the value that says that it is over; -1 where no other op on its slot waits for it."""
    waited = {v for n in nodes for v in order_inputs(n)}
    tokens = []
    for node in nodes:
        tokens.append(first if waited.intersection(node.output) else -1)
        first += tokens[-1] >= 0
    return tokens


def _arguments(node: onnx.NodeProto) -> list[str]:
    """What an op is called with: its inputs, then what its bodies take from outside."""
    return [*data_inputs(node), *captured(node)]


def _needed_by(
    nodes: Sequence[onnx.NodeProto], needed: Sequence[list[str]], index: dict[str, int], any_of: frozenset[int]
) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for i in range(len(nodes)):
        for value in dict.fromkeys(needed[i]) if i not in any_of else ():
            found[index[value]] = (*found.get(index[value], ()), i)
    return found


def _watches(nodes: Sequence[onnx.NodeProto], index: dict[str, int]) -> tuple[tuple[int, frozenset[int]], ...]:
    """For each OnFailure, the value that it gives and the ops whose failure it watches for."""
    producer = {v: i for i, n in enumerate(nodes) for v in n.output}
    found = []
    for node in nodes:
        if is_on_failure(node):
            watched: set[int] = set()
            queue = [v for v in node.input if v in producer]
            while queue:
                i = producer[queue.pop()]
                if i not in watched:
                    watched.add(i)
                    queue += [v for v in needs(nodes[i]) if v in producer]
            found.append((index[node.output[0]], frozenset(watched)))
    return tuple(found)


def _source(node: onnx.NodeProto, index: dict[str, int]) -> Source:
    entry = begins(node)
    attrs = attributes(node)
    key = str(attrs.get("phase", attrs.get("kind", "")))
    return Source(entry.partition(":")[0], entry, index[node.output[0]], key, int(attrs.get("period", 0)))


def _kept(proto: onnx.FunctionProto, nodes: Sequence[int]) -> list[int]:
    """Turn indices of nodes into indices of ops, which leave constants out."""
    position, at = {}, 0
    for i, node in enumerate(proto.node):
        if not is_constant(node):
            position[i] = at
            at += 1
    return [position[i] for i in nodes]


def _plan(entry: Entry, function: FunctionProgram) -> Plan:
    ops = [function.ops[i] for i in _kept(function.proto, entry.ops)]
    exclusive = [op for op in ops if op.exclusive]
    claims = sorted({s for op in exclusive for s in op.touched})
    touched = frozenset(s for op in ops for s in op.touched)
    starts = tuple(_kept(function.proto, entry.starts))
    over = tuple(function.table.tokens[i] for i in _kept(function.proto, entry.absent))
    return Plan(entry.name, function.table, starts, tuple(claims), len(exclusive), touched, over)


def _info(node: onnx.NodeProto, types: dict[str, t.Type], bindings: dict[str, dict[str, Any]]) -> OpInfo:
    spec = find_spec(node.domain, node.op_type)
    attrs = attributes(node)
    if captured(node):
        attrs["captures"] = tuple(captured(node))
    if node.domain == keys.ONNX and len(node.output) > 1:
        attrs["outputs"] = len(node.output)
    slot = metadata(node).get(keys.SLOT, "")
    touched = tuple(dict.fromkeys([slot, *(attrs[s.name] for s in (spec.slots if spec else ()))])) if slot else ()
    role = str(bindings[slot]["role"]) if slot else ""
    exclusive = any(ROLES[bindings[s]["role"]].exclusive for s in touched)
    classes = tuple(python_class(types.get(v, t.ANY)) for v in node.output)
    return OpInfo(
        node.name, node.op_type, node.domain, source_of(node), slot, role, spec, attrs, touched, exclusive, classes,
        tuple(node.output),
    )  # fmt: skip


def _constant(node: onnx.NodeProto) -> Any:
    array = attribute(node, "value")
    array.flags.writeable = False
    return array


def _export(node: onnx.NodeProto, function: FunctionProgram, exports: dict[int, Export]) -> None:
    sites = attribute(node, keys.SITES)
    gates = attribute(node, keys.GATES, ())
    types = value_types(function.proto)
    for site, value in zip(sites, list(node.output)[1:], strict=True):
        unsigned = site & 0xFFFFFFFFFFFFFFFF
        exports[unsigned] = Export(
            unsigned,
            function.name,
            attribute(node, keys.EDGE),
            function.index[value],
            function.index[node.output[0]],
            python_class(types.get(value, t.ANY)),
            frozenset(gates),
            len(sites),
            sites[0] & 0xFFFFFFFFFFFFFFFF,
        )


__all__ = ["Export", "FunctionProgram", "OpInfo", "Program", "load_program"]
