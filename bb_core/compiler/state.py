"""What the passes share beside the model: options, bindings, and the errors found so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from bb_core import keys
from bb_core.errors import BBError, CompileError, CompileErrors, ProtocolWarning
from bb_core.ir.proto import attribute, metadata
from bb_core.ops.table import find_spec
from bb_core.plugins import Plugins, installed_plugins
from bb_core.registry import Use, decode_use
from bb_core.roles.contract import Role, roles_of


@dataclass(frozen=True, slots=True)
class Options:
    """How a program is compiled.

    Attributes:
        per_hop_budget_ns: Within how long an Envelope must be handed over; it bounds delivery, never computing.
        network_deadline_ns: Deadline of an op that waits for peers where the author wrote none.
        permissive_types: What the type solver cannot settle is a warning, not an error.
        determinism: A Model that may give other bytes for equal seeds is refused.
    """

    per_hop_budget_ns: int = 30 * 10**9
    network_deadline_ns: int = 600 * 10**9
    permissive_types: bool = False
    determinism: bool = False


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
    """The compilation in progress. Every field has a default, so that a pass can be run alone.

    Attributes:
        given: Bindings by slot path, as the caller wrote them.
        pinned: Bindings that Modules bring as their slots' defaults.
        roles: Role of each slot path.
        bound: What `resolve_slots` has found for each slot path.
        warnings: What is worth a look and stops nothing.
        counts: What passes have done, such as inlined calls; shown beside their times.
    """

    options: Options = field(default_factory=Options)
    plugins: Plugins = field(default_factory=installed_plugins)
    given: Mapping[str, Use] = field(default_factory=dict)
    late: frozenset[str] = frozenset()
    targets: tuple[str, ...] | None = None
    pinned: dict[str, Use] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    bound: dict[str, Bound] = field(default_factory=dict)
    errors: list[CompileError] = field(default_factory=list)
    warnings: list[ProtocolWarning] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _classes: dict[str, type[Role] | None] = field(default_factory=dict)

    def read_slots(self, model: onnx.ModelProto) -> None:
        """Take in which slots the program has, and what its Modules pin to them."""
        for key, value in metadata(model).items():
            if key.startswith(keys.SLOT_ROLE):
                self.roles[key.removeprefix(keys.SLOT_ROLE)] = value
            elif key.startswith(keys.SLOT_DEFAULT):
                self.pinned[key.removeprefix(keys.SLOT_DEFAULT)] = decode_use(value)

    def binding(self, path: str) -> Use | None:
        """What was asked to fill a slot: a binding, else what its Module pins; None for a late or unbound one."""
        return self.given.get(path) or self.pinned.get(path)

    def concrete(self, path: str) -> type[Role] | None:
        """The class that fills a slot; None while none is bound, or when the binding is wrong (pass 9 says how)."""
        if path not in self._classes:
            self._classes[path] = self._find(path)
        return self._classes[path]

    def _find(self, path: str) -> type[Role] | None:
        given = self.binding(path)
        if given is None:
            return None
        try:
            cls = self.plugins.resolve(given.concrete) if isinstance(given.concrete, str) else given.concrete
        except BBError:
            return None
        fits = self.roles.get(path) in [r.role for r in roles_of(cls)]
        return cls if fits else None

    def add(self, error: CompileError) -> None:
        """Keep an error; the pass goes on, so that all are reported together."""
        self.errors.append(error)

    def warn(self, finding: ProtocolWarning) -> None:
        """Keep a warning."""
        self.warnings.append(finding)

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
