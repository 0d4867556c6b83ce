"""Pass 5."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.relations import Conflict, both, relation
from bb_core.compiler.state import State, slot_of
from bb_core.errors import EdgeTypeMismatch, TypeSolveError, UnresolvedType, UntypedValue
from bb_core.ir.proto import (
    attribute,
    data_inputs,
    input_source,
    reads,
    set_metadata,
    set_value_types,
    source_of,
    value_types,
)
from bb_core.ir.schemas import ShapeConflict, formal_types, infer, schema_of
from bb_core.ops.spec import OpSpec, Port
from bb_core.ops.table import find_spec
from bb_core.roles.contract import narrowed
from bb_core.types import Type

Sharper = list[tuple[str, Type]]
"""Values and what has become known of them."""


def type_solver(model: onnx.ModelProto, state: State) -> None:
    """Work out the type of every value, in both directions, until nothing more becomes known.

    Ports of our ops have the types of their declaration, narrowed by the Concrete that is bound; relations tie them
    together. Standard ops follow their ONNX schemas, and shapes ONNX's own inference. What is sent has one type on both
    sides.

    Needs: declared ops. Leaves: `value_info` for every value, and each function marked as typed. Fails with:
    TypeSolveError, EdgeTypeMismatch, UnresolvedType.
    """
    for function in model.functions:
        _Solver(function, state).solve()
        set_metadata(function, keys.TYPED, "1")


class _Solver:
    """The types of one function's values. A type is only ever replaced by a meet with it, so this ends."""

    def __init__(self, function: onnx.FunctionProto, state: State) -> None:
        self.function = function
        self.state = state
        stated = value_types(function)
        self.types: dict[str, Type] = {v: stated.get(v, t.ANY) for v in function.input}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.touching: dict[str, list[int]] = defaultdict(list)
        self.nodes = list(function.node)
        for i, node in enumerate(self.nodes):
            for value in dict.fromkeys([*reads(node), *node.output]):
                if value:
                    self.touching[value].append(i)
            for value in node.output:
                self.producer[value] = node
                self.types[value] = stated.get(value, t.ANY)
        self.failed: set[int] = set()

    def solve(self) -> None:
        queue = deque(range(len(self.nodes)))
        queued = set(queue)
        while queue:
            i = queue.popleft()
            queued.discard(i)
            if i in self.failed:
                continue
            for value, type_ in self._refine(i):
                if value and type_ != self.types.get(value):
                    self.types[value] = type_
                    self.state.counts["types refined"] += 1
                    for j in self.touching[value]:
                        if j not in queued:
                            queued.add(j)
                            queue.append(j)
        self._check_sent()
        set_value_types(self.function, self.types)

    def _refine(self, i: int) -> Sharper:
        node = self.nodes[i]
        try:
            if node.domain == keys.ONNX:
                return self._onnx(node)
            rule = _RULES.get((node.domain, node.op_type))
            return rule(self, node) if rule is not None else self._declared(node)
        except _Mismatch as found:
            self.failed.add(i)
            self.state.add(found.error)
            return []

    def type_of(self, value: str) -> Type:
        return self.types.get(value, t.ANY)

    # --- our ops ------------------------------------------------------------------------------------------------------

    def _declared(self, node: onnx.NodeProto) -> Sharper:
        spec = find_spec(node.domain, node.op_type)
        if spec is None:
            return []
        bound = self.state.concrete(slot_of(node)) if spec.method else None
        ports = spec if bound is None else narrowed(bound, spec.method, spec)
        values = data_inputs(node)
        ins = [
            self._port(node, v, p.name, p.type)
            for v, p in zip(values, _repeated(ports.inputs, len(values)), strict=False)
        ]
        outs = [
            both(p.type, self.type_of(v)) if p.type.accepts(self.type_of(v)) else self._contradicted(node, v, p.type)
            for v, p in zip(node.output, _repeated(ports.outputs, len(node.output)), strict=False)
        ]
        for name in spec.relations:
            ins, outs = self._related(node, spec, name, ins, outs)
        return [*zip(values, ins, strict=False), *zip(node.output, outs, strict=False)]

    def _related(
        self, node: onnx.NodeProto, spec: OpSpec, name: str, ins: list[Type], outs: list[Type]
    ) -> tuple[list[Type], list[Type]]:
        rule = relation(name)
        if rule is None:
            raise _Mismatch(
                TypeSolveError(
                    f"{spec.name} declares the relation {name!r}, which nobody has",
                    where=source_of(node),
                    hint="name one of bb_core.compiler.relations, or your own as 'module:function'",
                )
            )
        try:
            return rule(ins, outs)
        except Conflict as found:
            raise _Mismatch(
                TypeSolveError(
                    f"the types of {node.op_type} contradict one another: {found}",
                    where=source_of(node),
                    expected=f"{name.replace('_', ' ')} among its inputs and outputs",
                )
            ) from None

    def _port(self, node: onnx.NodeProto, value: str, port: str, wanted: Type) -> Type:
        """What is known of a value that a port reads."""
        actual = self.type_of(value)
        if not value or wanted.accepts(actual):
            return both(wanted, actual) if value else wanted
        source = self.producer.get(value)
        if source is not None and _is_send(source) and value in source.output[2:]:
            sent = data_inputs(source)[1 + list(source.output[2:]).index(value)]
            raise _Mismatch(
                EdgeTypeMismatch(
                    f"{node.op_type} reads {port!r} as {wanted}, and is sent {sent!r} of type {actual}",
                    where=source_of(node),
                    also=[("it is sent here", source_of(source))],
                    expected=f"{wanted} on both sides of the Send",
                    hint="put a Codec slot between the two, or convert before sending: g.cast(value, ...)",
                )
            )
        also = [(f"{value!r} comes from here", source_of(source))] if source is not None else []
        raise _Mismatch(
            TypeSolveError(
                f"{node.op_type} reads {value!r} of type {actual} as {port!r}",
                where=source_of(node),
                also=also,
                expected=str(wanted),
                hint=None if also else f"{value!r} is an input of the program",
            )
        )

    def _contradicted(self, node: onnx.NodeProto, value: str, wanted: Type) -> Type:
        raise _Mismatch(
            TypeSolveError(
                f"{node.op_type} gives {value!r} as {wanted}, and it is used as {self.type_of(value)}",
                where=source_of(node),
                hint="convert it: g.cast(value, ...)",
            )
        )

    def same(self, node: onnx.NodeProto) -> Sharper:
        """All data inputs and outputs have one type."""
        values = [v for v in (*data_inputs(node), *node.output) if v]
        found = t.ANY
        for value in values:
            if not found.accepts(self.type_of(value)):
                self._port(node, value, "value", found)
            found = both(found, self.type_of(value))
        return [(v, found) for v in values]

    def sent(self, node: onnx.NodeProto) -> Sharper:
        """What is sent and what is received have one type."""
        count = attribute(node, keys.COUNT)
        sent, received = data_inputs(node)[1 : 1 + count], node.output[2:]
        found: Sharper = [(node.output[0], t.REQUEST_ID)]
        if len(node.output) > 1:
            found.append((node.output[1], t.PEER_ID))
        for a, b in zip(sent, received, strict=False):
            met = t.meet(self.type_of(a), self.type_of(b))
            if met is not None:  # otherwise whoever reads it is told
                found += [(a, met), (b, met)]
        return found

    def unbundled(self, node: onnx.NodeProto) -> Sharper:
        """The parts have the types that are stated."""
        names = attribute(node, "types", ())
        return [
            (v, both(t.named(n) or t.ANY, self.type_of(v)))
            for v, n in zip(node.output, names, strict=False)
            if (t.named(n) or t.ANY).accepts(self.type_of(v))
        ]

    def cast(self, node: onnx.NodeProto) -> Sharper:
        """The output has the type that is stated, with the input's shape."""
        wanted, given = t.named(attribute(node, "to")) or t.ANY, self.type_of(node.input[0])
        if wanted.is_tensor and given.is_tensor and given.shape is not None:
            wanted = wanted[given.shape]
        return [(node.output[0], both(wanted, self.type_of(node.output[0])))]

    # --- standard ops -------------------------------------------------------------------------------------------------

    def _onnx(self, node: onnx.NodeProto) -> Sharper:
        ins = [self._port(node, v, f"input {i}", t.TENSOR) for i, v in enumerate(node.input)]
        found = {v: x for v, x in zip(node.input, ins, strict=True) if v}
        self._bind_variables(node, found)
        given = [found.get(v) for v in node.input]
        for value, type_ in zip(node.output, self._inferred(node, given), strict=True):
            if value:
                known = found.get(value, self.type_of(value))
                found[value] = both(known, type_) if known.accepts(type_) else self._contradicted(node, value, type_)
        return list(found.items())

    def _bind_variables(self, node: onnx.NodeProto, found: dict[str, Type]) -> None:
        """Give all values whose formals share a type variable the elements that one of them has."""
        formal_in, formal_out = formal_types(node.op_type)
        named = [*zip(node.input, _stretched(formal_in, len(node.input)), strict=False)]
        named += zip(node.output, _stretched(formal_out, len(node.output)), strict=False)
        elems: dict[str, Type] = {}
        for value, variable in named:
            known = found.get(value, self.type_of(value)) if value else t.TENSOR
            if variable and known.elem:
                first = elems.setdefault(variable, t.BY_ELEM[known.elem])
                if first.elem != known.elem:
                    raise _Mismatch(
                        TypeSolveError(
                            f"{node.op_type} mixes elements of {first} and {known.bare}",
                            where=source_of(node),
                            hint="convert one of them: g.cast(value, ...)",
                        )
                    )
        for value, variable in named:
            if value and variable in elems:
                found[value] = both(found.get(value, self.type_of(value)), elems[variable])

    def _inferred(self, node: onnx.NodeProto, given: list[Type | None]) -> list[Type]:
        unknown = [t.TENSOR] * len(node.output)
        has_body = any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute)
        if has_body or not all(x is None or x.elem for x in given):
            return unknown
        schema = schema_of(node.op_type)
        if schema is None:
            return unknown
        constants = tuple(
            attribute_tensor(p).SerializeToString()
            if (p := self.producer.get(v)) is not None and (p.op_type, p.domain) == ("Constant", keys.ONNX)
            else b""
            for v in node.input
        )
        attrs = tuple(a.SerializeToString() for a in node.attribute)
        try:
            return list(infer(node.op_type, attrs, tuple(given), constants, len(node.output)))
        except ShapeConflict as error:
            raise _Mismatch(TypeSolveError(f"{node.op_type}: {error}", where=source_of(node))) from None

    # --- what crosses -------------------------------------------------------------------------------------------------

    def _check_sent(self) -> None:
        """Refuse to send what nobody has typed: its receivers could not tell what they get."""
        for node in self.nodes:
            if not _is_send(node):
                continue
            for value in data_inputs(node)[1 : 1 + attribute(node, keys.COUNT)]:
                if self.type_of(value) == t.ANY and self._untyped_input(value):
                    self._unresolved(node, value)

    def _untyped_input(self, value: str) -> bool:
        """Whether a value is an input of the program as it is, or passed on by ops that leave it as it is."""
        while value in self.producer and (self.producer[value].domain, self.producer[value].op_type) in _SAME:
            value = self.producer[value].input[0]
        return value in self.function.input

    def _unresolved(self, node: onnx.NodeProto, value: str) -> None:
        message = f"the Send delivers {value!r}, and nothing says what type it is"
        hint = f'declare it: g.input("{value}", bb.f32["N"]), or another type'
        place = input_source(self.function, value)
        also = [("it is declared here", place)] if place else []
        if self.state.options.permissive_types:
            self.state.warn(UntypedValue(message, where=source_of(node), also=also, hint=hint))
        else:
            self.state.add(UnresolvedType(message, where=source_of(node), also=also, hint=hint))


