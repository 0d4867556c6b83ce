"""What differs between two programs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bb_core.inspection.reading import Function, Program


def differences(before: Program, after: Program) -> list[str]:
    """Name what was added (+), removed (-) and changed (~): functions, inputs, ops, attributes, edges and bindings.

    Ops are told apart by their stable names; a moved line is no difference.
    """
    lines = _keyed("target", {f.name: f for f in before.functions}, {f.name: f for f in after.functions})
    olds = {f.name: f for f in before.functions}
    for function in after.functions:
        if function.name in olds:
            lines += _functions(olds[function.name], function)
    lines += _edges(before, after)
    lines += _values("slot", before.slots, after.slots)
    return lines


def _functions(a: Function, b: Function) -> list[str]:
    lines = _values(f"{a.name}: input", a.inputs, b.inputs) + _values(f"{a.name}: output", a.outputs, b.outputs)
    old, new = {o.name: o for o in a.ops}, {o.name: o for o in b.ops}
    lines += _keyed(f"{a.name}: op", old, new)
    for name, op in new.items():
        if name in old:
            was = old[name]
            for what in ("op", "slot", "inputs", "after", "outputs"):
                if getattr(was, what) != getattr(op, what):
                    lines.append(
                        f"~ {a.name}: {name}: {what} {_show(getattr(was, what))} -> {_show(getattr(op, what))}"
                    )
            lines += _values(f"{a.name}: {name}: attribute", was.attributes, op.attributes)
    return lines


def _edges(before: Program, after: Program) -> list[str]:
    old = {(e.sender, e.name): e for e in before.edges}
    new = {(e.sender, e.name): e for e in after.edges}
    titled = {k: f"{e.name} ({e.sender} -> {e.receiver})" for k, e in {**old, **new}.items()}
    lines = [f"- edge {titled[k]}" for k in old if k not in new] + [f"+ edge {titled[k]}" for k in new if k not in old]
    for key, edge in new.items():
        if key in old:
            lines += _values(f"edge {edge.name}: value", old[key].values, edge.values)
            for what in ("receiver", "is_reply", "gates", "delivery_ns"):
                a, b = getattr(old[key], what), getattr(edge, what)
                if a != b:
                    lines.append(f"~ edge {edge.name}: {what} {_show(a)} -> {_show(b)}")
    return lines


def _keyed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [f"- {what} {k}" for k in old if k not in new] + [f"+ {what} {k}" for k in new if k not in old]


def _values(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = [f"~ {what} {k}: {_show(old[k])} -> {_show(v)}" for k, v in new.items() if k in old and old[k] != v]
    return _keyed(what, old, new) + changed


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {v}" for k, v in value.items() if v not in (None, {})) or "nothing"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
