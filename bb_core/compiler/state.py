"""What the passes share beside the model: options, bindings, and the errors found so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import onnx

from bb_core import keys
from bb_core.errors import CompileError, CompileErrors
from bb_core.ir.proto import attribute, metadata
from bb_core.ops.table import find_spec
from bb_core.plugins import Plugins
from bb_core.registry import Use
from bb_core.roles.contract import Role


@dataclass(frozen=True, slots=True)
class Options:
    """How a program is compiled.

    Attributes:
        per_hop_budget_ns: Within how long an Envelope must be handed over; it bounds delivery, never computing.
        network_deadline_ns: Deadline of an op that waits for peers where the author wrote none.
    """

    per_hop_budget_ns: int = 30 * 10**9
    network_deadline_ns: int = 600 * 10**9


@dataclass(slots=True)
class Bound:
    """A slot and what fills it; `concrete` is None for a late one."""

    role: str
    concrete: type[Role] | None = None
    name: str | None = None
    config: Any = None
    dependencies: dict[str, str] = field(default_factory=dict)
    """Slot name that the Concrete asks for -> slot path that serves it."""


@dataclass(slots=True)
class State:
    """The compilation in progress."""

    options: Options
    plugins: Plugins
    given: dict[str, Use]
    late: frozenset[str]
    targets: tuple[str, ...] | None
    bound: dict[str, Bound] = field(default_factory=dict)
    errors: list[CompileError] = field(default_factory=list)

    def add(self, error: CompileError) -> None:
        """Keep an error; the pass goes on, so that all are reported together."""
        self.errors.append(error)

    def raise_errors(self, pass_name: str) -> None:
        """Raise what a pass has found: one error as it is, more as a group."""
        found, self.errors = self.errors, []
        if len(found) == 1:
            raise found[0]
        if found:
            raise CompileErrors(pass_name, found)


def nodes_of(model: onnx.ModelProto) -> Iterable[onnx.NodeProto]:
    """All nodes of all functions, in order."""
    for function in model.functions:
        yield from function.node


def slot_of(node: onnx.NodeProto) -> str:
    """Path of the slot that serves a node; empty for the framework's own ops."""
    return metadata(node).get(keys.SLOT, "")


def slots_touched(node: onnx.NodeProto) -> list[str]:
    """All slots that a node uses: the one that serves it, and those that it is given as arguments."""
    spec = find_spec(node.domain, node.op_type)
    given = [str(attribute(node, s.name)) for s in spec.slots] if spec else []
    own = slot_of(node)
    return ([own] if own else []) + given
