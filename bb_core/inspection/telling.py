"""A program as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bb_core.inspection.reading import Edge, Function, Op, Program

_TIMES = ("period", "delay", "duration")
_NS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"))


def tell(program: Program, *, ops: bool = True) -> str:
    """Tell what a program is: its functions with entries and ops, what crosses between them, its slots, and calls."""
    lines = [program.name, *_passport(program)]
    for function in program.functions:
        lines += ["", *_function(function, ops)]
    if program.edges:
        lines += ["", "EDGES"]
        lines += _table([_edge(e) for e in program.edges])
    if program.slots:
        lines += ["", "SLOTS"]
        lines += _table([_slot(path, slot) for path, slot in program.slots.items()])
    called = [row for path, slot in program.slots.items() for row in _called(path, slot)]
    if called:
        lines += ["", "PEERS MAY CALL", *_table(called)]
    return "\n".join(lines)


def duration(ns: int) -> str:
    """Write nanoseconds as people do: `30 s`."""
    for scale, unit in _NS:
        if ns >= scale:
            return f"{ns / scale:g} {unit}"
    return f"{ns} ns"


def _passport(program: Program) -> list[str]:
    passport = program.passport
    if not passport:
        return ["  not compiled yet"]
    lines = [f"  compiled by {passport['compiler']}, digest {passport['digest'][:16]}"]
    lines.append(f"  targets: {', '.join(passport['targets'])}")
    if passport["plugins"]:
        lines.append(f"  needs: {', '.join(passport['plugins'])}")
    return lines


def _function(function: Function, ops: bool) -> list[str]:
    what = "bootstrap of " if function.is_bootstrap else ""
    on = f"peers of class {function.peer_class!r}" if function.peer_class else "the Nodes that are invoked"
    lines = [f"FUNCTION {function.name}: {what}{function.target} on {on}"]
    lines += [f"  in   {name}: {type_}" for name, type_ in function.inputs.items()]
    lines += [f"  out  {name}: {type_}" for name, type_ in function.outputs.items()]
    lines += [f"  begins with {name}: {what}" for name, what in function.entries.items()]
    if ops:
        lines += _table([_op(o) for o in function.ops])
    return lines


def _op(op: Op) -> tuple[str, ...]:
    outs = ", ".join(f"{v}: {x}" for v, x in op.outputs.items())
    after = f"; after {', '.join(op.after)}" if op.after else ""
    slot = f"[{op.slot}]" if op.slot else ""
    shown = {k: v for k, v in op.attributes.items() if v not in ("", [], None)}
    attrs = {k: duration(v) if k.endswith("_ns") or k in _TIMES else v for k, v in shown.items()}
    options = " {" + ", ".join(f"{k}={v}" for k, v in attrs.items()) + "}" if attrs else ""
    edge = f" <{op.edge}>" if op.edge else ""
    inputs = ", ".join(v or "-" for v in op.inputs)
    return f"{op.op}{slot}{edge}", f"({inputs}{after}){options}", f"-> {outs}" if outs else "", op.source


def _edge(edge: Edge) -> tuple[str, ...]:
    values = ", ".join(f"{port}: {type_}" for port, type_ in edge.values.items())
    kind = "answer" if edge.is_reply else "request"
    gates = ", ".join(edge.gates)
    return edge.name, f"{edge.sender} -> {edge.receiver}", values, kind, gates, _within(edge)


def _within(edge: Edge) -> str:
    return f"handed over within {duration(edge.delivery_ns)}" if edge.delivery_ns else ""


def _called(path: str, slot: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(f"/component/{slot['component']}/op/{op}", f"of {path}") for op in slot.get("inbound", ())]


def _slot(path: str, slot: dict[str, object]) -> tuple[str, ...]:
    concrete = slot.get("concrete", "") if "concrete" in slot else "not bound yet"
    config = slot.get("config")
    return path, str(slot["role"]), str(concrete or "late: bound at install"), str(config) if config else ""


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = [tuple(r) for r in rows]
    widths = [min(max((len(r[i]) for r in rows), default=0), 60) for i in range(max(map(len, rows), default=0))]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=False)).rstrip() for r in rows]
