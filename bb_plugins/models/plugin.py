"""Registers the first-party Models."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add MLP."""
    registry.add("bytesandbrains.MLP", "bb_plugins.models.mlp:MLP", role="model")
