"""Registers the first-party Models."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add MLP and GraphModel."""
    registry.add("bytesandbrains.MLP", "bb_plugins.models.mlp:MLP", role="model")
    registry.add("bytesandbrains.GraphModel", "bb_plugins.models.graph:GraphModel", role="model")
