"""`bb bench`: runs a suite in a process of its own, with every thread pool pinned to one thread."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from bb_core.errors import MissingExtra, RunFailed, UsageError, did_you_mean
from bb_core.plugins import installed_plugins
from bb_plugins.bench import comparing, picture
from bb_plugins.bench import instructions as counting

_POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "BLIS_NUM_THREADS")
_ENV = dict.fromkeys(_POOLS, "1") | {"PYTHONHASHSEED": "0"}


def bench(
    suite: Annotated[str, typer.Argument(help="A suite's name; without it the suites are listed.")] = "",
    rounds: Annotated[int, typer.Option(help="Rounds of each row; ours and the peer alternate.")] = 21,
    instructions: Annotated[bool, typer.Option(help="Count instructions too, under valgrind.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    save: Annotated[Path | None, typer.Option(help="Keep the table in this file, for --compare.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Say what has changed since a table that was kept.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the ratios to this file.")] = None,
) -> None:
    """Measure ours against a peer and a physical limit, and print ratios (below 1 is faster than the peer)."""
    suites = installed_plugins().suites.modules
    if not suite:
        _list(suites)
        return
    if suite not in suites:
        raise UsageError(f"there is no benchmark suite {suite!r}", hint=did_you_mean(suite, suites))
    if rounds < 1:
        raise UsageError(f"rounds is {rounds}", expected="at least 1")
    before = None if compare is None else comparing.read(compare, suite)
    _check_files(save, plot)
    found = run_suite(suite, suites[suite], rounds, instructions=instructions)
    changed = [] if before is None else comparing.changes(found, before)
    _write(found, save, plot)
    if as_json:
        typer.echo(json.dumps(found | ({} if before is None else {"changes": [asdict(c) for c in changed]})))
        return
    _print(found)
    if before is not None:
        _print_changes(changed, comparing.other_machine(found, before))
    for path in (save, plot):
        if path is not None:
            Console().print(f"written to {path}", highlight=False, markup=False)


def _check_files(save: Path | None, plot: Path | None) -> None:
    """Refuse before the measuring what could not be written after it."""
    if save is not None and not save.resolve().parent.is_dir():
        raise UsageError(f"--save: there is no folder {str(save.resolve().parent)!r}", hint="create it first")
    if plot is not None:
        picture.check(plot)


def _write(found: dict[str, Any], save: Path | None, plot: Path | None) -> None:
    if save is not None:
        comparing.save(found, save)
    if plot is not None:
        picture.draw(found, plot)


def run_suite(name: str, module: str, rounds: int, *, instructions: bool = False) -> dict[str, Any]:
    """Run one suite and return its table: `{"suite", "machine", "rows", "skipped"}`.

    Args:
        name: The suite.
        module: Where it stands.
        rounds: How often each row is measured.
        instructions: Count the instructions too, of the rows that the suite lists for it.

    Raises:
        MissingExtra: pytest-benchmark is not installed, or valgrind when it is needed.
        UsageError: instructions are asked for of a suite that counts none.
        RunFailed: the suite failed; the end of its output is quoted.
    """
    for needed in ("pytest", "pytest_benchmark"):
        if importlib.util.find_spec(needed) is None:
            raise MissingExtra("bb bench needs pytest and pytest-benchmark", hint='pip install "bytesandbrains[bench]"')
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RunFailed(f"the suite {name!r} is registered as {module}, which cannot be found")
    counts = counting.count(name, module, _ENV) if instructions else {}
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows.json"
        done = subprocess.run(
            [*_command(spec.origin, rows, rounds)],
            cwd=scratch,
            env=os.environ | _ENV,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not rows.exists():
            raise RunFailed(f"the suite {name!r} failed", hint=(done.stdout + done.stderr)[-2000:])
        table: dict[str, Any] = json.loads(rows.read_text(encoding="utf-8"))
        for row in table["rows"]:
            row["instructions"] = counts.get(row["name"])
        return {"suite": name} | table


def _command(file: str, rows: Path, rounds: int) -> list[str]:
    options = ["-q", "-p", "bb_plugins.bench.harness", "-p", "no:cacheprovider", "--import-mode=importlib"]
    options += ["-c", os.devnull, "--rootdir", str(Path(file).parent), "--benchmark-disable-gc", "--benchmark-quiet"]
    return [sys.executable, "-m", "pytest", *options, "--bb-rows", str(rows), "--bb-rounds", str(rounds), file]


def _list(suites: dict[str, str]) -> None:
    table = Table(
        title="Benchmark suites",
        caption="bb bench SUITE [--json] [--save FILE] [--compare FILE] [--plot FILE]",
        title_justify="left",
    )
    table.add_column("suite")
    table.add_column("module")
    for name in sorted(suites):
        table.add_row(name, suites[name])
    Console().print(table)


def _print(found: dict[str, Any]) -> None:
    machine = found["machine"]
    caption = f"{machine['cpu']}, {machine['cores']} cores, one thread; a ratio below 1 is faster than the peer"
    table = Table(title=f"bb bench {found['suite']}", caption=caption, title_justify="left")
    rows = found["rows"]
    columns = [
        c for c in _COLUMNS if c.name not in _OPTIONAL or any(row[_OPTIONAL[c.name]] is not None for row in rows)
    ]
    for column in columns:
        table.add_column(column.name, justify="left" if column.is_text else "right", overflow="fold")
    for row in found["rows"]:
        table.add_row(*(column.show(row) for column in columns))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    for reason in dict.fromkeys(skipped["reason"] for skipped in found["skipped"]):
        names = ", ".join(skipped["name"] for skipped in found["skipped"] if skipped["reason"] == reason)
        console.print(f"skipped {names}: {reason}", markup=False, highlight=False, soft_wrap=True)


def _print_changes(changed: list[comparing.Change], other: str) -> None:
    caption = f"another machine: {other}" if other else "a change within the spread of the rounds is left blank"
    table = Table(title="Since the table that was kept", caption=caption, title_justify="left")
    for column in ("row", "peer", "what", "before", "now", "change", ""):
        table.add_column(column, justify="right" if column in ("before", "now", "change") else "left")
    for each in changed:
        show = {"ours_ns": _time, "bytes": _bytes}.get(each.measure, _ratio)
        what = {"ratio": "ratio", "limit_ratio": "to limit", "bytes": "memory", "ours_ns": "time"}[each.measure]
        verdict = "" if each.is_noise else "[green]better" if each.change < 1 else "[red]worse"
        cells = (each.name, each.peer or "-", what, show(each.before), show(each.now), f"{each.change:.2f}x")
        table.add_row(*cells, verdict)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _time(ns: float | None) -> str:
    if ns is None:
        return "-"
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= scale:
            return f"{ns / scale:.3g} {unit}"
    return f"{ns:.3g} ns"


def _bytes(count: float) -> str:
    return f"{count / 1024:.1f} kB" if count >= 1024 else f"{count:.1f} B"


def _count(count: float | None) -> str:
    return "-" if count is None else f"{count:,.0f}"


def _rate(row: dict[str, Any], field: str) -> str:
    return "-" if row.get(field) is None else f"{row[field]:.3g} {row['unit']}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio >= 0.095 else f"{ratio:.2g}x"


class _Column(NamedTuple):
    name: str
    show: Callable[[dict[str, Any]], str]
    is_text: bool = False


_COLUMNS: Final = (
    _Column("row", lambda row: str(row["name"]), is_text=True),
    _Column("ours", lambda row: _time(row["ours_ns"]) if row["bytes"] is None else _bytes(row["bytes"])),
    _Column("instructions", lambda row: _count(row["instructions"])),
    _Column("peer", lambda row: row["peer"] or "-", is_text=True),
    _Column("peer's", lambda row: _time(row["peer_ns"])),
    _Column("ratio", lambda row: _ratio(row["ratio"])),
    _Column("spread", lambda row: f"{row['spread']:.0%}"),
    _Column("limit", lambda row: row["limit"] or "-", is_text=True),
    _Column("to limit", lambda row: _ratio(row["limit_ratio"])),
    _Column("rate", lambda row: _rate(row, "rate")),
    _Column("limit's", lambda row: _rate(row, "limit_rate")),
)
_OPTIONAL: Final = {"instructions": "instructions", "rate": "rate", "limit's": "limit_rate"}
"""Columns that are left out where no row has the field."""