class _Mismatch(Exception):  # caught above
    def __init__(self, error: TypeSolveError) -> None:
        super().__init__(error)
        self.error = error


def attribute_tensor(node: onnx.NodeProto) -> onnx.TensorProto:
    """The tensor of a Constant."""
    tensor: onnx.TensorProto = next(a.t for a in node.attribute if a.name == "value")
    return tensor


def _repeated(ports: tuple[Port, ...], count: int) -> list[Port]:
    found = list(ports)
    if found and found[-1].variadic:
        found += [found[-1]] * (count - len(found))
    return found


def _stretched(formals: tuple[str, ...], count: int) -> list[str]:
    return [*formals, *[formals[-1] if formals else ""] * count][:count]


def _is_send(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) == (keys.WIRE, "Send")


_SAME: Final = {(keys.SYSCALL, name) for name in ("Gate", "Output", "PassThrough", "Tee", "Any", "Sleep")}

_RULES: Final[dict[tuple[str, str], Callable[[_Solver, onnx.NodeProto], Sharper]]] = {
    **dict.fromkeys(_SAME, _Solver.same),
    (keys.SYSCALL, "Cast"): _Solver.cast,
    (keys.COMPOSITE, "Unbundle"): _Solver.unbundled,
    (keys.WIRE, "Send"): _Solver.sent,
}
