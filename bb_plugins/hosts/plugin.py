"""Registers the hosts' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb simulate`, `bb up` and `bb node`."""
    app.later("simulate", "bb_plugins.hosts.simulator.command:simulate_program")
    app.later("up", "bb_plugins.hosts.local.command:up")
    app.later("node", "bb_plugins.hosts.asyncio.commands:node")
