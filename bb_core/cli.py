"""`bb`, the command line. Its commands come from plugins, through the hook `bb_register_commands`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from bb_core.commands.compile import compile_program
from bb_core.commands.doctor import doctor
from bb_core.commands.explain import explain_snapshot
from bb_core.commands.inspect import inspect_program
from bb_core.commands.new import new
from bb_core.commands.plugins import list_plugins
from bb_core.commands.replay import replay_recording
from bb_core.commands.roles import list_roles
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
    app.add_typer(new)
    app.command("plugins")(list_plugins)
    app.command("roles")(list_roles)
    app.command("doctor")(doctor)
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


if __name__ == "__main__":
    main()
