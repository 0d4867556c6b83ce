"""`bb compile`: from a Module in a file to an artefact."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bb_core.commands.showing import show
from bb_core.errors import ProtocolWarning, UsageError

if TYPE_CHECKING:
    from bb_core.compiler.driver import Observation
    from bb_core.inspection.reading import Program

What = Annotated[str, typer.Argument(help="app.py:Module, package.module:Module, or a built .onnx file.")]
Bind = Annotated[list[str], typer.Option("--bind", help="slot=Concrete; overrides `bindings` in the file.")]
Set = Annotated[list[str], typer.Option("--set", help="slot.option=value: one option of what is bound.")]
Late = Annotated[list[str], typer.Option("--late", help="A slot that each site binds for itself, at install.")]
Permissive = Annotated[bool, typer.Option("--permissive", help="What the type solver cannot settle is a warning.")]


@dataclass
class Timings:
    """How long each pass took, and what the program was after it."""

    began: int = field(default_factory=perf_counter_ns)
    rows: list[dict[str, Any]] = field(default_factory=list)
    _before: dict[str, int] = field(default_factory=dict)

    def __call__(self, seen: Observation) -> None:
        """Take in one pass."""
        now = perf_counter_ns()
        did = {k: v - self._before.get(k, 0) for k, v in seen.counters.items() if k not in ("functions", "nodes")}
        self.rows.append(
            {
                "pass": seen.name,
                "ns": now - self.began,
                "functions": seen.counters["functions"],
                "nodes": seen.counters["nodes"],
                "did": {k: v for k, v in did.items() if v},
            }
        )
        self._before = dict(seen.counters)
        self.began = perf_counter_ns()


def compile_program(
    what: What,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to write the artefact.")] = None,
    bind: Bind = [],  # noqa: B006  # typer's way of a repeatable option
    options: Set = [],  # noqa: B006
    late: Late = [],  # noqa: B006
    target: Annotated[list[str], typer.Option("--target", help="Bind only what this target needs.")] = [],  # noqa: B006
    permissive: Permissive = False,
    timings: Annotated[bool, typer.Option("--timings", help="Show the time and work of each pass.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile a Module into an artefact that `bb.install` takes."""
    from bb_core.commands.loading import compiler_for, load
    from bb_core.inspection.reading import read_program

    loaded = load(what)
    if loaded.is_compiled:
        raise UsageError(f"{what} is compiled already", hint=f"look at it: bb inspect {what}")
    compiler = compiler_for(loaded, bind, options)
    if permissive:
        compiler.with_permissive_types()
    watch = Timings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProtocolWarning)
        artefact = compiler.compile(loaded.program, targets=target or None, late=late, observe=watch)
    data = artefact.SerializeToString(deterministic=True)
    program = read_program(artefact)
    out = out or Path(f"{program.name}.onnx")
    out.write_bytes(data)
    for finding in () if as_json else compiler.warnings:
        show(finding, Console(stderr=True))
    if as_json:
        more = {"passes": watch.rows, "warnings": [w.code for w in compiler.warnings]}
        typer.echo(json.dumps(_summary(program, data, out) | more, indent=1))
        return
    if timings:
        Console().print(_timings(watch))
    _print(program, data, out)


def _summary(program: Program, data: bytes, out: Path) -> dict[str, Any]:
    return {
        "artefact": str(out),
        "bytes": len(data),
        "digest": program.passport["digest"],
        "targets": program.passport["targets"],
        "ops": {f.name: len(f.ops) for f in program.functions},
        "edges": len(program.edges),
        "slots": program.slots,
        "plugins": program.passport["plugins"],
    }


def _print(program: Program, data: bytes, out: Path) -> None:
    ops = ", ".join(f"{f.name} ({len(f.ops)} ops)" for f in program.functions)
    typer.echo(f"{program.name}: {ops}; {len(program.edges)} edges")
    for path, slot in program.slots.items():
        config = f"  {slot['config']}" if slot.get("config") else ""
        typer.echo(f"  {path}: {slot.get('concrete') or 'late, bound at install'}{config}")
    typer.echo(f"wrote {out}, {len(data):,} bytes, digest {program.passport['digest'][:16]}")


def _timings(watch: Timings) -> Table:
    total = sum(r["ns"] for r in watch.rows)
    table = Table(title=f"compiled in {total / 1e6:.1f} ms")
    for column in ("", "pass", "ms", "share", "functions", "ops", "did"):
        table.add_column(column, justify="left" if column in ("pass", "did") else "right", no_wrap=column == "pass")
    for i, row in enumerate(watch.rows):
        did = ", ".join(f"{k} {v}" for k, v in row["did"].items())
        ms, share = f"{row['ns'] / 1e6:.2f}", f"{row['ns'] / total:.0%}"
        table.add_row(str(i) if i else "", row["pass"], ms, share, str(row["functions"]), str(row["nodes"]), did)
    return table
