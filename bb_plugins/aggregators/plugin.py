"""Registers the first-party Aggregators."""

from __future__ import annotations

from typing import Any, Final

import bb_core as bb

_CONCRETES: Final = {
    "CoordinateMedian": "trimming",
    "FedAdagrad": "fedopt",
    "FedAdam": "fedopt",
    "FedAvg": "fedavg",
    "FedAvgM": "fedavgm",
    "FedYogi": "fedopt",
    "Krum": "krum",
    "MultiKrum": "krum",
    "TrimmedMean": "trimming",
    "Scaffold": "scaffold",
    "GossipMean": "gossip_mean",
}
"""Class -> the module that has it."""


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add them all."""
    for name, module in _CONCRETES.items():
        registry.add(f"bytesandbrains.{name}", f"bb_plugins.aggregators.{module}:{name}", role="aggregator")
