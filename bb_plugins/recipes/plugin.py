"""Registers the recipes' commands."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb compare`, `bb demo` and `bb warmup`."""
    app.later("compare", "bb_plugins.recipes.comparison:compare_command")
    app.later("demo", "bb_plugins.recipes.demo:demo")
    app.later("warmup", "bb_plugins.recipes.warming:warmup")
