"""`bb up`: a program as real processes on this machine, with certificates, before your eyes."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

import bb_core as bb
from bb_core.errors import UsageError

if TYPE_CHECKING:  # every `bb` reads this file
    from rich.table import Table

    from bb_plugins.hosts.local.federation import Federation, Plan, Site
    from bb_plugins.hosts.simulator.simulate import Until

_LOOK_SECONDS: Final = 0.25
_FOREVER: Final = 10**9
_DRAIN_SECONDS: Final = 15.0
_INTERRUPTED: Final = 130


def up(
    what: Annotated[str, typer.Argument(help="app.py:Module, package.module:Module, or a built .onnx file.")],
    nodes: Annotated[
        str, typer.Option(help="How many peers there are: 5, or by class: client=5,edge=2. One process for each.")
    ] = "5",
    until: Annotated[
        str, typer.Option(help="round=50, time=60s, or a value: accuracy=0.95. By default 10 rounds, or Ctrl-C.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 0,
    bind: Annotated[list[str], typer.Option("--bind", help="slot=Concrete; overrides `bindings` in the file.")] = [],  # noqa: B006  # typer's way of a repeatable option
    options: Annotated[list[str], typer.Option("--set", help="slot.option=value: one option of what is bound.")] = [],  # noqa: B006
    keep: Annotated[Path | None, typer.Option(help="Keep all files in this new folder, to start Nodes again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end and nothing else.")] = False,
) -> None:
    """Start a federation of real processes with TLS on this machine. Ctrl-C ends it; nothing is left behind."""
    from bb_plugins.hosts.local.federation import Federation, folder_for

    goal, plan = _plan(what, nodes, until, seed, bind, options)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="bb-up-")) if keep is None else ""
        folder = folder_for(keep, scratch)
        is_told = stack.enter_context(_one_end_at_a_time())
        federation = stack.enter_context(Federation(plan, folder))
        show = stack.enter_context(_shown(federation, as_json))
        _watch(federation, goal, show, is_told)
        late = federation.stop(_DRAIN_SECONDS)
        show(True)
    for site in late:
        Console(stderr=True).print(f"[yellow]{site.name} did not end in {_DRAIN_SECONDS:g} s and was killed")
    if as_json:
        typer.echo(json.dumps(_as_json(federation)))
    elif keep is not None:
        typer.echo(f"kept in {keep}; one of them again: bb node run {keep / federation.sites[0].name}.toml")
    if is_told() and goal is not None:
        raise typer.Exit(_INTERRUPTED)


def _plan(
    what: str, nodes: str, until: str, seed: int, bind: list[str], options: list[str]
) -> tuple[Until | None, Plan]:
    from bb_core.commands.loading import bindings_for, load
    from bb_core.testing import Population
    from bb_plugins.hosts.counts import counts
    from bb_plugins.hosts.local.federation import Plan
    from bb_plugins.hosts.simulator.simulate import Until

    if seed < 0:
        raise UsageError(f"--seed {seed}", expected="0 or more")
    goal = Until.parse(until) if until else None
    loaded = load(what)
    if loaded.is_compiled:
        raise UsageError(f"{what} is compiled already", expected="a Module, or a model that is only built")
    program = loaded.program
    module = program if isinstance(program, bb.Module) else bb.Module.from_proto(program)
    population = Population(module, bindings_for(loaded, bind, options), counts(nodes))
    rounds = None
    if population.is_triggered:
        goal = goal or Until("round", 10)
        rounds = int(goal.value) if goal.what == "round" else _FOREVER
    elif goal is not None and goal.what == "round":
        raise UsageError(f"{population.target} takes no Trigger, and has no rounds", expected="--until time=60s")
    return goal, Plan(population, _absolute(what), rounds, seed, bind, options)


def _absolute(what: str) -> str | None:
    place, colon, name = what.rpartition(":")
    if what.endswith(".onnx") or not colon:
        return None
    return f"{Path(place).resolve()}:{name}" if place.endswith(".py") else what


@contextmanager
def _one_end_at_a_time() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C, or SIGTERM, only be noted, so that all ends in good order; the second ends it at once."""
    told: list[int] = []

    def note(number: int, frame: Any) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    federation: Federation, goal: Until | None, show: Callable[[bool], None], is_told: Callable[[], bool]
) -> None:
    """Look at the processes until the goal is reached, or somebody says that it is enough."""
    began: float | None = None
    while not is_told():
        federation.look()
        if began is None and all(site.status is not None for site in federation.sites):
            began = monotonic()
        show(False)
        if federation.is_done or (goal is not None and _is_reached(federation, goal, began)):
            return
        sleep(_LOOK_SECONDS)


