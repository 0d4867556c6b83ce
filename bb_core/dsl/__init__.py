"""Authoring: Modules, slots and the Graph that records them."""

from bb_core.dsl.graph import Graph
from bb_core.dsl.module import Module
from bb_core.dsl.output import Output, Outputs, Received
from bb_core.dsl.slots import (
    AggregatorSlot,
    BackendSlot,
    CodecSlot,
    DataSourceSlot,
    IndexSlot,
    ModelSlot,
    PeerSelectorSlot,
    ProtocolSlot,
    Slot,
    slot_of,
)

__all__ = [
    "AggregatorSlot",
    "BackendSlot",
    "CodecSlot",
    "DataSourceSlot",
    "Graph",
    "IndexSlot",
    "ModelSlot",
    "Module",
    "Output",
    "Outputs",
    "PeerSelectorSlot",
    "ProtocolSlot",
    "Received",
    "Slot",
    "slot_of",
]
