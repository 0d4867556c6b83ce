"""`If` and `Loop`: bodies that a Backend runs, recorded from functions of the author.

A body may use values of the Graph around it; ONNX calls that capture. It may hold standard ONNX ops only: what talks to
peers or Concretes stands outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bb_core import types as t
from bb_core.dsl.output import Output
from bb_core.dsl.source import caller_line
from bb_core.errors import IllegalInBranch, TypeMismatch
from bb_core.ir.recorded import RecordedGraph
from bb_core.types import Type

if TYPE_CHECKING:
    from bb_core.dsl.graph import Graph

_COUNTER: Final = t.i64[()]
_CONDITION: Final = t.bool_[()]


def trace(
    g: Graph, op_type: str, inputs: Sequence[Output | None], attributes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Type] | None]:
    """Record the bodies among an op's attributes. Returns all attributes, and the outputs' types if bodies say them."""
    found: dict[str, Any] = {}
    outputs: list[Type] | None = None
    for name, value in attributes.items():
        if not callable(value):
            found[name] = value
            continue
        body = found[name] = _record(g, f"{op_type}.{name}", value, _formals(op_type, inputs))
        given = [v.type for v in body.outputs]
        given = given[1:] if op_type == "Loop" else given
        if outputs is not None and len(outputs) != len(given):
            raise TypeMismatch(
                f"the branches of {op_type} return {len(outputs)} and {len(given)} values",
                where=caller_line(),
                expected="as many values from each",
            )
        outputs = given if outputs is None else [_either(a, b) for a, b in zip(outputs, given, strict=True)]
    return found, outputs


def refuse_in_body(g: Graph, domain: str, op_type: str, legal: str) -> None:
    """Refuse an op that is no standard ONNX inside a body."""
    if g.body is not None and domain != legal:
        raise IllegalInBranch(
            f"{op_type} stands in the body of {g.body.name}",
            where=caller_line(),
            expected="ops of a Backend slot and constants",
            hint="record it outside, and use its value inside",
        )


def _formals(op_type: str, inputs: Sequence[Output | None]) -> list[Type]:
    if op_type != "Loop":
        return []
    return [_COUNTER, _CONDITION, *(t.TENSOR if v is None else v.type for v in inputs[2:])]


def _record(g: Graph, name: str, body: Callable[..., Any], formals: Sequence[Type]) -> RecordedGraph:
    outer, g.body = g.body, RecordedGraph(g.node_name(name))
    try:
        inner = g.body
        arguments = []
        for i, type_ in enumerate(formals):
            value = g.new_value(inner.name, f"in{i}", type_, f"in{i}")
            inner.inputs[value.name] = type_
            arguments.append(value)
        returned = body(*arguments)
        values = (returned,) if not isinstance(returned, tuple | list) else tuple(returned)
        if not values:
            raise TypeMismatch(f"the body {name} returns nothing", where=caller_line(), expected="a value, or several")
        inner.outputs.extend(_made_inside(g, inner, g.check(v)) for v in values)
    finally:
        g.body = outer
    return inner


def _made_inside(g: Graph, body: RecordedGraph, value: Output) -> Output:
    """ONNX wants a body's outputs to be made in it: one that is not goes through an Identity."""
    if any(value.name in n.outputs for n in body.nodes):
        return value
    node = g.node_name("Identity")
    out = g.new_value(node, "out", value.type, value.port)
    g.push("", "Identity", [value.name], [out.name], node)
    return out


def _either(a: Type, b: Type) -> Type:
    return a if a == b else t.BY_ELEM[a.elem] if a.elem and a.elem == b.elem else t.TENSOR
