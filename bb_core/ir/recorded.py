"""A recording before it is ONNX: plain nodes and functions, so that authoring needs no `onnx`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bb_core.types import Type


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """One op, as it will be a NodeProto."""

    name: str
    domain: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    metadata: dict[str, str]


@dataclass(slots=True)
class RecordedFunction:
    """One Module's body, as it will be a FunctionProto."""

    name: str
    inputs: dict[str, Type] = field(default_factory=dict)
    outputs: dict[str, Type] = field(default_factory=dict)
    nodes: list[RecordedNode] = field(default_factory=list)
    types: dict[str, Type] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """A whole program: the root function first, then its sub-modules', and the slots that they use."""

    functions: list[RecordedFunction] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)
    """Slot path -> Role name."""
    slot_defaults: dict[str, Any] = field(default_factory=dict)
    """Slot path -> pinned `Use`."""
    slot_classes: dict[str, str] = field(default_factory=dict)
    """PeerSelector slot path -> class of peers that it selects from."""
