"""The protocol lint: what is legal piece by piece, and wrong or doubtful as a whole.

One rule is one function, in one table; it yields errors, and warnings where the program may still be what its author
wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.state import State, slot_of
from bb_core.errors import (
    CompileError,
    DefaultDeadline,
    ImpossibleQuorum,
    NoWireType,
    ProtocolWarning,
    UncollectedAnswer,
    UnreadSend,
    UnusedInput,
    UnusedValue,
)
from bb_core.ir.entries import entries_of, is_constant, is_recv
from bb_core.ir.proto import attribute, data_inputs, input_source, metadata, reads, source_of, value_types
from bb_core.ops.spec import Answer
from bb_core.ops.table import find_spec
from bb_core.wire.payloads import travels


class _Function:
    """A function with what the rules ask of it, each worked out once."""

    def __init__(self, proto: onnx.FunctionProto) -> None:
        self.proto = proto
        self.nodes = list(proto.node)
        self.producer = {v: n for n in self.nodes for v in n.output}
        self.read = {v for n in self.nodes for v in reads(n)}
        self.sends = [n for n in self.nodes if (n.domain, n.op_type) == (keys.WIRE, "Send")]
        self.recvs = [n for n in self.nodes if is_recv(n)]


@dataclass(frozen=True, slots=True)
class _Program:
    functions: list[_Function]
    state: State


Rule = Callable[[_Program], Iterator[CompileError]]


def lint(model: onnx.ModelProto, state: State) -> None:
    """Run every rule; add errors and warnings to the state, in order of the rules."""
    program = _Program([_Function(f) for f in model.functions], state)
    for rule in RULES:
        for finding in rule(program):
            if isinstance(finding, ProtocolWarning):
                state.warn(finding)
            else:
                state.add(finding)


def _impossible_quorum(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        for node in function.nodes:
            if not _waits(node):
                continue
            cohort = _cohort(function, node)
            wanted = _wanted(function, node, program.state)
            quorum, minimum = wanted.get("quorum"), wanted.get("minimum")
            if quorum is not None and cohort is not None and quorum > cohort:
                yield _quorum(node, f"wants {quorum} answers of a cohort of {cohort}", f"a quorum of at most {cohort}")
            elif minimum is not None and cohort is not None and minimum > cohort:
                yield _quorum(
                    node, f"needs at least {minimum} answers of a cohort of {cohort}", f"a minimum of at most {cohort}"
                )
            elif minimum is not None and quorum is not None and minimum > quorum:
                yield _quorum(
                    node,
                    f"closes at {quorum} answers and needs at least {minimum}",
                    f"a minimum of at most {quorum}, or a larger quorum",
                )


def _quorum(node: onnx.NodeProto, what: str, expected: str) -> ImpossibleQuorum:
    return ImpossibleQuorum(f"{node.op_type} {what}", where=source_of(node), expected=expected)


def _cohort(function: _Function, node: onnx.NodeProto) -> int | None:
    """How many peers a collection asks at the most, if the program says so."""
    given = data_inputs(node)
    source = function.producer.get(given[0]) if given else None
    while source is not None and (source.domain, source.op_type) == (keys.SYSCALL, "Gate"):
        source = function.producer.get(source.input[0])
    if source is None or source.op_type != "Sample":
        return None
    return int(attribute(source, "n", 0)) or None


def _wanted(function: _Function, node: onnx.NodeProto, state: State) -> dict[str, int]:
    """What a collection asks for: its inputs that are constants, else its attributes, else the Concrete's config."""
    found: dict[str, int] = {}
    bound = state.bound.get(slot_of(node))
    for name in ("quorum", "minimum"):
        value: Any = getattr(bound.config, name, None) if bound is not None else None
        if (node.domain, node.op_type) == (keys.WIRE, "Gather.Collect"):
            value = attribute(node, "n" if name == "quorum" else name)
        if isinstance(value, int) and value > 0:
            found[name] = value
    spec = find_spec(node.domain, node.op_type)
    for port, value in zip(spec.inputs if spec else (), data_inputs(node), strict=False):
        made_by = function.producer.get(value)
        if port.name in ("quorum", "minimum") and value:
            found.pop(port.name, None)
            if made_by is not None and is_constant(made_by):
                found[port.name] = int(attribute(made_by, "value"))
    return found