def _is_reached(federation: Federation, goal: Until, began: float | None) -> bool:
    if goal.what == "time":
        return began is not None and monotonic() - began >= goal.value / 1e9
    if goal.what == "round":
        return False
    values = [site.status.values.get(goal.what) for site in federation.sites if site.status is not None]
    return any(value is not None and value >= goal.value for value in values)


# --- what is shown ----------------------------------------------------------------------------------------------------


@contextmanager
def _shown(federation: Federation, as_json: bool) -> Iterator[Callable[[bool], None]]:
    """Give what shows how things stand: a live table on a terminal, and elsewhere each round as it ends."""
    console = Console()
    if as_json:
        yield lambda is_last: None
    elif console.is_terminal:
        from rich.live import Live

        with Live(_table(federation), console=console, auto_refresh=False) as live:
            yield lambda is_last: live.update(_table(federation), refresh=True)
    else:
        yield _Lines(federation, console)


class _Lines:
    """Prints what the processes that play rounds print, and at the end the table."""

    def __init__(self, federation: Federation, console: Console) -> None:
        self._federation = federation
        self._console = console
        self._read = dict.fromkeys((site.name for site in federation.sites), 0)

    def __call__(self, is_last: bool) -> None:
        for site in self._federation.sites:
            path = self._federation.folder / f"{site.name}.out"
            with path.open("rb") as file:
                file.seek(self._read[site.name])
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[site.name] += len(whole)
            sys.stdout.write(whole.decode("utf-8", "replace"))
        sys.stdout.flush()
        if is_last:
            Console(width=None if self._console.is_terminal else 120).print(_table(self._federation))


def _table(federation: Federation) -> Table:
    from rich.table import Table

    from bb_plugins.hosts.asyncio.commands import amount, seen, short

    value = _value_name(federation)
    table = Table(title=f"{federation.sites[0].member.target}, {len(federation.sites)} processes", title_justify="left")
    for name, is_number in (
        ("node", False),
        ("peer", False),
        ("process", False),
        ("round", True),
        (value or "value", True),
        ("out", True),
        ("in", True),
        ("last seen", True),
    ):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for site in federation.sites:
        status = site.status
        told = ("-", "-", "-", "-")
        if status is not None:
            number = status.values.get(value, None) if value else None
            told = (
                _round(site),
                "-" if number is None else f"{number:.4g}",
                amount(status.sent_bytes),
                amount(status.received_bytes),
            )
        table.add_row(site.name, short(str(site.peer)), _state(site), *told, seen(federation.last_seen(site)))
    return table


def _value_name(federation: Federation) -> str:
    """Which of the program's numbers is shown."""
    names = {name for site in federation.sites if site.status is not None for name in site.status.values}
    return "accuracy" if "accuracy" in names else min(names, default="")


def _round(site: Site) -> str:
    """The rounds that a Node has played; of one that only answers, the Frames that it has begun."""
    status = site.status
    assert status is not None
    if status.rounds_done is None:
        return f"{status.executions:,}"
    return f"{status.rounds_done:,}" + (f" of {status.rounds:,}" if (status.rounds or 0) < _FOREVER else "")


def _state(site: Site) -> str:
    from bb_plugins.hosts.local.federation import how_ended

    if site.ended is not None:
        return "ended" if site.ended == 0 else how_ended(site.ended)
    return "starting" if site.status is None else f"{site.process.pid}"


def _as_json(federation: Federation) -> dict[str, Any]:
    return {
        "target": federation.sites[0].member.target,
        "nodes": [
            {
                "name": site.name,
                "peer": str(site.peer),
                "exit": site.ended,
                "rounds": None if site.status is None else site.status.rounds_done,
                "executions": None if site.status is None else site.status.executions,
                "values": {} if site.status is None else site.status.values,
                "sent_bytes": 0 if site.status is None else site.status.sent_bytes,
                "received_bytes": 0 if site.status is None else site.status.received_bytes,
            }
            for site in federation.sites
        ],
    }
