"""Which slots of a program peers may call, under which ids, and what: the control plane's export table."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from bb_core.compiler.state import Bound, State, nodes_of, slot_of
from bb_core.ids import ComponentId, component_id
from bb_core.roles.protocol import Protocol, inbound_of, protocol_of

Exported = tuple[ComponentId, tuple[str, ...]]
"""Id of a component, and the names of its inbound ops."""


def component_ids(model: onnx.ModelProto, state: State) -> dict[str, ComponentId]:
    """Return the id of each slot: the one that its protocol has agreed on, else a hash of the path."""
    return {path: _id(path, cls) for path, cls in _classes(model, state).items()}


def exported(model: onnx.ModelProto, state: State) -> dict[str, Exported]:
    """Return what the slots of a program export; those that export nothing are left out.

    A slot exports what its Concrete declares, whatever its Role. One that is late exports what the protocol of its ops
    declares: what comes later has to keep to that.
    """
    found = {}
    for path, cls in _classes(model, state).items():
        if cls is not None and issubclass(cls, Protocol):
            found[path] = _id(path, cls), tuple(inbound_of(cls))
    return found


def _classes(model: onnx.ModelProto, state: State) -> dict[str, type | None]:
    contracts = dict(_contracts(model))
    return {path: _class(bound, contracts.get(path)) for path, bound in sorted(state.bound.items())}


def _class(bound: Bound, contract: type | None) -> type | None:
    return contract if bound.concrete is None else bound.concrete


def _contracts(model: onnx.ModelProto) -> Iterator[tuple[str, type[Protocol]]]:
    for node in nodes_of(model):
        contract = protocol_of(node.domain)
        if contract is not None:
            yield slot_of(node), contract


def _id(path: str, cls: type | None) -> ComponentId:
    agreed = getattr(cls, "component", None)
    return component_id(path) if agreed is None else ComponentId(agreed)
