"""A protocol as a picture: a column for each class of peers, time downwards, arrows for what crosses the network.

The SVG is written by hand, since all it needs is boxes, arrows and text; it has its own background, and is the same
bytes for the same program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final

from bb_core import keys
from bb_core.inspection.reading import Edge, Function, Op, Program
from bb_core.inspection.telling import duration

LANE: Final = 290
GAP: Final = 230
MARGIN: Final = 24
TOP: Final = 96
SPACE: Final = 10
CHAR: Final = 6.65  # width of a character of the 11 px monospace text
FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# Role -> fill and stroke of its ops' boxes.
COLOURS: Final = {
    "model": ("#fdf0d5", "#c98a1b"),
    "aggregator": ("#e6f0e0", "#5b8c3e"),
    "peer_selector": ("#e5ecfa", "#4a6fb3"),
    "data_source": ("#f3e6f5", "#8e5aa0"),
    "backend": ("#eeeeee", "#777777"),
    "index": ("#dff1f1", "#2f8f8f"),
    "codec": ("#fbe7e3", "#b8573f"),
    "protocol": ("#ece7dc", "#7d6b3c"),
}
PLAIN: Final = ("#ffffff", "#9aa0a6")
REQUEST: Final = "#2457a6"
ANSWER: Final = "#b3541e"
_HIDDEN: Final = {"Gate", "Pulse"}
_RUN: Final = 4  # this many ops of one slot in a row are drawn as one


@dataclass(slots=True)
class _Box:
    """One drawn op, or a run of them."""

    lane: int
    title: str
    notes: list[str]
    colours: tuple[str, str]
    entry: str
    heading: str = ""
    shape: str = "box"
    sends: str = ""
    receives: str = ""
    y: float = 0.0

    @property
    def height(self) -> float:
        return 22 + 14 * len(self.notes)


@dataclass(slots=True)
class _Drawing:
    lanes: list[str] = field(default_factory=list)
    boxes: list[_Box] = field(default_factory=list)
    height: float = 0.0

    def x(self, lane: int) -> float:
        return MARGIN + lane * (LANE + GAP)


def to_svg(program: Program) -> str:
    """Draw a program. Returns the text of an SVG file."""
    drawing = _layout(program)
    width = drawing.x(len(drawing.lanes) - 1) + LANE + MARGIN + (GAP if _talks_to_itself(program) else 0)
    height = drawing.height + 64
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title desc" font-family="{FONT}">',
        f'<title id="title">{escape(program.name)}</title>',
        f'<desc id="desc">{escape(_described(program))}</desc>',
        "<defs>" + _marker("request", REQUEST) + _marker("answer", ANSWER) + "</defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fcfcfa"/>',
        _text(MARGIN, 30, program.name, 17, "#1c1c1c", bold=True),
    ]
    parts += _lanes(drawing, program)
    parts += _arrows(drawing, program.edges)
    parts += [_box(b, drawing) for b in drawing.boxes]
    parts += _legend(height - 26)
    return "\n".join([*parts, "</svg>"]) + "\n"


# --- layout -----------------------------------------------------------------------------------------------------------


def _layout(program: Program) -> _Drawing:
    drawing = _Drawing(list(dict.fromkeys(f.target for f in program.functions)))
    at = [float(TOP)] * len(drawing.lanes)
    last = [""] * len(drawing.lanes)
    begun: set[str] = set()
    sent: dict[str, float] = {}
    for function, run in _runs(program):
        box = _boxed(function, run, drawing.lanes.index(function.target))
        lane = box.lane
        if box.entry != last[lane]:
            box.heading = _heading(function, box.entry, run[0], goes_on=box.entry in begun)
            begun.add(box.entry)
            at[lane] += 22 if last[lane] else 8
            last[lane] = box.entry
        floor = sent.get(box.receives, 0.0) + 18 if box.receives else 0.0
        box.y = max(at[lane] + (16 if box.heading else 0), floor)
        at[lane] = box.y + box.height + SPACE
        if box.sends:
            sent[box.sends] = box.y
        drawing.boxes.append(box)
    drawing.height = max([*at, TOP + 40.0])
    return drawing


def _runs(program: Program) -> list[tuple[Function, list[Op]]]:
    """Put the ops of all functions in an order of time, long runs on one slot together."""
    runs: list[tuple[Function, list[Op]]] = []
    for function, op in _in_time(program):
        if op.op in _HIDDEN and op.domain == keys.SYSCALL:
            continue
        before = runs[-1][1][-1] if runs and runs[-1][0] is function else None
        if before is not None and op.slot and (before.slot, before.entries) == (op.slot, op.entries) and not op.waits:
            runs[-1][1].append(op)
        else:
            runs.append((function, [op]))
    split: list[tuple[Function, list[Op]]] = []
    for function, ops in runs:
        split += [(function, ops)] if len(ops) >= _RUN else [(function, [o]) for o in ops]
    return split


def _in_time(program: Program) -> list[tuple[Function, Op]]:
    """Order all ops so that each follows what it needs, staying in one function as long as that can go on."""
    first = sorted(program.functions, key=lambda f: not f.is_bootstrap)
    all_ops = [(f, op) for f in first for op in f.ops]
    index = {(f.name, op.name): i for i, (f, op) in enumerate(all_ops)}
    needs: list[set[int]] = [set() for _ in all_ops]
    made = {(f.name, v): index[f.name, op.name] for f, op in all_ops for v in op.outputs}
    sends = {(f.is_bootstrap, op.edge): index[f.name, op.name] for f, op in all_ops if op.op == "Send"}
    for i, (f, op) in enumerate(all_ops):
        needs[i] |= {made[f.name, v] for v in (*op.inputs, *op.after) if (f.name, v) in made}
        if op.op == "Recv" and (f.is_bootstrap, op.edge) in sends:
            needs[i].add(sends[f.is_bootstrap, op.edge])
        if op.op == "Collect":
            needs[i] |= {
                index[f.name, o.name] for g, o in all_ops if g is f and o.op == "Contribute" and o.slot == op.slot
            }
        if op.op == "Gather.Collect" and (f.name, f"{op.name}.contribute") in index:
            needs[i].add(index[f.name, f"{op.name}.contribute"])
    order: list[tuple[Function, Op]] = []
    left = list(range(len(all_ops)))
    done: set[int] = set()
    while left:
        ready = [i for i in left if needs[i] <= done] or left[:1]  # a ring cannot be, but must not hang the picture
        here = [i for i in ready if order and all_ops[i][0] is order[-1][0]]
        chosen = (here or ready)[0]
        order.append(all_ops[chosen])
        done.add(chosen)
        left.remove(chosen)
    return order


def _boxed(function: Function, run: list[Op], lane: int) -> _Box:
    op = run[0]
    entry = f"{function.name}/{'+'.join(op.entries)}"
    colours = COLOURS.get(op.role, PLAIN)
    if len(run) > 1:
        names = list(dict.fromkeys(o.op for o in run))
        return _Box(lane, f"{len(run)} ops on {op.slot}", _wrapped(", ".join(names)), colours, entry)
    if op.op == "Output":
        (value, type_), *_ = op.outputs.items()
        return _Box(lane, f"gives {value}: {type_}", [], PLAIN, entry, shape="pill")
    if op.op in ("Send", "Recv"):
        title = f"{'send' if op.op == 'Send' else 'receive'} {op.edge}"
        box = _Box(lane, title, [], ("#ffffff", REQUEST), entry, shape="tab")
        key = f"{function.is_bootstrap}:{op.edge}"
        box.sends, box.receives = (key, "") if op.op == "Send" else ("", key)
        return box
    title = f"{op.slot}.{op.op}" if op.slot else op.op
    notes = _wrapped(", ".join(f"{k}={v}" for k, v in _shown(op).items())) if _shown(op) else []
    if op.waits:
        notes.append(_waits(op))
    return _Box(lane, title, notes, colours, entry, shape="wait" if op.waits else "box")


def _shown(op: Op) -> dict[str, object]:
    hidden = {keys.DEADLINE, "peer_class", "delay", "duration"}
    shown = {k: v for k, v in op.attributes.items() if k not in hidden and v not in ("", [], 0, None)}
    return {k: duration(int(v)) if k == "period" else v for k, v in shown.items()}


def _waits(op: Op) -> str:
    for name in ("delay", "duration"):
        if name in op.attributes:
            return f"waits {duration(int(op.attributes[name]))}"
    deadline = op.attributes.get(keys.DEADLINE)
    if deadline is None and op.op == "Collect" and len(op.inputs) > 3 and op.inputs[3].isdigit():
        deadline = int(op.inputs[3])
    return f"waits for peers, at most {duration(int(deadline))}" if deadline else "waits for peers"


def _wrapped(text: str, width: int = 38) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return [cut if len(cut) <= width else cut[: width - 1] + "…" for cut in lines[:3]]


def _heading(function: Function, entry: str, op: Op, *, goes_on: bool) -> str:
    name = entry.partition("/")[2]
    if goes_on:
        return f"the Frame of {name!r} goes on"
    if name == "invoke":
        return "when invoked with " + ", ".join(f"{n}: {x}" for n, x in function.inputs.items())
    if name == "bootstrap":
        return "once, before the body"
    kind = name.partition(":")[0] if ":" in name else ""
    if kind:
        what = {"timer": "a timer", "event": "an event", "lifecycle": "a phase of life"}.get(kind, kind)
        return f"at {what}: {', '.join(map(str, _shown(op).values()))}"
    return f"when {name} arrives" if name and "+" not in name else "when any of these arrives" if name else ""


# --- drawing ----------------------------------------------------------------------------------------------------------


def _lanes(drawing: _Drawing, program: Program) -> list[str]:
    classes = {f.target: f.peer_class for f in program.functions}
    parts = []
    for lane, target in enumerate(drawing.lanes):
        x = drawing.x(lane)
        who = f"peers of class {classes[target]!r}" if classes[target] else "the Nodes that are invoked"
        parts.append(
            f'<rect x="{x:.0f}" y="46" width="{LANE}" height="{drawing.height - 46 + 8:.0f}" rx="10" fill="#ffffff" '
            'stroke="#c9ccd1"/>'
        )
        parts.append(_text(x + 14, 66, _cut(target, 34), 13, "#1c1c1c", bold=True))
        parts.append(_text(x + 14, 83, who, 11, "#5f6368"))
    return parts


def _box(box: _Box, drawing: _Drawing) -> str:
    x, width = drawing.x(box.lane) + 14, LANE - 28
    fill, stroke = box.colours
    radius = {"pill": box.height / 2, "tab": 3}.get(box.shape, 5)
    dash = ' stroke-dasharray="5 3"' if box.shape == "wait" else ""
    parts = []
    if box.heading:
        parts.append(_text(x, box.y - 6, _cut(box.heading, 40), 11, "#5f6368", italic=True))
    parts.append(
        f'<rect x="{x:.0f}" y="{box.y:.1f}" width="{width}" height="{box.height:.1f}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}"{dash}/>'
    )
    parts.append(_text(x + 10, box.y + 15, _cut(box.title, 37), 11, "#1c1c1c", bold=box.shape != "pill"))
    parts += [_text(x + 10, box.y + 29 + 14 * i, note, 11, "#44474b") for i, note in enumerate(box.notes)]
    return "\n".join(parts)


def _arrows(drawing: _Drawing, edges: tuple[Edge, ...]) -> list[str]:
    sending = {b.sends: b for b in drawing.boxes if b.sends}
    receiving = {b.receives: b for b in drawing.boxes if b.receives}
    taken: dict[int, list[tuple[float, float]]] = {}
    parts = []
    for edge in edges:
        key = f"{edge.sender.endswith('#bootstrap')}:{edge.name}"
        a, b = sending.get(key), receiving.get(key)
        if a is None or b is None:
            continue
        kind, colour = ("answer", ANSWER) if edge.is_reply else ("request", REQUEST)
        rightwards = b.lane >= a.lane
        x1 = drawing.x(a.lane) + (LANE - 14 if rightwards else 14)
        x2 = drawing.x(b.lane) + (14 if b.lane > a.lane else LANE - 14)
        y1, y2 = a.y + a.height / 2, b.y + b.height / 2
        bend = 60 if b.lane != a.lane else 110
        c1, c2 = (x1 + bend, x2 - bend) if b.lane > a.lane else (x1 - bend, x2 + bend)
        if b.lane == a.lane:
            c1 = c2 = x1 + bend
        parts.append(
            f'<path d="M {x1:.0f} {y1:.1f} C {c1:.0f} {y1:.1f}, {c2:.0f} {y2:.1f}, {x2:.0f} {y2:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="1.6" marker-end="url(#{kind})"/>'
        )
        gap = a.lane if rightwards else a.lane - 1
        parts += _label(drawing, gap, (y1 + y2) / 2 if abs(a.lane - b.lane) <= 1 else y1, edge, colour, taken)
    return parts


def _label(
    drawing: _Drawing, gap: int, y: float, edge: Edge, colour: str, taken: dict[int, list[tuple[float, float]]]
) -> list[str]:
    """Write what an arrow carries on the gap that it crosses first, where no other label stands."""
    lines = [_cut(f"{_last(port)}: {type_}", 30) for port, type_ in list(edge.values.items())[:3]]
    if len(edge.values) > 3:
        lines.append(f"and {len(edge.values) - 3} more")
    height = 14.0 * len(lines) + 6
    top = y - height / 2
    while any(top < b and top + height > a for a, b in taken.setdefault(gap, [])):
        top += 6
    taken[gap].append((top, top + height))
    width = max(map(len, lines)) * CHAR + 12
    x = drawing.x(gap) + LANE + GAP / 2 - width / 2
    parts = [
        f'<rect x="{x:.0f}" y="{top:.1f}" width="{width:.0f}" height="{height:.1f}" rx="4" fill="#fcfcfa" '
        f'stroke="{colour}" stroke-opacity="0.35"/>'
    ]
    return parts + [_text(x + 6, top + 14 + 14 * i, line, 11, colour) for i, line in enumerate(lines)]


def _legend(y: float) -> list[str]:
    parts = []
    x = float(MARGIN)
    for kind, colour, text in (("request", REQUEST, "request"), ("answer", ANSWER, "answer")):
        parts.append(
            f'<path d="M {x:.0f} {y - 4:.1f} L {x + 34:.0f} {y - 4:.1f}" stroke="{colour}" stroke-width="1.6" '
            f'marker-end="url(#{kind})"/>'
        )
        parts.append(_text(x + 44, y, text, 11, "#44474b"))
        x += 44 + len(text) * CHAR + 26
    parts.append(
        f'<rect x="{x:.0f}" y="{y - 12:.1f}" width="30" height="14" rx="3" fill="#ffffff" stroke="#9aa0a6" '
        'stroke-dasharray="5 3"/>'
    )
    parts.append(_text(x + 38, y, "waits, holding nothing; time runs downwards", 11, "#44474b"))
    return parts


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M 0 0 L 10 5 L 0 10 z" fill="{colour}"/></marker>'
    )


def _text(x: float, y: float, text: str, size: int, colour: str, *, bold: bool = False, italic: bool = False) -> str:
    style = (' font-weight="600"' if bold else "") + (' font-style="italic"' if italic else "")
    return f'<text x="{x:.0f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{style}>{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _last(port: str) -> str:
    return port.rpartition("/")[2]


def _talks_to_itself(program: Program) -> bool:
    return any(e.sender == e.receiver for e in program.edges)


def _described(program: Program) -> str:
    told = [f"{f.name} runs {len(f.ops)} ops." for f in program.functions]
    told += [f"{e.sender} sends {', '.join(e.values)} to {e.receiver}." for e in program.edges]
    return " ".join(told)
