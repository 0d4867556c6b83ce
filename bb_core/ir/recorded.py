"""A recording before it is ONNX: plain nodes and functions, so that authoring needs no `onnx`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bb_core.ir.naming import is_bootstrap
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
class RecordedGraph:
    """The body of an `If` or a `Loop`, as it will be a GraphProto. `outputs` are handles with `name` and `type`."""

    name: str
    inputs: dict[str, Type] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)
    nodes: list[RecordedNode] = field(default_factory=list)


@dataclass(slots=True)
class RecordedFunction:
    """One Module's body or bootstrap, as it will be a FunctionProto."""

    name: str
    inputs: dict[str, Type] = field(default_factory=dict)
    outputs: dict[str, Type] = field(default_factory=dict)
    nodes: list[RecordedNode] = field(default_factory=list)
    types: dict[str, Type] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """Input -> place where it is declared."""

    @property
    def is_bootstrap(self) -> bool:
        """Whether it is a bootstrap."""
        return is_bootstrap(self.name)


@dataclass(slots=True)
class Recording:
    """A whole program: the root function first, then its sub-modules' and the bootstraps, and the slots they use."""

    functions: list[RecordedFunction] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)
    """Slot path -> Role name."""
    slot_defaults: dict[str, Any] = field(default_factory=dict)
    """Slot path -> pinned `Use`."""
    slot_classes: dict[str, str] = field(default_factory=dict)
    """PeerSelector slot path -> class of peers that it selects from."""
    children: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    """Scope of a Module -> the sub-modules that its body calls, by attribute name, in order of first call."""

    open: list[Any] = field(default_factory=list)
    """Modules whose recording has not ended, outermost first; one that is called meanwhile calls itself."""

    def find(self, name: str) -> RecordedFunction | None:
        """Return a function by name."""
        return next((f for f in self.functions if f.name == name), None)
