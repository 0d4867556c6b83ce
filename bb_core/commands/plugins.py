"""`bb plugins`: what is installed, what it adds, and why something is not loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from bb_core.commands.application import Application
from bb_core.plugins import PluginStatus, installed_plugins

if TYPE_CHECKING:
    from rich.text import Text


def list_plugins(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the plugins that are installed, what each adds, and why one is not loaded."""
    statuses = [_with_commands(s) for s in installed_plugins().statuses]
    if as_json:
        typer.echo(json.dumps({"plugins": [_as_data(s) for s in statuses]}, indent=1))
        return
    from rich.console import Console  # only a table needs it
    from rich.table import Table

    table = Table(title="Plugins", title_justify="left")
    for column in ("distribution", "version", "entry point", "adds", "status"):
        table.add_column(column, overflow="fold")
    for status in statuses:
        table.add_row(status.distribution, status.version, status.name, _adds(status), _state(status))
    width = None if sys.stdout.isatty() else 140
    Console(width=width, emoji=False, markup=False, highlight=False).print(table)  # what a plugin says is plain text


def _with_commands(status: PluginStatus) -> PluginStatus:
    """Add the commands that a plugin has; they are asked for here only, for that imports what they need."""
    if status.error:
        return status
    manager = installed_plugins().manager
    plugin = manager.get_plugin(f"{status.distribution}:{status.name}")
    app = Application()
    try:
        manager.subset_hook_caller("bb_register_commands", [p for p in manager.get_plugins() if p is not plugin])(
            app=app
        )
    except Exception as error:  # a plugin may raise anything, and the others are still to be shown
        return replace(status, error=f"its commands are missing: {type(error).__name__}: {error}")
    names = [*app.names]
    return replace(status, adds={**status.adds, "commands": tuple(sorted(names))}) if names else status


def _adds(status: PluginStatus) -> str:
    return "\n".join(f"{kind}: {', '.join(names)}" for kind, names in status.adds.items()) or "-"


def _state(status: PluginStatus) -> Text:
    from rich.text import Text

    if not status.error:
        return Text("loaded", style="green")
    return Text(status.error, style="yellow" if status.is_blocked else "red")


def _as_data(status: PluginStatus) -> dict[str, object]:
    return {
        "distribution": status.distribution,
        "version": status.version,
        "entry_point": status.name,
        "target": status.target,
        "status": "blocked" if status.is_blocked else "failed" if status.error else "loaded",
        "error": status.error,
        "concretes": list(status.adds.get("concretes", ())),
        "adds": {kind: list(names) for kind, names in status.adds.items()},
    }
