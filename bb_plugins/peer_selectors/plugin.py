"""Registers the first-party PeerSelectors."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add ConstantView."""
    registry.add(
        "bytesandbrains.ConstantView", "bb_plugins.peer_selectors.constant_view:ConstantView", role="peer_selector"
    )
