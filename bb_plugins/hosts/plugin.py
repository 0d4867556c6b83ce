"""Registers the hosts' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb simulate` and `bb node run`."""
    app.later("simulate", "bb_plugins.hosts.simulator.command:simulate_program")
    app.later("node", "bb_plugins.hosts.asyncio.commands:node")
