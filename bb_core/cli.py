"""`bb`, the command line. Its commands come from plugins, through the hook `bb_register_commands`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bb_core.commands.compile import compile_program
from bb_core.commands.explain import explain_snapshot
from bb_core.commands.inspect import inspect_program
from bb_core.commands.replay import replay_recording
from bb_core.commands.showing import show
from bb_core.commands.wire import wire
from bb_core.errors import BBError, PluginError
from bb_core.plugins import installed_plugins
from bb_core.version import __version__


def application() -> typer.Typer:
    """Put the core's commands and those of every installed plugin together."""
    app = typer.Typer(
        name="bb",
        help="Federated and peer-to-peer learning that really runs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.command("compile")(compile_program)
    app.command("inspect")(inspect_program)
    app.command("explain")(explain_snapshot)
    app.command("replay")(replay_recording)
    app.add_typer(wire)
    app.command("plugins")(plugins)
    app.command("version")(version)
    for title, error in installed_plugins().add_commands(app):
        Console(stderr=True, highlight=False).print(f"the commands of {title} are missing: {error}", markup=False)
    return app


def main() -> None:
    """Run `bb`. An error of ours is printed in full and ends with status 2, or 1 when a plugin or we are to blame."""
    try:
        application()()
    except BBError as error:
        show(error, Console(stderr=True))
        sys.exit(1 if isinstance(error, PluginError) else 2)


def version() -> None:
    """Print the version."""
    typer.echo(f"bytesandbrains {__version__}")


def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the plugins that are installed, what each registers, and why one is not loaded."""
    found = installed_plugins()
    if as_json:
        typer.echo(json.dumps(_as_data(), indent=1))
        return
    table = Table(title="Plugins")
    for column in ("distribution", "version", "entry point", "registers", "status"):
        table.add_column(column, overflow="fold")
    for status in found.statuses:
        names = ", ".join(e.name for e in found.registry if e.owner == status.title)
        state = f"[red]{status.error}" if status.error else "[green]loaded"
        table.add_row(status.distribution, status.version, status.name, names or "-", state)
    Console().print(table)


def _as_data() -> dict[str, object]:
    found = installed_plugins()
    return {
        "plugins": [
            {
                "distribution": s.distribution,
                "version": s.version,
                "entry_point": s.name,
                "target": s.target,
                "error": s.error,
                "concretes": [e.name for e in found.registry if e.owner == s.title],
            }
            for s in found.statuses
        ]
    }


if __name__ == "__main__":
    main()
