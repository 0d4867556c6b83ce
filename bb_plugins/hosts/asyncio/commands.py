"""`bb node`: a process for one Node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

node = typer.Typer(name="node", help="Run a Node in a process of its own.")


@node.callback()
def _group() -> None:
    """Keep `run` a command with a name although it is the only one."""


@node.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="node.toml: artefact, targets, identity, peers, slots.")],
) -> None:
    """Run one Node until its rounds are done or it is stopped. Outputs go to stdout, logs to stderr."""
    import asyncio

    from bb_plugins.hosts.asyncio.logs import set_up
    from bb_plugins.hosts.asyncio.running import run_node
    from bb_plugins.hosts.asyncio.settings import read_settings

    settings = read_settings(file)
    set_up(settings.log.level, settings.log.format)
    asyncio.run(run_node(settings, typer.echo))
