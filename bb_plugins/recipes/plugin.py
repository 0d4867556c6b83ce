"""Registers the recipes' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb compare`, `bb demo` and `bb warmup`."""
    from bb_plugins.recipes.comparison import compare_command
    from bb_plugins.recipes.demo import demo
    from bb_plugins.recipes.warming import warmup

    app.command("compare")(compare_command)
    app.command("demo")(demo)
    app.command("warmup")(warmup)
