"""Registers `bb node`."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb node run`."""
    from bb_plugins.hosts.asyncio.commands import node

    app.add_typer(node)
