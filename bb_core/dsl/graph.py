"""`Graph`, the recording in progress of one Module's body or bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bb_core import keys
from bb_core import types as t
from bb_core.dsl import control, sending
from bb_core.dsl.constants import Literal, constant_array
from bb_core.dsl.names import check_name
from bb_core.dsl.output import Output, Received
from bb_core.dsl.source import caller_line
from bb_core.errors import (
    AuthoringError,
    DuplicateName,
    ForeignOutput,
    IllegalValue,
    MissingInput,
    TypeMismatch,
    UnknownPort,
    UnknownRecorder,
    did_you_mean,
)
from bb_core.ir.recorded import RecordedFunction, RecordedGraph, RecordedNode, Recording
from bb_core.ops.flow import AGAIN, ON_FAILURE
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port
from bb_core.ops.structure import BUNDLE, CAST, CONSTANT, GATE, OUTPUT, STACK, UNBUNDLE
from bb_core.types import Type

if TYPE_CHECKING:
    from bb_core.dsl.module import Module

After = Output | Iterable[Output] | None
"""Control edges: the op waits for these values and ignores them."""


_RENAME: Final = "give one of them another name"


class Graph:
    """Records one Module's body, or its bootstrap. The method gets it; nobody else makes one.

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
        self.asked: dict[str, sending.Sent] = {}
        self.body: RecordedGraph | None = None
        self._named: dict[str, Output] = {}
        self._edges: set[str] = set()
        self._counts: dict[str, int] = {}
        self._place: str | None = None
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Output] = {}

    @property
    def is_bootstrap(self) -> bool:
        """Whether a bootstrap is being recorded, and not a body."""
        return self.function.is_bootstrap

    # --- inputs, outputs, constants -----------------------------------------------------------------------------------

    def input(self, name: str, type: Type = t.ANY) -> Output:  # noqa: A002  # the word that authors expect
        """Declare an input of the Module.

        Args:
            name: Unique among the Module's inputs; what `invoke` and a call of the Module give by keyword.
            type: Its type, such as `bb.types.TRIGGER` or `bb.f32["N", 64]`.
        """
        check_name("input", name)
        if not isinstance(type, Type):
            raise TypeMismatch(
                f"the type of the input {name!r} is {type!r}",
                where=caller_line(),
                expected="a type of bb.types, such as bb.f32['N', 64] or bb.types.TRIGGER",
            )
        if name in self.function.inputs:
            raise DuplicateName(f"the input {name!r} is declared twice", where=caller_line(), hint=_RENAME)
        self.function.inputs[name] = type
        self.function.types[name] = type
        self.function.sources[name] = caller_line()
        return self._new(name, type, name)

    def output(self, name: str, value: Output) -> None:
        """Declare an output of the Module: an AppEvent of the root Module, an output of a sub-module's call."""
        check_name("output", name)
        if name in self.function.outputs or name in self._named:
            raise DuplicateName(f"the output {name!r} is declared twice", where=caller_line(), hint=_RENAME)
        if name in self.function.inputs:
            raise DuplicateName(
                f"{name!r} is an input already, and cannot name an output too", where=caller_line(), hint=_RENAME
            )
        value = self.check(value)
        self.push(OUTPUT.domain, OUTPUT.name, [value.name], [name], self.node_name(OUTPUT.name))
        self.function.outputs[name] = value.type
        self.function.types[name] = value.type
        self._named[name] = self._new(name, value.type, name)

    def constant(self, value: Any) -> Output:
        """Put a tensor into the program: an array, or a number.

        Equal constants of one Module are one value. A Python float becomes f32, an int i64, a bool bool.
        """
        return self._constant(*constant_array(value))

    # --- peers --------------------------------------------------------------------------------------------------------

    def send(
        self,
        value: Output | Sequence[Output],
        to: Output,
        *,
        name: str | None = None,
        after: After = None,
        gates: Sequence[str] = (),
        ack: bool = False,
        deadline: str | int | None = None,
    ) -> Any:
        """Send a value, or a tuple of values as one Envelope, to one peer or to many.

        Args:
            value: What to send.
            to: A peer or a list of peers. A send to `.sender` is the answer to what came from there.
            name: Name of the edge; without it the value's own name (`model.params`).
            after: Values to wait for.
            gates: Gates that the Envelope must pass beside those that always stand there; there is `backoff`.
            ack: Send again until every peer has confirmed that it has it; each gets it once. A value that is too large
                for one Envelope is always sent so.
            deadline: With `ack`, how long to try while nothing arrives, such as `"2m"`; 30 s if it is not given.

        Returns:
            The value as received, with `.sender` and `.request`, and with `ack` `.delivered`, a Trigger where it was
            sent; for a tuple its parts.
        """
        return sending.send(self, value, to, name, after, gates, ack=ack, deadline=deadline)

    def reply(
        self,
        value: Output | Sequence[Output],
        to: Received,
        *,
        after: After = None,
        ack: bool = False,
        deadline: str | int | None = None,
    ) -> Any:
        """Answer what was received: `g.reply(update, to=params)` is `g.send(update, to=params.sender)`."""
        sender = getattr(to, "sender", None)
        if sender is None:
            raise TypeMismatch(
                "g.reply was given a value that came from nobody",
                where=caller_line(),
                expected="to=what g.send returned, as received",
            )
        return sending.send(self, value, sender, None, after, (), ack=ack, deadline=deadline)

    def gather(
        self,
        received: Received | Sequence[Output],
        *,
        peers: Output | None = None,
        request: Output | None = None,
        n: int | None = None,
        minimum: int = 1,
        deadline: str | int | None = None,
        after: After = None,
    ) -> Any:
        """Collect the answers of many peers as lists, in the Frame that asked.

        Args:
            received: An answer as it arrives (what `g.send(..., to=received.sender)` returned), or its parts.
            peers: Who was asked; known when the answer's request was sent in this Module.
            request: The `.request` of what was sent to them; likewise.
            n: Close as soon as this many have answered; None: all.
            minimum: Fewer than this at the deadline is a missed quorum.
            deadline: How long to wait, such as `"30s"`.
            after: Values to wait for before collecting.

        Returns:
            A composite with the values in order of peer id, with `.senders`; for parts one each. `g.stack` makes a
            tensor of it.
        """
        return sending.gather(self, received, peers, request, n=n, minimum=minimum, deadline=deadline, after=after)

    def net_out(self, name: str, peers: Output, value: Output) -> Output:
        """Send a value under a name, which `lookup_output` finds: the two-step form of `send`. Returns the request."""
        if name in self._named:
            raise DuplicateName(f"the output {name!r} is declared twice", where=caller_line(), hint=_RENAME)
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

    @contextmanager
    def place(self, on: str) -> Iterator[None]:
        """Put all that is recorded inside on a class of peers; `on=""` is the Module's own."""
        if on != keys.OWN_CLASS:
            check_name("class of peers", on)
        before, self._place = self._place, on
        try:
            yield
        finally:
            self._place = before

    # --- values -------------------------------------------------------------------------------------------------------

    def cast(self, value: Output, to: Type, *, after: After = None) -> Output:
        """Convert a tensor to another element type, or state the type of a value that is not known; checked at run."""
        value = self.check(value)
        if value.type.is_tensor and not to.is_tensor:
            raise TypeMismatch(f"{value.port!r} is a tensor, and cannot become {to}", where=caller_line())
        (out,) = self.record(
            CAST, {"value": value, "to": to.denotation}, after=after, label=value.port, types=[_cast_type(value, to)]
        )
        return out

    def bundle(self, *parts: Output) -> Output:
        """Tie several values into one composite."""
        if not parts:
            raise MissingInput("there is nothing to bundle", where=caller_line(), expected="at least one value")
        return self.record(BUNDLE, {"parts": parts})[0]

    def unbundle(self, composite: Output, *types: Type) -> tuple[Output, ...]:
        """Take a composite apart; its parts must be as many as `types`, and of those types."""
        if not types:
            raise MissingInput("how many parts, of which types?", where=caller_line(), expected="bb.f32, ...")
        given = {"bundle": composite, "types": [x.denotation for x in types]}
        return self.record(UNBUNDLE, given, types=types)

    def stack(self, values: Output) -> Output:
        """Make one tensor of a composite of equally shaped ones, on a new first axis."""
        return self.record(STACK, {"values": values})[0]

    # --- control ------------------------------------------------------------------------------------------------------

    def again(self, port: str, value: Output, *, after: After = None) -> Output:
        """Begin a new Frame on one of the program's own inputs, once a value is there. Returns a trigger."""
        if self.scope:
            raise AuthoringError(
                f"g.again stands in the sub-module {'.'.join(self.scope)!r}",
                where=caller_line(),
                expected="the root Module, whose inputs a new Frame can begin on",
            )
        if port not in self.function.inputs:
            raise UnknownPort(
                f"the Module has no input {port!r} to begin again on",
                where=caller_line(),
                hint=did_you_mean(port, self.function.inputs),
            )
        value = self.check(value, like=self.function.inputs[port])
        if not self.function.inputs[port].accepts(value.type):
            raise TypeMismatch(
                f"g.again gives {value.port!r} of type {value.type} as {port!r}",
                where=caller_line(),
                expected=f"{port}: {self.function.inputs[port]}",
            )
        return self.record(AGAIN, {"value": value, "port": port}, after=after)[0]

    def on_failure(self, value: Output) -> Output:
        """Return a trigger that is written when a value will not come, since an op that it needs has failed."""
        return self.record(ON_FAILURE, {"value": value})[0]

    def gate(self, value: Output, after: After) -> Output:
        """Return the value once the values of `after` have been written."""
        node = self.node_name(GATE.name)
        out = self.new_value(node, "out", value.type, value.port)
        self.push(GATE.domain, GATE.name, [value.name], [out.name], node, after=after)
        if value.name in self.asked:
            self.asked[out.name] = self.asked[value.name]
        return out

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownRecorder(f"a Graph has no {name!r}", where=caller_line(), hint=did_you_mean(name, _methods()))

    # --- for slots, syscalls and calls --------------------------------------------------------------------------------

    def record(
        self,
        spec: OpSpec,
        given: Mapping[str, Any],
        *,
        metadata: Mapping[str, str] | None = None,
        after: After = None,
        label: str = "",
        types: Sequence[Type] | None = None,
    ) -> tuple[Output, ...]:
        """Record an op by its declaration.

        `given` maps port and attribute names to Outputs and values; a variadic port takes a sequence. `types` are those
        of the outputs, as many as there are; a variadic output needs them. `label` begins the outputs' names.
        """
        self._refuse_unknown(spec, given)
        inputs: list[str] = []
        for port in spec.inputs:
            value = given.get(port.name)
            if port.variadic:
                many = () if value is None else (value,) if isinstance(value, Output) else tuple(value)
                if not many and not port.optional:
                    raise MissingInput(
                        f"{spec.name} needs at least one of {port.name!r}",
                        where=caller_line(),
                        expected=spec.signature(),
                    )
                inputs += [self._input(spec, port, v) for v in many]
            else:
                inputs.append(self._input(spec, port, value))
        while inputs and inputs[-1] == "":
            inputs.pop()
        if types is None and "same_type" in spec.relations and inputs:
            types = [self.function.types[inputs[0]]] * len(spec.outputs)
        node = self.node_name(spec.name)
        outs = tuple(
            self.new_value(node, name, type_, f"{label}.{name}" if label else name)
            for name, type_ in _output_ports(spec, types)
        )
        self.push(
            spec.domain,
            spec.name,
            inputs,
            [o.name for o in outs],
            node,
            attributes=self.attributes(spec, given),
            metadata=metadata,
            after=after,
        )
        return outs

    def record_onnx(
        self,
        op_type: str,
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        *,
        n_outputs: int,
        metadata: Mapping[str, str],
        after: After,
        label: str,
    ) -> tuple[Output, ...]:
        """Record a standard ONNX op. Control edges go on a Gate before its first input; functions become bodies."""
        from bb_core.ir.schemas import input_variables, recorded_types

        variables = input_variables(op_type, len(inputs))
        known = {x: v.type for x, v in zip(variables, inputs, strict=True) if isinstance(v, Output) and v.type.elem}
        ready = [
            None if v is None else self.check(v, like=known.get(x)) for x, v in zip(variables, inputs, strict=True)
        ]
        if after is not None:
            first = next((i for i, v in enumerate(ready) if v is not None), None)
            if first is None:
                raise MissingInput(f"{op_type} has no input to put `after=` on", where=caller_line())
            ready[first] = self.gate(ready[first], after)  # type: ignore[arg-type]  # `first` is not None there
        names = ["" if v is None else v.name for v in ready]
        traced, types = control.trace(self, op_type, ready, attributes)
        if types is None:
            given = [None if v is None else v.type for v in ready]
            types = recorded_types(op_type, given, {k: v for k, v in traced.items() if v is not None}, n_outputs)
        node = self.node_name(op_type)
        ports = ["out"] if len(types) == 1 else [f"out{i}" for i in range(len(types))]
        outs = tuple(self.new_value(node, p, x, f"{label}.{p}") for p, x in zip(ports, types, strict=True))
        self.push(keys.ONNX, op_type, names, [o.name for o in outs], node, attributes=traced, metadata=metadata)
        return outs

    def operator(self, op_type: str, *operands: Any) -> Output:
        """Record an operator on the Module's only Backend slot."""
        return self.module.default_backend(self).operator(self, op_type, operands)

    def call(self, function: str, inputs: Sequence[str], outputs: Mapping[str, Type], label: str) -> dict[str, Output]:
        """Record the call of a sub-module's function."""
        node = self.node_name(label.rpartition(".")[2])
        outs = {n: self.new_value(node, n, type_, f"{label}.{n}") for n, type_ in outputs.items()}
        self.push(keys.MODULE, function, inputs, [o.name for o in outs.values()], node)
        return outs

    def check(self, value: Any, like: Type | None = None) -> Output:
        """Refuse what is not an Output of this Graph; a number or an array becomes a constant, of `like`'s elements."""
        if not isinstance(value, Output):
            if isinstance(value, Literal):
                return self._constant(*constant_array(value, like))
            raise TypeMismatch(
                f"a {type(value).__name__} was given where a value of the program is expected",
                where=caller_line(),
                expected="an Output: what g.input, g.send, g.constant or a slot's method returned",
            )
        if value.graph is not self:
            raise ForeignOutput(
                f"{value.port!r} belongs to another Graph",
                where=caller_line(),
                also=[("it was recorded here", value.source)],
                hint="declare it as an input of this Module and pass it in by keyword",
            )
        return value

    def path(self, name: str) -> str:
        """Return the path of a slot or sub-module of this Module."""
        return ".".join([*self.scope, name])

    def attributes(self, spec: OpSpec, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check and complete an op's attributes against its declaration."""
        found = {a.name: _attribute(spec, a, given) for a in spec.attributes}
        return found | {s.name: str(given[s.name]) for s in spec.slots}

    def node_name(self, op_type: str) -> str:
        """Name a node `<Op>_<n>`; inlining puts the call's scope before it."""
        count = self._counts.get(op_type, 0)
        self._counts[op_type] = count + 1
        return f"{op_type}_{count}"

    def edge_name(self, wanted: str) -> str:
        """Name an edge after its value; where that is taken, with the first number that is free."""
        free, n = wanted, 2
        while free in self._edges:
            free, n = f"{wanted}_{n}", n + 1
        self._edges.add(free)
        return free

    def claim_edge(self, name: str) -> str:
        """Name an edge as its author does; the name must be free."""
        if name in self._edges:
            raise DuplicateName(f"another Send of this Module is named {name!r}", where=caller_line(), hint=_RENAME)
        self._edges.add(name)
        return name

    def new_value(self, node_name: str, port: str, type_: Type, label: str) -> Output:
        """Make the handle of a value that a node writes."""
        name = f"{node_name}.{port}"
        self.function.types[name] = type_
        return self._new(name, type_, label)

    def push(
        self,
        domain: str,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        node_name: str,
        *,
        attributes: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        after: After = None,
    ) -> None:
        """Append a node, with the author's line and place."""
        control.refuse_in_body(self, domain, op_type, keys.ONNX)
        attributes, metadata = dict(attributes or {}), dict(metadata or {})
        waited = self._control(after)
        if waited:
            attributes[keys.AFTER] = len(waited)
        metadata[keys.SOURCE] = caller_line()
        if self._place is not None:
            metadata[keys.PLACE] = self._place
        node = RecordedNode(node_name, domain, op_type, (*inputs, *waited), tuple(outputs), attributes, metadata)
        (self.function if self.body is None else self.body).nodes.append(node)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _constant(self, array: np.ndarray[Any, Any], type_: Type) -> Output:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            node = self.node_name(CONSTANT.name)
            out = self.new_value(node, "value", type_, "constant")
            body, self.body = self.body, None  # a body captures the constants that it uses
            self.push(CONSTANT.domain, CONSTANT.name, [], [out.name], node, attributes={"value": array})
            self.body = body
            self._constants[key] = out
        return self._constants[key]

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
        out = self.check(value, like=port.type)
        if not port.type.accepts(out.type):
            raise TypeMismatch(
                f"{spec.name} was given {out.port!r} of type {out.type} as {port.name!r}",
                where=caller_line(),
                expected=f"{port.name}: {port.type}",
                also=[(f"{out.port!r} was recorded here", out.source)],
            )
        return out.name

    def _refuse_unknown(self, spec: OpSpec, given: Mapping[str, Any]) -> None:
        legal = [p.name for p in spec.inputs] + [a.name for a in spec.attributes] + [s.name for s in spec.slots]
        for name in given:
            if name not in legal:
                raise UnknownPort(f"{spec.name} has no {name!r}", where=caller_line(), hint=did_you_mean(name, legal))

    def _new(self, name: str, type_: Type, port: str) -> Output:
        return Output(self, name, type_, caller_line(), port)

    def _control(self, after: After) -> list[str]:
        if after is None:
            return []
        given: Any = after  # authors write what they like
        many = (
            [given] if isinstance(given, Output) else list(given) if isinstance(given, list | tuple | set) else [None]
        )
        for value in many:
            if not isinstance(value, Output):
                kind = type(given if many == [None] else value).__name__
                raise TypeMismatch(
                    f"`after=` was given a {kind}", where=caller_line(), expected="a value of the program, or several"
                )
        return [self.check(v).name for v in many]


def _methods() -> list[str]:
    return [name for name in vars(Graph) if not name.startswith("_")]


def _output_ports(spec: OpSpec, types: Sequence[Type] | None) -> list[tuple[str, Type]]:
    """Name the outputs; a variadic one is numbered."""
    fixed = [p for p in spec.outputs if not p.variadic]
    given = list(types) if types is not None else [p.type for p in fixed]
    found = [(p.name, type_) for p, type_ in zip(fixed, given, strict=False)]
    variadic = next((p for p in spec.outputs if p.variadic), None)
    if variadic is not None:
        found += [(f"{variadic.name}{i}", type_) for i, type_ in enumerate(given[len(fixed) :])]
    return found


def _cast_type(value: Output, to: Type) -> Type:
    return Type(to.denotation, to.elem, value.type.shape if to.shape is None and value.type.is_tensor else to.shape)


def _attribute(spec: OpSpec, attribute: Attribute, given: Mapping[str, Any]) -> Any:
    value = given.get(attribute.name, attribute.default)
    if value is REQUIRED:
        raise MissingInput(
            f"{spec.name} needs the attribute {attribute.name!r}", where=caller_line(), expected=spec.signature()
        )
    try:
        found = _COERCE[attribute.kind](value)
    except (TypeError, ValueError) as error:
        raise TypeMismatch(
            f"{spec.name}: {attribute.name} is {value!r}", where=caller_line(), expected=attribute.kind, hint=str(error)
        ) from None
    if attribute.minimum is not None and found < attribute.minimum:
        raise IllegalValue(
            f"{spec.name}: {attribute.name} is {value!r}",
            where=caller_line(),
            expected=f"at least {attribute.minimum}" + (" ns" if attribute.kind == "duration" else ""),
        )
    return found


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
