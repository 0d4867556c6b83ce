"""Registers the recipes' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb demo`."""
    from bb_plugins.recipes.demo import demo

    app.command("demo")(demo)