def _no_wire_type(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        types = value_types(function.proto)
        for recv in function.recvs:
            for type_ in (types.get(v, t.ANY) for v in list(recv.output)[1:]):
                if not t.is_built_in(type_) and not travels(type_.denotation):
                    edge = attribute(recv, keys.EDGE)
                    yield NoWireType(
                        f"the Send {edge!r} delivers a value of type {type_}, which cannot travel",
                        where=source_of(recv),
                        hint="declare it with encode and decode (the hook bb_register_types), or convert the value",
                    )


def _unread_send(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        for recv in function.recvs:
            if not function.read.intersection(recv.output):
                yield UnreadSend(
                    f"nobody reads what the Send {attribute(recv, keys.EDGE)!r} delivers to {function.proto.name}",
                    where=source_of(recv),
                    hint="read the value that g.send returned, or remove the Send",
                )


def _uncollected_answer(program: _Program) -> Iterator[CompileError]:
    waited = {}
    for function in program.functions:
        entries = [{function.nodes[i].name for i in e.ops} for e in entries_of(function.proto)]
        waits = {n.name for n in function.nodes if _waits(n)}
        for send in function.sends:
            waited[_edge(function, send)] = any(send.name in ops and waits & ops for ops in entries)
    for function in program.functions:
        senders = {recv.output[0]: recv for recv in function.recvs}
        for send in function.sends:
            asked = senders.get(_ungated(function, send.input[0]))
            if not attribute(send, keys.REPLY) or asked is None or not _takes_long(function, asked, send):
                continue
            if not waited.get(_edge(function, asked), True):
                yield UncollectedAnswer(
                    f"the request {attribute(asked, keys.EDGE)!r} is answered here, and nothing waits for the answers",
                    where=source_of(send),
                    hint="collect them where the request was sent: self.aggregator.collect(g, peers, "
                    'deadline="30s", after=received.request), or g.gather(answer, deadline="30s")',
                )


def _takes_long(function: _Function, asked: onnx.NodeProto, answer: onnx.NodeProto) -> bool:
    """Whether an answer may take its time: a Concrete works between what asked for it and it."""
    for entry in entries_of(function.proto):
        nodes = [function.nodes[i] for i in entry.ops]
        if entry.name == attribute(asked, keys.EDGE) and any(n.name == answer.name for n in nodes):
            specs = [find_spec(n.domain, n.op_type) for n in nodes]
            return any(s is not None and s.method and s.answer is Answer.LATER for s in specs)
    return False


def _ungated(function: _Function, value: str) -> str:
    source = function.producer.get(value)
    while source is not None and (source.domain, source.op_type) == (keys.SYSCALL, "Gate"):
        value = source.input[0]
        source = function.producer.get(value)
    return value


def _edge(function: _Function, node: onnx.NodeProto) -> tuple[str, str]:
    return metadata(function.proto).get(keys.PHASE, "body"), str(attribute(node, keys.EDGE))


def _default_deadline(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        for node in function.nodes:
            if _waits(node) and attribute(node, keys.DEADLINE_DEFAULT):
                seconds = int(attribute(node, keys.DEADLINE)) / 10**9
                yield DefaultDeadline(
                    f"{node.op_type} waits for peers and has no deadline of its own; it got {seconds:g} s",
                    where=source_of(node),
                    hint='write one: deadline="30s"',
                )


def _unused_input(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        for value in function.proto.input:
            if value not in function.read:
                yield UnusedInput(
                    f"{function.proto.name} declares the input {value!r}, and no op reads it",
                    where=input_source(function.proto, value) or None,
                    hint="read it, or remove it",
                )


def _unused_value(program: _Program) -> Iterator[CompileError]:
    for function in program.functions:
        outputs = set(function.proto.output)
        for node in function.nodes:
            if is_constant(node) or not _is_pure(node):
                continue
            if not any(v in function.read or v in outputs for v in node.output):
                yield UnusedValue(
                    f"nobody reads what {node.op_type} gives", where=source_of(node), hint="read it, or remove the op"
                )


def _is_pure(node: onnx.NodeProto) -> bool:
    """Whether an op does nothing but give its value: standard ONNX without randomness, and our structural ops."""
    return node.domain in (keys.ONNX, keys.COMPOSITE) or (node.domain, node.op_type) in _PURE


_PURE: Final = {(keys.SYSCALL, name) for name in ("Gate", "PassThrough", "Tee", "Cast", "Clock", "Pulse")}


def _waits(node: onnx.NodeProto) -> bool:
    spec = find_spec(node.domain, node.op_type)
    return spec is not None and spec.answer is Answer.NETWORK


RULES: Final[tuple[Rule, ...]] = (
    _impossible_quorum,
    _no_wire_type,
    _unread_send,
    _uncollected_answer,
    _default_deadline,
    _unused_input,
    _unused_value,
)

__all__ = ["RULES", "lint"]
