"""`Graph`, the recording in progress of one Module's body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bb_core import keys
from bb_core import types as t
from bb_core.dsl.output import Output, Received, ReceivedParts
from bb_core.dsl.source import caller_line
from bb_core.errors import (
    DuplicateName,
    ForeignOutput,
    MissingInput,
    NotYetAvailable,
    ReservedName,
    TypeMismatch,
    UnknownPort,
    did_you_mean,
)
from bb_core.ir.recorded import RecordedFunction, RecordedNode, Recording
from bb_core.ops.framework import CONSTANT, GATE, OUTPUT, SEND
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port
from bb_core.types import Type

if TYPE_CHECKING:
    from bb_core.dsl.module import Module

After = Output | Iterable[Output] | None
"""Control edges: the op waits for these values and ignores them."""

_RESERVED = set(".@#/|: ")


class Graph:
    """Records one Module's body. `body(g)` gets it; nobody else makes one.

    Invariants:
        * every value has one producer, and every Output belongs to one Graph;
        * nodes stand in the order in which they were recorded.
    """

    def __init__(
        self, module: Module, scope: tuple[str, ...], recording: Recording, function: RecordedFunction
    ) -> None:
        self.module = module
        self.scope = scope
        self.recording = recording
        self.function = function
        self._named: dict[str, Output] = {}
        self._edges: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._place: str | None = None
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Output] = {}

    # --- the author's methods -----------------------------------------------------------------------------------------

    def input(self, name: str, type: Type = t.ANY) -> Output:  # noqa: A002  # the word that authors expect
        """Declare an input of the Module.

        Args:
            name: Unique among the Module's inputs; what `invoke` and a call of the Module give by keyword.
            type: Its type, such as `bb.types.TRIGGER` or `bb.f32["N", 64]`.
        """
        check_name("input", name)
        if name in self.function.inputs:
            raise DuplicateName(f"the input {name!r} is declared twice", where=caller_line())
        self.function.inputs[name] = type
        self.function.types[name] = type
        return self._new(name, type, name)

    def output(self, name: str, value: Output) -> None:
        """Declare an output of the Module: an AppEvent of the root Module, an output of a sub-module's call."""
        check_name("output", name)
        if name in self.function.outputs or name in self._named:
            raise DuplicateName(f"the output {name!r} is declared twice", where=caller_line())
        self.check(value)
        self._push(OUTPUT, [value.name], [name], {}, {}, None, self._node_name(OUTPUT.name))
        self.function.outputs[name] = value.type
        self.function.types[name] = value.type
        self._named[name] = self._new(name, value.type, name)

    def send(
        self,
        value: Output | Sequence[Output],
        to: Output,
        *,
        name: str | None = None,
        after: After = None,
        gates: Sequence[str] = (),
    ) -> Any:
        """Send a value, or a tuple of values as one Envelope, to one peer or to many.

        Args:
            value: What to send.
            to: A peer or a list of peers. A send to `.sender` is the answer to what came from there.
            name: Name of the edge; without it the value's own name (`model.params`).
            after: Values to wait for.
            gates: Gates that the Envelope must pass besides the standard one (`peer_health`, `backoff`).

        Returns:
            The value as received, with `.sender` and `.request`; for a tuple its parts.
        """
        values = (value,) if isinstance(value, Output) else tuple(value)
        if not values:
            raise MissingInput(
                "there is nothing to send", where=caller_line(), expected="one value, or a tuple of them"
            )
        for each in (*values, to):
            self.check(each)
        if not (t.PEER_LIST.accepts(to.type) or t.PEER_ID.accepts(to.type)):
            raise TypeMismatch(
                f"`to=` is {to.port!r} of type {to.type}", where=caller_line(), expected="a peer or a list of peers"
            )
        edge = self._edge_name(name or values[0].port)
        ports = self._port_names([edge, *(v.port for v in values[1:])])
        node_name = self._node_name(SEND.name)
        request = self._value(node_name, "request", t.REQUEST_ID, f"{edge}.request")
        sender = self._value(node_name, "sender", t.PEER_ID, f"{edge}.sender")
        parts = ReceivedParts(
            self._received(node_name, i, v, p, sender, request)
            for i, (v, p) in enumerate(zip(values, ports, strict=True))
        )
        attributes: dict[str, Any] = {keys.COUNT: len(values), keys.PORTS: tuple(ports), keys.EDGE: edge}
        if gates:
            attributes[keys.ASKED] = tuple(gates)
        self._push(
            SEND,
            [to.name, *(v.name for v in values)],
            [request.name, sender.name, *(p.name for p in parts)],
            attributes,
            {},
            after,
            node_name,
        )
        return parts[0] if isinstance(value, Output) else parts

    def net_out(self, name: str, peers: Output, value: Output) -> Output:
        """Send a value under a name, which `lookup_output` finds: the two-step form of `send`. Returns the request."""
        if name in self._named:
            raise DuplicateName(f"the output {name!r} is declared twice", where=caller_line())
        received: Received = self.send(value, to=peers, name=name)
        self._named[name] = received
        return received.request

    def lookup_output(self, name: str) -> Output:
        """Return what `net_out` or `output` has declared under a name in this Module."""
        found = self._named.get(name)
        if found is None:
            raise UnknownPort(
                f"this Module has no output {name!r} yet", where=caller_line(), hint=did_you_mean(name, self._named)
            )
        return found

    def constant(self, value: Any) -> Output:
        """Put a tensor into the program: an array, or a number.

        Equal constants of one Module are one value. A Python float becomes f32, an int i64, a bool bool.
        """
        array = _constant_array(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            elem = _ELEM_BY_DTYPE.get(array.dtype.str)
            if elem is None:
                raise TypeMismatch(f"a constant cannot have elements of type {array.dtype}", where=caller_line())
            type_ = t.BY_ELEM[elem][array.shape]
            node_name = self._node_name(CONSTANT.name)
            out = self._value(node_name, "value", type_, "constant")
            self._push(CONSTANT, [], [out.name], {"value": array}, {}, None, node_name)
            self._constants[key] = out
        return self._constants[key]

    @contextmanager
    def place(self, on: str) -> Iterator[None]:
        """Put all that is recorded inside on a class of peers, whatever its inputs say."""
        before, self._place = self._place, on
        try:
            yield
        finally:
            self._place = before

    def __getattr__(self, name: str) -> Any:
        if name in _PLANNED:
            raise NotYetAvailable(
                f"g.{name} is part of the design, and this release does not have it",
                where=caller_line(),
                hint=_PLANNED[name],
            )
        raise AttributeError(f"a Graph has no {name!r}; {did_you_mean(name, _methods())}")

    # --- for slots and calls ------------------------------------------------------------------------------------------

    def record(
        self,
        spec: OpSpec,
        given: Mapping[str, Any],
        *,
        metadata: Mapping[str, str],
        after: After = None,
        label: str = "",
    ) -> tuple[Output, ...]:
        """Record an op by its declaration. `given` maps port and attribute names to Outputs and values."""
        self._refuse_unknown(spec, given)
        inputs = [self._input(spec, port, given.get(port.name)) for port in spec.inputs]
        while inputs and inputs[-1] == "":
            inputs.pop()
        attributes = {a.name: _attribute(spec, a, given) for a in spec.attributes}
        attributes |= {s.name: str(given[s.name]) for s in spec.slots}
        node_name = self._node_name(spec.name)
        outs = tuple(
            self._value(node_name, p.name, p.type, f"{label}.{p.name}" if label else p.name) for p in spec.outputs
        )
        self._push(spec, inputs, [o.name for o in outs], attributes, dict(metadata), after, node_name)
        return outs

    def record_onnx(
        self,
        op_type: str,
        inputs: Sequence[Output | None],
        attributes: Mapping[str, Any],
        *,
        n_outputs: int,
        metadata: Mapping[str, str],
        after: After,
        label: str,
    ) -> tuple[Output, ...]:
        """Record a standard ONNX op. Control edges go on a Gate before its first input."""
        ready = [None if v is None else self.check(v) for v in inputs]
        if after is not None:
            first = next((i for i, v in enumerate(ready) if v is not None), None)
            if first is None:
                raise MissingInput(f"{op_type} has no input to put `after=` on", where=caller_line())
            ready[first] = self.gate(ready[first], after)  # type: ignore[arg-type]  # `first` is not None there
        names = ["" if v is None else v.name for v in ready]
        node_name = self._node_name(op_type)
        ports = ["out"] if n_outputs == 1 else [f"out{i}" for i in range(n_outputs)]
        outs = tuple(self._value(node_name, p, t.TENSOR, f"{label}.{p}") for p in ports)
        spec = OpSpec(keys.ONNX, op_type, 1)
        self._push(spec, names, [o.name for o in outs], dict(attributes), dict(metadata), None, node_name)
        return outs

    def gate(self, value: Output, after: After) -> Output:
        """Return the value once the values of `after` have been written."""
        node_name = self._node_name(GATE.name)
        out = self._value(node_name, "out", value.type, value.port)
        self._push(GATE, [value.name], [out.name], {}, {}, after, node_name)
        return out

    def operator(self, op_type: str, *operands: Any) -> Output:
        """Record an operator on the Module's only Backend slot."""
        return self.module.default_backend(self).operator(self, op_type, operands)

    def call(self, function: str, inputs: Sequence[str], outputs: Mapping[str, Type], label: str) -> dict[str, Output]:
        """Record the call of a sub-module's function."""
        node_name = self._node_name(function.rpartition(".")[2])
        outs = {n: self._value(node_name, n, type_, f"{label}.{n}") for n, type_ in outputs.items()}
        spec = OpSpec(keys.MODULE, function, 1)
        self._push(spec, inputs, [o.name for o in outs.values()], {}, {}, None, node_name)
        return outs

    def check(self, value: Any) -> Output:
        """Refuse what is not an Output of this Graph; a number or an array becomes a constant."""
        if not isinstance(value, Output):
            if isinstance(value, bool | int | float | np.ndarray | np.generic):
                return self.constant(value)
            raise TypeMismatch(
                f"a {type(value).__name__} was given where a value of the program is expected",
                where=caller_line(),
                expected="an Output: what g.input, g.send, g.constant or a slot's method returned",
            )
        if value.graph is not self:
            raise ForeignOutput(
                f"{value.port!r} belongs to another Graph",
                where=f"{caller_line()}; it was recorded at {value.source}",
                hint="declare it as an input of this Module and pass it in by keyword",
            )
        return value

    def path(self, name: str) -> str:
        """Return the path of a slot or sub-module of this Module."""
        return ".".join([*self.scope, name])

    # --- inside -------------------------------------------------------------------------------------------------------

    def _input(self, spec: OpSpec, port: Port, value: Any) -> str:
        if value is None:
            if port.optional:
                return ""
            raise MissingInput(
                f"{spec.name} needs the input {port.name!r}", where=caller_line(), expected=spec.signature()
            )
        if not isinstance(value, Output) and port.type == t.DURATION and isinstance(value, str):
            try:
                value = t.parse_duration(value)
            except ValueError as error:
                raise TypeMismatch(f"{spec.name}: {port.name} is {error}", where=caller_line()) from None
        out = self.check(value)
        if not port.type.accepts(out.type):
            raise TypeMismatch(
                f"{spec.name} was given {out.port!r} of type {out.type} as {port.name!r}",
                where=caller_line(),
                expected=f"{port.name}: {port.type}",
                hint=f"{out.port!r} was recorded at {out.source}",
            )
        return out.name

    def _refuse_unknown(self, spec: OpSpec, given: Mapping[str, Any]) -> None:
        legal = [p.name for p in spec.inputs] + [a.name for a in spec.attributes] + [s.name for s in spec.slots]
        for name in given:
            if name not in legal:
                raise UnknownPort(f"{spec.name} has no {name!r}", where=caller_line(), hint=did_you_mean(name, legal))

    def _received(
        self, node_name: str, index: int, value: Output, port: str, sender: Output, request: Output
    ) -> Received:
        name = f"{node_name}.received{index}"
        self.function.types[name] = value.type
        return Received(self, name, value.type, caller_line(), port, sender, request)

    def _port_names(self, wanted: Sequence[str]) -> list[str]:
        names: list[str] = []
        for name in wanted:
            free, n = name, 2
            while free in names:
                free, n = f"{name}_{n}", n + 1
            names.append(free)
        return names

    def _edge_name(self, wanted: str) -> str:
        """Name an edge after its value; a second one of the same name gets a number among those alone."""
        seen = self._edges.get(wanted, 0) + 1
        self._edges[wanted] = seen
        return wanted if seen == 1 else f"{wanted}_{seen}"

    def _node_name(self, op_type: str) -> str:
        """Name a node `<Op>_<n>`; inlining puts the call's scope before it."""
        count = self._counts.get(op_type, 0)
        self._counts[op_type] = count + 1
        return f"{op_type}_{count}"

    def _value(self, node_name: str, port: str, type_: Type, label: str) -> Output:
        name = f"{node_name}.{port}"
        self.function.types[name] = type_
        return self._new(name, type_, label)

    def _new(self, name: str, type_: Type, port: str) -> Output:
        return Output(self, name, type_, caller_line(), port)

    def _push(
        self,
        spec: OpSpec,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: dict[str, Any],
        metadata: dict[str, str],
        after: After,
        node_name: str,
    ) -> None:
        control = self._control(after)
        if control:
            attributes[keys.AFTER] = len(control)
        metadata[keys.SOURCE] = caller_line()
        if self._place is not None:
            metadata[keys.PLACE] = self._place
        self.function.nodes.append(
            RecordedNode(
                node_name,
                spec.domain,
                spec.name,
                (*inputs, *control),
                tuple(outputs),
                attributes,
                metadata,
            )
        )

    def _control(self, after: After) -> list[str]:
        if after is None:
            return []
        many = (after,) if isinstance(after, Output) else tuple(after)
        return [self.check(v).name for v in many]


_PLANNED: Final = {
    "gather": "collect with an Aggregator slot: self.aggregator.collect(g, peers, deadline=...)",
    "reply": "send to the sender of what you answer: g.send(value, to=received.sender)",
    "again": "let the host invoke the program again",
    "on_failure": "watch for OpFailed among the Steps, in the host",
}
"""What the design has and this release does not -> what to do instead."""


def _methods() -> list[str]:
    return [name for name in vars(Graph) if not name.startswith("_")]


def check_name(kind: str, name: str) -> None:
    """Refuse a name that target names, paths or site ids could not carry."""
    if not name or _RESERVED & set(name):
        raise ReservedName(
            f"{name!r} cannot name an {kind}" if kind[0] in "aeiou" else f"{name!r} cannot name a {kind}",
            where=caller_line(),
            expected="text without . @ # / | : and blanks",
        )


_ELEM_BY_DTYPE = {
    np.dtype(d).str: e
    for d, e in (("f4", 1), ("u1", 2), ("i1", 3), ("i4", 6), ("i8", 7), ("?", 9), ("f2", 10), ("f8", 11), ("u8", 13))
}


def _constant_array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, float):
        return np.asarray(value, np.float32)
    if isinstance(value, int) and not isinstance(value, bool):
        return np.asarray(value, np.int64)
    return np.asarray(value, order="C")


def _attribute(spec: OpSpec, attribute: Attribute, given: Mapping[str, Any]) -> Any:
    value = given.get(attribute.name, attribute.default)
    if value is REQUIRED:
        raise MissingInput(
            f"{spec.name} needs the attribute {attribute.name!r}", where=caller_line(), expected=spec.signature()
        )
    try:
        return _COERCE[attribute.kind](value)
    except (TypeError, ValueError) as error:
        raise TypeMismatch(
            f"{spec.name}: {attribute.name} is {value!r}", where=caller_line(), expected=attribute.kind, hint=str(error)
        ) from None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError("write a whole number")
    return int(value)


_COERCE: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _whole,
    "float": float,
    "str": str,
    "bool": int,
    "ints": lambda v: tuple(_whole(x) for x in v),
    "strs": lambda v: tuple(str(x) for x in v),
    "duration": t.parse_duration,
}
