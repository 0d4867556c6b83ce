"""`bb`, the command line. Its commands come from plugins, through the hook `bb_register_commands`."""

from __future__ import annotations

import sys
from typing import Final

import typer

from bb_core.commands.application import Application
from bb_core.errors import BBError, PluginError
from bb_core.plugins import installed_plugins
from bb_core.version import __version__

_COMMANDS: Final = {
    "compile": "bb_core.commands.compile:compile_program",
    "inspect": "bb_core.commands.inspect:inspect_program",
    "explain": "bb_core.commands.explain:explain_snapshot",
    "replay": "bb_core.commands.replay:replay_recording",
    "wire": "bb_core.commands.wire:wire",
    "new": "bb_core.commands.new:new",
    "plugins": "bb_core.commands.plugins:list_plugins",
    "roles": "bb_core.commands.roles:list_roles",
    "doctor": "bb_core.commands.doctor:doctor",
}
"""The core's own, imported when they are asked for."""


def application(wanted: str | None = None) -> typer.Typer:
    """Put the core's commands and those of every installed plugin together.

    Args:
        wanted: The one that is asked for: others need not be imported. None: all are there.
    """
    app = Application(
        name="bb",
        help="Federated and peer-to-peer learning that really runs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_nothing)  # so that one command alone is still a command of a group
    for name, target in _COMMANDS.items():
        app.later(name, target)
    app.command("version")(version)
    failed = [] if wanted in _COMMANDS else installed_plugins().add_commands(app)
    missing = [f"the commands of {title} are missing: {error}" for title, error in failed]
    missing += [f"{error.message}" for error in app.load(wanted)]
    for line in missing:
        typer.echo(line, err=True)
    return app


def main() -> None:
    """Run `bb`. An error of ours is printed in full and ends with status 2, or 1 when a plugin or we are to blame."""
    try:
        application(next((word for word in sys.argv[1:2] if not word.startswith("-")), None))()
    except BBError as error:
        from rich.console import Console

        from bb_core.commands.showing import show

        show(error, Console(stderr=True))
        sys.exit(1 if isinstance(error, PluginError) else 2)


def version() -> None:
    """Print the version."""
    typer.echo(f"bytesandbrains {__version__}")


def _nothing() -> None:
    """Federated and peer-to-peer learning that really runs."""


if __name__ == "__main__":
    main()
