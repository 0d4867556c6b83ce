"""`bb methods`: ways of federated learning beside one another, on the demo's data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import bb_core as bb
from bb_core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from bb_plugins.recipes.experiment import Experiment

_ROUNDS: Final = (1, 5, 10, 20, 30, 40, 50)
METHODS: Final[dict[str, dict[str, Any]]] = {
    "FedAvg": {},
    "FedProx 0.1": {"proximal": 0.1},
    "SCAFFOLD": {"control_variates": True, "aggregator": "bytesandbrains.Scaffold"},
    "FedAvgM 0.9": {"aggregator": bb.use("bytesandbrains.FedAvgM", momentum=0.9)},
    "FedAdam 0.03": {"aggregator": bb.use("bytesandbrains.FedAdam", learning_rate=0.03)},
}
"""What of an Experiment makes a method."""
_SKEWED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """What one method gave in one setting.

    Attributes:
        curves: (seeds, rounds) accuracy after each round.
    """

    setting: str
    method: str
    curves: Any

    @property
    def last(self) -> tuple[float, float]:
        """Mean and standard deviation over seeds of the mean over the last ten rounds."""
        each = self.curves[:, -10:].mean(axis=1)
        return float(each.mean()), float(each.std())

    @property
    def to_90(self) -> list[int | None]:
        """By seed, the first round with 90 % accuracy; None where there is none."""
        return [int(np.argmax(curve >= 0.9)) + 1 if (curve >= 0.9).any() else None for curve in self.curves]

    def cells(self, rounds: tuple[int, ...]) -> list[str]:
        """The row for people."""
        mean, spread = self.last
        at = [_short(self.curves[:, r - 1].mean()) for r in rounds]
        reached = " ".join("-" if r is None else str(r) for r in self.to_90)
        return [self.setting, self.method, *at, f"{_short(mean)} +- {_short(spread)}", reached]


def methods_command(
    methods: Annotated[str, typer.Option(help=f"Some of {', '.join(METHODS)}, with commas; or all.")] = "all",
    seeds: Annotated[int, typer.Option(help="How many runs of each, with seeds from 0.")] = 5,
    rounds: Annotated[int, typer.Option(help="How many rounds each.")] = 50,
    clients: Annotated[int, typer.Option(help="How many clients share the training examples.")] = 20,
    share: Annotated[float, typer.Option(help="Which share of them takes part in a round.")] = 1.0,
    data: Annotated[str, typer.Option(help="digits, mnist5k or fashion.")] = "digits",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train by several methods, with labels dealt evenly and unevenly, by 1 and by 5 local epochs. Takes minutes."""
    wanted = _methods(methods)
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}", expected="at least 1")
    console = Console(stderr=True, quiet=not Console(stderr=True).is_terminal)
    rows = table_of(wanted, seeds, rounds, clients, share, data, console)
    shown = tuple(r for r in _ROUNDS if r <= rounds)
    header = ["labels, local epochs", "method", *(f"@{r}" for r in shown), "last ten rounds", "rounds to 90 %"]
    if as_json:
        found = [
            {"setting": r.setting, "method": r.method, "curves": r.curves.tolist(), "rounds_to_90": r.to_90}
            for r in rows
        ]
        typer.echo(json.dumps({"clients": clients, "share": share, "data": data, "rows": found}))
    elif markdown:
        for line in (header, ["---"] * len(header), *(r.cells(shown) for r in rows)):
            typer.echo(f"| {' | '.join(line)} |")
    else:
        _print(header, [r.cells(shown) for r in rows])


def _methods(text: str) -> list[str]:
    if text == "all":
        return list(METHODS)
    found = [part.strip() for part in text.split(",")]
    for name in found:
        if name not in METHODS:
            raise UsageError(f"--methods: there is no {name!r}", hint=did_you_mean(name, METHODS))
    return found


def table_of(
    methods: list[str], seeds: int, rounds: int, clients: int, share: float, data: str, console: Console | None = None
) -> list[Row]:
    """Run all, and return a row for each setting and method."""
    settings = list(product((None, _SKEWED), (1, 5)))
    rows = []
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console is None) as progress:
        task = progress.add_task("", total=len(settings) * len(methods) * seeds)
        for (alpha, epochs), method in product(settings, methods):
            setting = f"{'even' if alpha is None else f'Dirichlet {alpha:g}'}, E={epochs}"
            curves = []
            for seed in range(seeds):
                progress.update(task, description=f"{setting}, {method}")
                curves.append(_curve(_experiment(method, clients, rounds, epochs, alpha, seed, share, data)))
                progress.advance(task)
            rows.append(Row(setting, method, np.array(curves)))
    return rows


def _experiment(
    method: str, clients: int, rounds: int, epochs: int, alpha: float | None, seed: int, share: float, data: str
) -> Experiment:
    from bb_plugins.recipes.experiment import Experiment

    more = dict(METHODS[method])
    if method == "SCAFFOLD":
        more["aggregator"] = bb.use("bytesandbrains.Scaffold", clients=clients)
    return Experiment(clients, rounds, epochs, alpha, seed, data=data, share=share, **more)


def _curve(experiment: Experiment) -> list[float]:
    from bb_plugins.recipes.experiment import run_experiment

    return run_experiment(experiment).accuracy_by_round


def _print(header: list[str], rows: list[list[str]]) -> None:
    table = Table(title="Accuracy on what is held out, mean over seeds, after so many rounds", title_justify="left")
    for name in header:
        table.add_column(name)
    before = ""
    for row in rows:
        if before and row[0] != before:
            table.add_section()
        table.add_row(*row)
        before = row[0]
    Console(width=None if Console().is_terminal else 140).print(table)


def _short(share: float) -> str:
    return f"{share:.3f}".removeprefix("0")
