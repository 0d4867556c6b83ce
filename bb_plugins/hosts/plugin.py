"""Registers the hosts' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb simulate` and `bb node run`."""
    from bb_plugins.hosts.asyncio.commands import node
    from bb_plugins.hosts.simulator.command import simulate_program

    app.command("simulate")(simulate_program)
    app.add_typer(node)
