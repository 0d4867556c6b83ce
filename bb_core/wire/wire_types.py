"""The registry of wire types: which class of values travels how.

A wire type is a name, a Python class and two functions. Its hash is FNV-1a-64 of the name, so that Nodes agree on it
without a table. `payloads` fills the registry with the types of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bb_core.errors import DuplicateRegistration, PayloadError, TypeMismatch
from bb_core.ids import fnv1a64

Payload = Any
"""One contiguous bytes-like object, or a tuple of them which are sent one after another."""


@dataclass(frozen=True, slots=True)
class WireType:
    """How the values of one class travel."""

    name: str
    """Dotted and stable: peers know the type by it."""
    type_hash: int
    """What stands beside a payload, 64 bits."""
    cls: type
    """The class of the values."""
    encode: Callable[[Any], Payload] | None
    """Writes a payload; None when the type is only read, and its class is written as another."""
    decode: Callable[[memoryview], Any]
    """Reads a payload. It may raise anything when the bytes are not legal."""
    trigger_only: bool = False
    """Whether a fill says all by being there, without a payload."""


_BY_HASH: Final[dict[int, WireType]] = {}
_WRITERS: Final[dict[type, tuple[int, Callable[[Any], Payload], bool]]] = {}


def travels(name: str) -> bool:
    """Whether a wire type of that name is registered."""
    return fnv1a64(name.encode()) in _BY_HASH


def class_of(type_hash: int) -> type:
    """Return the class of a wire type's values.

    Raises:
        PayloadError: the hash is of no known wire type.
    """
    wire_type = _BY_HASH.get(type_hash)
    if wire_type is None:
        raise PayloadError(f"no wire type has the hash {type_hash:#018x}", type_hash=type_hash)
    return wire_type.cls


def find(type_hash: int) -> WireType | None:
    """Return the wire type of that hash; None when it is not known here."""
    return _BY_HASH.get(type_hash)


def register(name: str, cls: type, encode: Callable[[Any], Payload], decode: Callable[[memoryview], Any]) -> WireType:
    """Add a wire type and return it.

    Args:
        name: Dotted and stable, such as `acme.sparse`.
        cls: The class of the values; subclasses without a wire type of their own go as it does.
        encode: Returns one bytes-like object or a tuple of them.
        decode: Is given a read-only view, and may raise anything when the bytes are not legal.

    Raises:
        DuplicateRegistration: another wire type has the name, the hash or the class.
    """
    wire_type = WireType(name, fnv1a64(name.encode()), cls, encode, decode)
    add(wire_type)
    return wire_type


def add(wire_type: WireType) -> None:
    """Add a wire type whose hash is given."""
    if wire_type.type_hash in _BY_HASH:
        raise _duplicate(wire_type, _BY_HASH[wire_type.type_hash].name)
    if wire_type.encode is not None:
        if wire_type.cls in _WRITERS:
            raise _duplicate(wire_type, _BY_HASH[_WRITERS[wire_type.cls][0]].name)
        _WRITERS[wire_type.cls] = wire_type.type_hash, wire_type.encode, wire_type.trigger_only
    _BY_HASH[wire_type.type_hash] = wire_type


def encode_value(value: Any) -> tuple[int, Payload, bool]:
    """Return type_hash, payload and trigger_only of a value, as a Fill takes them.

    Raises:
        TypeMismatch: no wire type is registered for the value's class, or the type cannot hold this value.
    """
    writer = _WRITERS.get(type(value))
    type_hash, encode, trigger_only = _inherited(value) if writer is None else writer
    return type_hash, encode(value), trigger_only


def decode_value(type_hash: int, payload: bytes | bytearray | memoryview) -> Any:
    """Return the value in a payload. A tensor is a read-only view that keeps the payload alive, if that is aligned.

    Raises:
        PayloadError: the hash is of no known wire type, or the bytes are not of that type.
    """
    wire_type = _BY_HASH.get(type_hash)
    if wire_type is None:
        raise PayloadError(f"no wire type has the hash {type_hash:#018x}", type_hash=type_hash)
    try:
        return wire_type.decode(memoryview(payload).toreadonly())
    except PayloadError:
        raise
    except Exception as error:  # a decoder reads a peer's bytes: whatever fails, the peer is at fault
        raise PayloadError(f"a payload is no {wire_type.name}: {error}", type_hash=type_hash) from error


def _inherited(value: Any) -> tuple[int, Callable[[Any], Payload], bool]:
    """Find how a base class travels; a number of numpy goes as an array without dimensions."""
    bases = (np.ndarray,) if isinstance(value, np.generic) else type(value).__mro__
    for cls in bases:
        if cls in _WRITERS:
            return _WRITERS[cls]
    raise TypeMismatch(
        f"a {type(value).__name__} cannot be sent",
        expected="one of " + ", ".join(sorted(cls.__name__ for cls in _WRITERS)),
        hint="put it into a Record, an array or bytes",
    )


def _duplicate(wire_type: WireType, taken: str) -> DuplicateRegistration:
    return DuplicateRegistration(
        f"the wire types {taken!r} and {wire_type.name!r} have one name, hash or class",
        expected="one wire type for each",
        first=taken,
        second=wire_type.name,
    )
