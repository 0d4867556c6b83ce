"""`bb node`: a process for one Node, and what it can be asked."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bb_core.errors import BBError, UsageError

if TYPE_CHECKING:
    from bb_plugins.hosts.asyncio.status import PeerStatus, Status

node = typer.Typer(name="node", help="Run a Node in a process of its own, and ask how it is.", no_args_is_help=True)

_FILE = Annotated[Path, typer.Argument(help="node.toml: artefact, targets, identity, peers, slots.")]
_WHERE = Annotated[Path, typer.Argument(help="The Node's node.toml, or its state directory.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@node.command("run")
def run(
    file: _FILE,
    log: Annotated[str, typer.Option(help="How logs are written: text, or json. Overrides [log] in the file.")] = "",
    while_stdin: Annotated[
        bool, typer.Option("--while-stdin", help="End, in good order, when standard input is closed.")
    ] = False,
) -> None:
    """Run one Node until its rounds are done or it is stopped. Outputs go to stdout, logs to stderr."""
    from bb_plugins.hosts.asyncio.logs import set_up
    from bb_plugins.hosts.asyncio.loops import run_in_loop, standard_input_is_closed
    from bb_plugins.hosts.asyncio.running import run_node
    from bb_plugins.hosts.asyncio.settings import read_settings

    if log not in ("", "text", "json"):
        raise UsageError(f"--log is {log!r}", expected="text or json")
    settings = read_settings(file)
    set_up(settings.log.level, log or settings.log.format)
    until = standard_input_is_closed if while_stdin else None
    try:
        run_in_loop(run_node(settings, typer.echo, until), settings.host.loop)
    except BBError as error:
        if (log or settings.log.format) == "text":
            raise
        logging.getLogger(__name__).critical("%s", error, extra={"code": error.code})  # a line of JSON like all others
        raise typer.Exit(2) from error


@node.command("status")
def status(where: _WHERE, as_json: _JSON = False) -> None:
    """Tell how a running Node is: rounds, values, peers, and what it holds."""
    from bb_plugins.hosts.asyncio.control import Asking
    from bb_plugins.hosts.asyncio.status import Status

    if as_json:
        with Asking(_folder(where)) as asking:
            typer.echo(json.dumps(asking.ask("status", dict[str, Any]), indent=1))
        return
    with Asking(_folder(where)) as asking:
        out = Console(highlight=False)
        _show_status(asking.ask("status", Status), out if out.is_terminal else Console(highlight=False, width=120))


@node.command("explain")
def explain(where: _WHERE, as_json: _JSON = False) -> None:
    """Tell what a running Node waits for: which op, for whom, for how long yet, and where in your source."""
    from bb_plugins.hosts.asyncio.control import Asking
    from bb_plugins.hosts.asyncio.status import Explanation

    with Asking(_folder(where)) as asking:
        if as_json:
            typer.echo(json.dumps(asking.ask("explain", dict[str, Any]), indent=1))
            return
        found = asking.ask("explain", Explanation)
    out = Console(highlight=False)
    for held in found.waiting:
        left = "" if held.left_s is None else f"; {max(held.left_s, 0):.1f} s left"
        out.print(held.text + left, markup=False, soft_wrap=True)
        for peer in held.peers:
            out.print(f"  {_brief(peer)}", markup=False, soft_wrap=True)
    if not found.waiting:
        out.print("nothing is waited for", markup=False)
    out.print(f"next wake-up: {found.wakes}", markup=False, soft_wrap=True)


@node.command("stop")
def stop(
    where: _WHERE,
    seconds: Annotated[float, typer.Option(help="How long to wait for its end.")] = 60.0,
) -> None:
    """End a running Node in good order, and wait until it is down."""
    from bb_plugins.hosts.asyncio.control import Asking

    with Asking(_folder(where), seconds) as asking:
        asking.ask("stop", dict[str, Any])
        drained = asking.next(dict[str, Any])["drained"]
    typer.echo("stopped" if drained else "stopped; what was still open goes on when it is started again")


def _folder(where: Path) -> Path:
    """Return the state directory that a user means."""
    from bb_plugins.hosts.asyncio.settings import read_settings

    if where.is_dir() or where.suffix != ".toml":
        return where
    folder = read_settings(where).state_path
    if folder is None:
        raise UsageError(
            f"{where} names no state directory, and so its Node cannot be asked", hint='write state = "state" into it'
        )
    return folder


def _show_status(found: Status, out: Console) -> None:
    from rich.table import Table

    facts = [("peer", found.peer), ("targets", ", ".join(found.targets)), ("artefact", found.digest)]
    facts.append(("process", f"{found.pid}, up {_span(found.up_s)}" + (", resumed" if found.resumed else "")))
    facts.append(("state", found.failure or ("ready" if found.ready else "not all peers are connected")))
    facts.append(("listening", ", ".join(found.listening) or "nowhere"))
    if found.rounds_done is not None:
        facts.append(("rounds", f"{found.rounds_done:,} of {found.rounds:,}"))
    facts += [(name, f"{value:.6g}") for name, value in sorted(found.values.items())]
    facts.append(("holds", ", ".join(f"{count:,} {what}" for what, count in found.held.items() if count) or "nothing"))
    facts.append(("steps", ", ".join(f"{count:,} {kind}" for kind, count in found.steps.items()) or "none"))
    facts.append(("links", ", ".join(f"{count:,} {event}" for event, count in found.links.items()) or "none"))
    if found.journal_bytes is not None:
        facts.append(("journal", amount(found.journal_bytes)))
    grid = Table(show_header=False, box=None, pad_edge=False)
    for fact in facts:
        grid.add_row(*fact)
    out.print(grid, markup=False)
    if found.peers:
        out.print(peers_table(found.peers))


def peers_table(peers: list[PeerStatus]) -> Any:
    """Make a table of peers."""
    from rich.table import Table

    table = Table()
    for name, justify in (
        ("peer", "left"),
        ("link", "left"),
        ("health", "left"),
        ("out", "right"),
        ("in", "right"),
        ("waiting", "right"),
        ("answers in", "right"),
        ("last seen", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # rich's own literals
    for peer in peers:
        table.add_row(
            short(peer.id),
            peer.at if peer.connected else "none",
            peer.health,
            f"{peer.sent:,} ({amount(peer.sent_bytes)})",
            f"{peer.received:,} ({amount(peer.received_bytes)})",
            f"{peer.waiting:,}",
            "-" if peer.answer_ms is None else f"{peer.answer_ms:.3g} ms",
            seen(peer.seen_s),
        )
    return table


def _brief(peer: PeerStatus) -> str:
    link = f"linked, {peer.at}" if peer.connected else "no link"
    waiting = f", {peer.waiting:,} waiting for it" if peer.waiting else ""
    return f"{peer.id}: {link}, {peer.health}, last seen {seen(peer.seen_s)}{waiting}"


def short(peer: str) -> str:
    """Return the end of a peer id: ids of one kind begin alike."""
    return f"..{peer[-8:]}"


def seen(seconds: float | None) -> str:
    """Say how long ago something was."""
    return "never" if seconds is None else f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def amount(count: float) -> str:
    """Write a number of bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"
