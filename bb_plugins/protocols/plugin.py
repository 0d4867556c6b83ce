"""Registers the first-party Protocols."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add both sides of the global registry."""
    module = "bb_plugins.protocols.global_registry"
    registry.add("bytesandbrains.GlobalRegistryServer", f"{module}:GlobalRegistryServer", role="protocol")
    registry.add("bytesandbrains.GlobalRegistryClient", f"{module}:GlobalRegistryClient", role="protocol")
