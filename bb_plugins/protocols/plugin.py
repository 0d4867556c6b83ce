"""Registers the first-party Protocols."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add both sides of the global registry, and what ends rounds."""
    module = "bb_plugins.protocols.global_registry"
    registry.add("bytesandbrains.GlobalRegistryServer", f"{module}:GlobalRegistryServer", role="protocol")
    registry.add("bytesandbrains.GlobalRegistryClient", f"{module}:GlobalRegistryClient", role="protocol")
    registry.add("bytesandbrains.StopRule", "bb_plugins.protocols.rounds:StopByRule", role="protocol")
