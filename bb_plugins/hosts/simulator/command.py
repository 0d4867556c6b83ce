"""`bb simulate`: a program on many Nodes, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import bb_core as bb
from bb_core.errors import UsageError
from bb_plugins.hosts.counts import counts

if TYPE_CHECKING:  # every `bb` reads this file, and they load onnx
    from bb_plugins.hosts.simulator.result import SimulationResult
    from bb_plugins.hosts.simulator.simulate import Progress

_SUFFIXES = (".png", ".svg", ".pdf")


def simulate_program(
    what: Annotated[str, typer.Argument(help="app.py:Module, package.module:Module, or a built .onnx file.")],
    nodes: Annotated[
        str, typer.Option(help="How many peers there are: 1000, or by class: client=1000,edge=10.")
    ] = "100",
    scenario: Annotated[Path | None, typer.Option(help="A TOML file: links, Nodes, churn. Without it: ideal.")] = None,
    until: Annotated[str, typer.Option(help="round=50, time=100s, or a value: accuracy=0.95.")] = "time=60s",
    seed: Annotated[int, typer.Option(help="Of every random number; equal seeds give equal results.")] = 0,
    bind: Annotated[list[str], typer.Option("--bind", help="slot=Concrete; overrides `bindings` in the file.")] = [],  # noqa: B006  # typer's way of a repeatable option
    options: Annotated[list[str], typer.Option("--set", help="slot.option=value: one option of what is bound.")] = [],  # noqa: B006
    plot: Annotated[Path | None, typer.Option(help="Draw what happened over virtual time to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run a program on thousands of the Nodes that are deployed, in one process, in virtual time."""
    from bb_core.commands.loading import bindings_for, load
    from bb_plugins.hosts.simulator.scenario import Scenario, read_scenario
    from bb_plugins.hosts.simulator.simulate import Until, simulate

    found = read_scenario(scenario) if scenario is not None else Scenario()
    _check_plot(plot)
    if seed < 0:
        raise UsageError(f"--seed {seed}", expected="0 or more")
    loaded = load(what)
    if loaded.is_compiled:
        raise UsageError(f"{what} is compiled already", expected="a Module, or a model that is only built")
    program = loaded.program
    module = program if isinstance(program, bb.Module) else bb.Module.from_proto(program)
    bindings = bindings_for(loaded, bind, options)
    console = Console(stderr=True, quiet=as_json and not Console(stderr=True).is_terminal)

    def run(on_second: Callable[[Progress], None]) -> SimulationResult:
        return simulate(
            module,
            bindings=bindings,
            nodes=counts(nodes),
            until=Until.parse(until),
            scenario=found,
            seed=seed,
            on_second=on_second,
        )

    result = _watched(run, console)
    if plot is not None:
        from bb_plugins.hosts.simulator.plot import draw

        draw(result, plot)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    else:
        _report(result, Console(), plot)


def _check_plot(path: Path | None) -> None:
    """Refuse before the simulation what could not be written after it."""
    if path is None:
        return
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot is {str(path)!r}", expected=f"a file that ends with {' or '.join(_SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--plot: there is no directory {str(path.resolve().parent)!r}", hint="create it first")
    from bb_plugins.hosts.simulator.plot import check_installed

    check_installed()


def _watched(run: Callable[[Callable[[Progress], None]], SimulationResult], console: Console) -> SimulationResult:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("bringing up Nodes")

        def show(now: Progress) -> None:
            bar.update(task, description=_line(now))

        return run(show)


def _line(now: Progress) -> str:
    result, second = now.result, now.second
    parts = [f"{second.second} s", f"{second.live:,} Nodes", f"{second.envelopes:,} Envelopes/s"]
    if result.rounds:
        parts.append(f"round {len(result.rounds)}")
    parts += [f"{name} {value:.4g}" for name, value in sorted(now.latest.items())[:3]]
    return "   ".join(parts)


def _report(result: SimulationResult, console: Console, plot: Path | None) -> None:
    table = Table(title=f"{result.module}, scenario {result.scenario}, seed {result.seed}", show_header=False)
    table.title_justify = "left"
    for name, value in _rows(result):
        table.add_row(name, value)
    if plot is not None:
        table.add_row("plot", str(plot))
    console.print(table)
    for failure in result.failures[:3]:
        console.print(f"first failures: {failure}", markup=False, highlight=False, soft_wrap=True)


def _rows(result: SimulationResult) -> list[tuple[str, str]]:
    lost = result.lost / result.envelopes if result.envelopes else 0.0
    rows = [
        ("virtual time", f"{result.virtual_s:,.1f} s"),
        ("peers, Nodes brought up, crashes", f"{result.peers:,}, {result.loads:,}, {result.crashes:,}"),
        ("Envelopes sent", f"{result.envelopes:,} ({result.bytes_on_wire / 1e6:,.1f} MB), {lost:.1%} lost"),
        ("AppEvents", f"{result.steps['AppEvent']:,}"),
    ]
    if result.rounds:
        complete = [r for r in result.rounds if r.is_complete]
        rows.append(("rounds, of them with outputs", f"{len(result.rounds):,}, {len(complete):,}"))
        took = sorted(r.ended - r.began for r in result.rounds)
        rows.append(("virtual time of a round, median", f"{took[len(took) // 2]:.3f} s"))
    rows += [(f"{name}, at the end", _spread(*values)) for name, values in _last_values(result).items()]
    failed = {k: n for k, n in sorted(result.steps.items()) if k != "AppEvent"}
    if failed:
        rows.append(("other Steps", ", ".join(f"{n:,} {k}" for k, n in failed.items())))
    rows.append(("wall time", f"{result.wall_s:.1f} s, {result.events_per_second:,.0f} polls and Envelopes per second"))
    return rows


def _last_values(result: SimulationResult) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for second in result.seconds:
        found.update(second.values)
    return dict(sorted(found.items()))


def _spread(count: int, mean: float, least: float, greatest: float) -> str:
    return f"{mean:.4g}" if count == 1 else f"{mean:.6g} ({least:.6g} to {greatest:.6g}, of {count:,})"
