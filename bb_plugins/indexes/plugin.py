"""Registers the first-party Indexes."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add them all."""
    registry.add("bytesandbrains.FlatIndex", "bb_plugins.indexes.flat:FlatIndex", role="index")
