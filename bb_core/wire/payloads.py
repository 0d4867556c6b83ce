"""Values to payloads and back: the table of wire types.

A payload does not say what it is; the fill's `type_hash` does. The original's carriers keep the original's numbers; every
other type, ours and a plugin's, has a stable dotted name, and its hash is the FNV-1a-64 of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bb_core.errors import DuplicateRegistration, PayloadError, TypeMismatch
from bb_core.ids import PeerId, fnv1a64
from bb_core.values import PeerList, Record, RequestId, Trigger
from bb_core.wire import carriers
from bb_core.wire.address import Address, AddressList
from bb_core.wire.records import decode_record, encode_record
from bb_core.wire.tensors import decode_tensor, encode_tensor

Payload = Any
"""Bytes-like, or a tuple of bytes-likes that are sent one after another."""


@dataclass(frozen=True, slots=True)
class WireType:
    """How one class of values travels.

    Attributes:
        name: Stable dotted name; for messages.
        type_hash: What stands in a fill.
        encode: Value to payload.
        decode: Read-only view of a payload to value; raises only PayloadError.
    """

    name: str
    type_hash: int
    encode: Callable[[Any], Payload]
    decode: Callable[[memoryview], Any]


TRIGGER_HASH: Final = 0xF408EC4A93415CA0
CPU_TENSOR_HASH: Final = 0x2F824195FEC34BE1

_by_class: dict[type, WireType] = {}
_by_hash: dict[int, WireType] = {}


def encode_value(value: Any) -> tuple[int, Payload, bool]:
    """Return a value's `type_hash`, its payload, and whether it is a Trigger, which has none.

    Raises:
        TypeMismatch: no wire type is registered for the value's class.
    """
    if type(value) is Trigger:
        return TRIGGER_HASH, b"", True
    found = _by_class.get(type(value)) or _inherited(type(value))
    return found.type_hash, found.encode(value), False


def decode_value(type_hash: int, payload: Any) -> Any:
    """Return the value in a payload.

    Raises:
        PayloadError: the type is not known here, or the payload is not one of it.
    """
    found = _by_hash.get(type_hash)
    if found is None:
        raise PayloadError(
            f"nobody has registered the wire type {type_hash:#018x}", hint="a plugin that the sender has may be missing"
        )
    return found.decode(memoryview(payload).toreadonly())


def register(
    name: str, cls: type, encode: Callable[[Any], Payload], decode: Callable[[memoryview], Any]
) -> None:
    """Let the values of a class travel.

    Args:
        name: Stable dotted name, beginning with the package's; its FNV-1a-64 is the type on the wire.
        cls: Class of the values; subclasses travel as it.
        encode: Value to payload.
        decode: Read-only memoryview to value; raises PayloadError for bytes that are none.

    Raises:
        DuplicateRegistration: the name, its hash or the class is taken.
    """
    _add(cls, WireType(name, fnv1a64(name.encode()), encode, decode))


def _add(cls: type | None, wire_type: WireType) -> None:
    other = _by_hash.get(wire_type.type_hash) or (_by_class.get(cls) if cls else None)
    if other is not None:
        raise DuplicateRegistration(f"the wire type {wire_type.name!r} collides with {other.name!r}")
    _by_hash[wire_type.type_hash] = wire_type
    if cls is not None:
        _by_class[cls] = wire_type


def _inherited(cls: type) -> WireType:
    for base in cls.__mro__[1:]:
        if base in _by_class:
            return _by_class[base]
    raise TypeMismatch(
        f"a {cls.__name__} cannot cross the wire",
        expected=f"a value of {', '.join(sorted(c.__name__ for c in _by_class))}",
        hint="register a wire type: bb_core.wire.payloads.register(name, cls, encode, decode)",
    )


# --- several values as one --------------------------------------------------------------------------------------------


def _encode_composite(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Count, then each value's type, length and payload."""
    parts: list[Any] = [len(values).to_bytes(8, "little")]
    for value in values:
        type_hash, payload, _ = encode_value(value)
        pieces = payload if isinstance(payload, tuple) else (payload,)
        size = sum(memoryview(piece).nbytes for piece in pieces)
        parts += (type_hash.to_bytes(8, "little"), size.to_bytes(8, "little"), *pieces)
    return tuple(parts)


_DEEPEST: Final = 16


def _read_composite(reader: carriers.Reader, depth: int = 1) -> tuple[Any, ...]:
    if depth > _DEEPEST:
        raise PayloadError(f"values are nested more than {_DEEPEST} deep")
    return tuple(_read_child(reader.number(), reader.sized(), depth) for _ in range(reader.count(smallest=16)))


def _read_child(type_hash: int, payload: memoryview, depth: int) -> Any:
    if type_hash == _COMPOSITE_HASH:
        inner = carriers.Reader(payload)
        values = _read_composite(inner, depth + 1)
        inner.end()
        return values
    return decode_value(type_hash, payload)


# --- the table --------------------------------------------------------------------------------------------------------

_COMPOSITE_HASH: Final = 0xB94CED714C59208D


def _read_trigger(reader: carriers.Reader) -> Trigger:
    return Trigger()


def _cannot_encode(value: Any) -> Payload:
    raise TypeMismatch("the original's tensor is read, not written", expected="bb.tensor")


_CARRIERS: Final[tuple[tuple[type | None, str, int, Any, Any], ...]] = (
    (Trigger, "trigger", TRIGGER_HASH, lambda value: b"", _read_trigger),
    (PeerId, "peer_id", 0x6750D1DE54E51EC5, carriers.encode_peer, carriers.read_peer),
    (PeerList, "peer_id_vec", 0x64D32AEF2D363637, carriers.encode_peers, carriers.read_peers),
    (RequestId, "wire_req_id", 0x9E56307DF460AEF2, carriers.encode_request, carriers.read_request),
    (bytes, "bytes", 0x1D82330CC10A293D, carriers.encode_bytes, carriers.read_bytes),
    (Address, "multiaddress", 0x8927BF653DF72630, carriers.encode_address, carriers.read_address),
    (AddressList, "address_vec", 0x99F6119F618D070C, carriers.encode_addresses, carriers.read_addresses),
    (tuple, "composite", _COMPOSITE_HASH, _encode_composite, _read_composite),
    (None, "tensor.f32", CPU_TENSOR_HASH, _cannot_encode, carriers.read_cpu_tensor),
)
"""The original's: class, lattice name, hash, encode, read."""

for _cls, _name, _hash, _encode, _read in _CARRIERS:
    _add(_cls, WireType(_name, _hash, _encode, carriers.whole(_read)))
register("bb.tensor", np.ndarray, encode_tensor, decode_tensor)
register("bb.record", Record, encode_record, decode_record)
