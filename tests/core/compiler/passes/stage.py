"""Brings a program to just before a pass, and writes it as compact text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

import bb_core as bb
from bb_core import keys
from bb_core.compiler.passes import PASSES
from bb_core.compiler.state import Options, State
from bb_core.ir.proto import attribute, attributes, control_inputs, data_inputs, metadata
from bb_core.registry import Use, use

_HIDDEN = {keys.AFTER, keys.PORTS, keys.EDGE, keys.COUNT, keys.KINDS, keys.SITES}


def before(
    name: str, module: bb.Module, bindings: Mapping[str, Any] | None = None, **options: Any
) -> tuple[onnx.ModelProto, State]:
    """A program as the passes before `name` leave it."""
    given = {k: v if isinstance(v, Use) else use(v) for k, v in (bindings or {}).items()}
    late = frozenset(options.pop("late", ()))
    targets = options.pop("targets", None)
    model = module.build()
    state = State(Options(**options), given=given, late=late, targets=targets)
    state.read_slots(model)
    for each in PASSES:
        if each.name == name:
            return model, state
        each.run(model, state)
        state.raise_errors(each.name)
    raise AssertionError(name)


def run(name: str, model: onnx.ModelProto, state: State) -> None:
    """Run one pass alone."""
    next(p for p in PASSES if p.name == name).run(model, state)


def alone(name: str, module: bb.Module, bindings: Mapping[str, Any] | None = None, **options: Any) -> onnx.ModelProto:
    """A program after a pass that found no fault."""
    model, state = before(name, module, bindings, **options)
    run(name, model, state)
    state.raise_errors(name)
    return model


def text(model: onnx.ModelProto, *, attrs: tuple[str, ...] | None = None, home: bool = False) -> dict[str, list[str]]:
    """The nodes of each function: `outs = Op(ins; after) {attributes} @home`."""
    return {f.name: [_node(n, attrs, home) for n in f.node] for f in model.functions}


def _node(node: onnx.NodeProto, attrs: tuple[str, ...] | None, home: bool) -> str:
    after = control_inputs(node)
    inputs = ", ".join(data_inputs(node)) + (f"; {', '.join(after)}" if after else "")
    given = attributes(node)
    shown = {k: v for k, v in given.items() if (k not in _HIDDEN if attrs is None else k in attrs)}
    options = " {" + ", ".join(f"{k}={v}" for k, v in sorted(shown.items())) + "}" if shown else ""
    where = f" @{metadata(node).get(keys.HOME, '?')}" if home else ""
    return f"{', '.join(node.output)} = {node.op_type}({inputs}){options}{where}"


def stamped_by(name: str, module: bb.Module, bindings: Mapping[str, Any]) -> list[tuple[str, set[str]]]:
    """The ops to which a gate pass has added gates, and which; run twice, it adds them once."""
    model, state = before(name, module, bindings)
    was = [set(attribute(n, keys.GATES, ())) for f in model.functions for n in f.node]
    run(name, model, state)
    run(name, model, state)
    nodes = [n for f in model.functions for n in f.node]
    added = [(n.op_type, set(attribute(n, keys.GATES, ())) - b) for n, b in zip(nodes, was, strict=True)]
    return [(op, gates) for op, gates in added if gates]
