"""Registers the first-party Aggregators."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add FedAvg, FedAvgM and GossipMean."""
    registry.add("bytesandbrains.FedAvg", "bb_plugins.aggregators.fedavg:FedAvg", role="aggregator")
    registry.add("bytesandbrains.FedAvgM", "bb_plugins.aggregators.fedavgm:FedAvgM", role="aggregator")
    registry.add("bytesandbrains.GossipMean", "bb_plugins.aggregators.gossip_mean:GossipMean", role="aggregator")
