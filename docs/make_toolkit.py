"""Makes `docs/reference/toolkit.md`: every op that a program can record, by family."""

from __future__ import annotations

from collections.abc import Iterable

from bb_core.ops.addresses import ADDRESS_OPS
from bb_core.ops.flow import FLOW_OPS
from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec
from bb_core.ops.structure import STRUCTURE_OPS
from bb_core.ops.telemetry import TELEMETRY_OPS
from bb_core.ops.timing import TIMING_OPS
from bb_core.ops.wire import WIRE_OPS
from bb_core.roles import ROLES
from bb_core.roles.contract import specs_of

_FAMILIES = (
    (
        "Sending and gathering",
        "`g.send`, `g.reply` and `g.gather` record these; the compiler writes most of their attributes.",
        WIRE_OPS,
    ),
    ("Values", "`g.output`, `g.cast`, `g.bundle`, `g.unbundle`, `g.stack`, and `bb.syscalls`.", STRUCTURE_OPS),
    ("Flow", "`bb.syscalls`; `g.again` and `g.on_failure`.", FLOW_OPS),
    ("Time and chance", "`bb.syscalls`. Time is the Node's: its host gives it with every poll.", TIMING_OPS),
    ("Telling the host", "`bb.syscalls`.", TELEMETRY_OPS),
    ("Addresses", "`bb.syscalls.address_book`.", ADDRESS_OPS),
)
_ANSWERS = {
    Answer.NOW: "at once",
    Answer.LATER: "at once, or later",
    Answer.NETWORK: "after other peers have; its Frame holds no slot meanwhile",
    Answer.TIME: "when its time has come; its Frame holds no slot meanwhile",
}


_KINDS = {"duration": 'a duration, as "30s"', "ints": "a list of int", "strs": "a list of str"}


def toolkit_page() -> str:
    """Make the page."""
    lines = [
        "# Toolkit",
        "",
        "Every op that a program can record, made from its one declaration: recorder, checks, stubs and this page",
        "cannot disagree. Inputs are given by position or by name, the attributes, written with `=`, by name; every",
        "recorder also takes `after=`, values to wait for. A name with `?` may be left out, or may stay unwritten, and",
        "then its readers never run; one with `*` is any number of values.",
        "",
        "A plugin adds ops in a domain of its own; they are recorded by `bb.opset(domain)`.",
        "",
        "## Slots",
        "",
        "A slot's methods are its Role's ops. A Backend slot has every op of ONNX by its name, as in",
        "`self.backend.matmul(g, a, b)`, and the operators of Python.",
    ]
    for role in ROLES.values():
        specs = specs_of(role)
        if specs:
            lines += ["", f"### {role.__name__}", "", _first(role.__doc__ or ""), "", f"Domain `{role.domain()}`."]
            lines += ["", *_table((f"slot.{method}", spec) for method, spec in specs.items())]
    for title, how, specs_ in _FAMILIES:
        rows = [(f"syscalls.{s.record}" if s.record else "", s) for s in specs_]
        lines += ["", f"## {title}", "", how, "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[tuple[str, OpSpec]]) -> list[str]:
    lines = ["| op | takes | gives | answers | |", "|---|---|---|---|---|"]
    for how, spec in rows:
        name = f"`{spec.name}`" + (f"<br>`{how}`" if how else "")
        what = _first(spec.doc).replace("|", "\\|")
        lines.append(f"| {name} | {_takes(spec)} | {_gives(spec)} | {_ANSWERS[spec.answer]}{_begins(spec)} | {what} |")
    return lines


def _takes(spec: OpSpec) -> str:
    parts = [f"`{s.name}`: a {s.role} slot" for s in spec.slots]
    parts += [f"`{'*' if p.variadic else ''}{p.name}{'?' if p.optional else ''}`: {p.type}" for p in spec.inputs]
    for a in spec.attributes:
        parts.append(
            f"`{a.name}=`{_KINDS.get(a.kind, a.kind)}" if a.default is REQUIRED else f"`{a.name}={_default(a)}`"
        )
    return "<br>".join(parts) or "-"


def _default(attribute: Attribute) -> str:
    if attribute.kind == "duration" and attribute.default:
        return f'"{attribute.default / 10**9:g}s"'
    return repr(attribute.default)


def _gives(spec: OpSpec) -> str:
    marks = (f"{'*' if p.variadic else ''}{p.name}{'?' if p.optional else ''}" for p in spec.outputs)
    return "<br>".join(f"`{mark}`: {p.type}" for mark, p in zip(marks, spec.outputs, strict=True))


def _begins(spec: OpSpec) -> str:
    return "; begins a Frame" if spec.source else "; at its first input" if spec.any_of else ""


def _first(doc: str) -> str:
    return " ".join(doc.strip().partition("\n\n")[0].split())
