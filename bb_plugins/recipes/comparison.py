"""`bb compare`: what Codecs cost and what liars do, measured before your eyes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bb_core.errors import UsageError, did_you_mean
from bb_plugins.recipes.comparing import FACTOR, KINDS, LAST, LIARS, Comparison, compare
from bb_plugins.recipes.demo import alpha_of, check_path
from bb_plugins.recipes.experiment import Experiment


def compare_command(
    what: Annotated[str, typer.Argument(help="codecs: what compression costs. aggregators: what liars do.")],
    seeds: Annotated[int, typer.Option(help="How many runs of each line, each with its own seed.")] = 5,
    rounds: Annotated[int, typer.Option(help="How many rounds to train; accuracy is the mean of the last ten.")] = 50,
    clients: Annotated[int, typer.Option(help="How many clients share the 1437 training examples.")] = 20,
    epochs: Annotated[int, typer.Option(help="Passes over a client's own data in each round.")] = 5,
    alpha: Annotated[
        str, typer.Option(help="How labels are dealt: iid, or a number; the smaller, the fewer labels a client sees.")
    ] = "iid",
    plot: Annotated[Path | None, typer.Option(help="Draw accuracy by round to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare Codecs, or Aggregators while some clients lie, on handwritten digits. Takes a minute."""
    if what not in KINDS:
        raise UsageError(
            f"there is no comparison of {what!r}", expected=" or ".join(KINDS), hint=did_you_mean(what, KINDS)
        )
    experiment = Experiment(clients, rounds, epochs, alpha_of(alpha))
    check_path(plot, "--plot", (".png", ".svg", ".pdf"))
    console = Console(stderr=as_json, quiet=as_json)
    found = _run(what, experiment, seeds, console)
    if plot is not None:
        from bb_plugins.recipes.plot import draw_comparison

        draw_comparison(found, plot)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    console.print(table_of(found))
    if plot is not None:
        console.print(f"picture written to {plot}", highlight=False, markup=False)


def table_of(found: Comparison) -> Table:
    """Make the table that is printed."""
    experiment = found.experiment
    dealt = "evenly" if experiment.alpha is None else f"by Dirichlet, alpha {experiment.alpha:g}"
    title = f"{experiment.clients} clients, labels dealt {dealt}, {experiment.rounds} rounds"
    if found.kind == "aggregators":
        title += f"; {LIARS} clients send their update times {FACTOR:g}"
    caption = f"accuracy: mean of the last {LAST} rounds, over {found.seeds} seeds, with its standard deviation"
    if found.kind == "codecs":
        caption += ". bytes: of an update; error: squared, of an element; MB: of all Envelopes, both ways"
    table = Table(title=title, caption=caption, title_justify="left")
    columns = ["accuracy", "points"]
    columns += ["bytes", "share", "error", "MB"] if found.kind == "codecs" else []
    table.add_column("codec" if found.kind == "codecs" else "aggregator")
    for column in columns:
        table.add_column(column, justify="right")
    for line in found.lines:
        points = "-" if line.arm.is_reference else f"{found.points(line):+.2f}"
        cells = [line.arm.name, f"{100 * line.mean:.2f} ± {100 * line.deviation:.2f}", points]
        if found.kind == "codecs":
            cells += [f"{line.update_bytes:,.0f}", f"{line.update_bytes / line.whole_bytes:.1%}"]
            cells += [f"{line.error:.2g}", f"{line.wire_bytes / 1e6:.1f}"]
        table.add_row(*cells)
    return table


def _run(what: str, experiment: Experiment, seeds: int, console: Console) -> Comparison:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[name]}"), console=console, transient=True) as progress:
        task = progress.add_task("runs", total=None, name="")
        return compare(
            what,
            experiment,
            seeds,
            on_run=lambda done, total, name: progress.update(task, completed=done, total=total, name=name),
        )
