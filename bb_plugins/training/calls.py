"""Ops that a model brings itself: functions, computed by their bodies, with the gradient of a rule where one is given.

A call is replaced by the nodes of its function's body. If its op has a gradient rule, these nodes are marked with the
call that they stand for: going backwards, they are one step, which is the rule's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

import onnx
from onnx import inliner

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.table import find_rule

MARK: Final = "bytesandbrains.training.call"


def without_calls(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose graph calls no function.

    Raises:
        NotDifferentiable: an op is neither ONNX's nor a function of the model.
    """
    if not model.functions and all(node.domain in _STANDARD for node in model.graph.node):
        return model
    ruled = {_key(f): f for f in model.functions if find_rule(f.name, f.domain) is not None}
    others = [(f.domain, f.name) for f in model.functions if _key(f) not in ruled]
    plain = onnx.ModelProto()
    plain.CopyFrom(inliner.inline_selected_functions(model, others) if others else model)
    ruled = {_key(f): f for f in plain.functions if _key(f) in ruled}
    del plain.functions[:]
    nodes = list(plain.graph.node)
    del plain.graph.node[:]
    for number, node in enumerate(nodes):
        plain.graph.node.extend(_written_out(node, ruled, f"call_{number}/", ""))
    for node in plain.graph.node:
        if node.domain not in _STANDARD:
            has_rule = find_rule(node.op_type, node.domain) is not None
            raise NotDifferentiable(
                f"the op {node.op_type} of {node.domain} is neither ONNX's nor a function of the model",
                where=f"node {node.name!r}, which gives {node.output[0]!r}",
                hint=f"add a function {node.op_type} of the domain {node.domain} to the model, by which it is computed"
                if has_rule
                else "export it without contrib ops; an op of your own is a function of the model",
            )
    return plain


_STANDARD: Final = ("", "ai.onnx")


def _key(function: onnx.FunctionProto) -> tuple[str, str]:
    return function.domain, function.name


def _written_out(
    node: onnx.NodeProto, functions: dict[tuple[str, str], onnx.FunctionProto], prefix: str, mark: str
) -> Iterator[onnx.NodeProto]:
    body = functions.get((node.domain, node.op_type))
    if body is None:
        if mark:
            node.metadata_props.add(key=MARK, value=mark)
        yield node
        return
    mark = mark or b64encode(node.SerializeToString(deterministic=True)).decode()
    for number, inner in enumerate(inlined(body, node, prefix)):
        yield from _written_out(inner, functions, f"{prefix}{number}/", mark)


def inlined(body: onnx.FunctionProto, call: onnx.NodeProto, prefix: str) -> Iterator[onnx.NodeProto]:
    """Give a body's nodes with the names of one call."""
    defaults = {a.name: a for a in body.attribute_proto}
    given = {a.name: a for a in call.attribute}
    names = dict(zip(body.input, call.input, strict=False))
    names |= dict.fromkeys(list(body.input)[len(call.input) :], "")
    names |= {o: c for o, c in zip(body.output, call.output, strict=False) if c}

    def name(local: str) -> str:
        return names.get(local, f"{prefix}{local}") if local else ""

    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}{node.name or node.output[0]}"
        copy.input[:] = [name(i) for i in node.input]
        copy.output[:] = [name(o) for o in node.output]
        del copy.attribute[:]
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                copy.attribute.append(attribute)
                continue
            source = given.get(attribute.ref_attr_name) or defaults.get(attribute.ref_attr_name)
            if source is not None:
                copy.attribute.append(source)
                copy.attribute[-1].name = attribute.name
        yield copy


def mark_of(node: onnx.NodeProto) -> str:
    """What marks a node as part of a call; empty if it is none."""
    return next((p.value for p in node.metadata_props if p.key == MARK), "")


def units(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes with each call, in the place of its last node, instead of what it was written out as."""
    found: dict[Any, onnx.NodeProto] = {}
    for number, node in enumerate(nodes):
        mark = mark_of(node)
        if mark:
            call = found.pop(mark, None) or onnx.NodeProto.FromString(b64decode(mark))
            found[mark] = call
        else:
            found[number] = node
    return list(found.values())


def unmarked(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes without marks."""
    found = []
    for node in nodes:
        if mark_of(node):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            kept = [p for p in node.metadata_props if p.key != MARK]
            del copy.metadata_props[:]
            copy.metadata_props.extend(kept)
            found.append(copy)
        else:
            found.append(node)
    return found
