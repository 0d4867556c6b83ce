"""Registers the first-party DataSources."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add ArrayDataSource and Dataset."""
    registry.add("bytesandbrains.ArrayDataSource", "bb_plugins.data_sources.array:ArrayDataSource", role="data_source")
    registry.add("bytesandbrains.Dataset", "bb_plugins.data_sources.datasets:Dataset", role="data_source")
