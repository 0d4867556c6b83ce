"""Records on the wire: a small protobuf message, fields in order of their names.

    message Record { uint32 version = 1; repeated Field fields = 2; }
    message Field {
        string name = 1;
        oneof value {
            double f64 = 2; sint64 i64 = 3; bool flag = 4; string text = 5; bytes raw = 6; bytes tensor = 7;
        }
    }

A value is always written, also when it is zero or empty, so that its type survives; equal Records have equal bytes.

Source: docs/reference/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from bb_core.errors import EnvelopeError, PayloadError, TypeMismatch
from bb_core.values import Record
from bb_core.wire.codec import BYTES, FIXED64, NUMBER, Fields, varint
from bb_core.wire.tensors import decode_tensor, encode_tensor

MAX_FIELDS: Final = 4096
"""Fields of one Record; it bounds what a peer's bytes can make a Node allocate."""

_VERSION: Final = 1
_HEAD: Final = b"\x08" + varint(_VERSION)
_KEY_FIELD: Final = b"\x12"
_KEY_NAME: Final = b"\x0a"
_DOUBLE: Final = Struct("<d")

Parts = tuple[Any, ...]
"""A payload in pieces; arrays are pieces of their own, copied once, into the Envelope."""


# --- write ------------------------------------------------------------------------------------------------------------


def encode_record(record: Record) -> Parts:
    """Return the payload of a Record in pieces.

    Raises:
        TypeMismatch: a field cannot be sent: an int outside 64 bits, text that is not UTF-8, or too many fields.
    """
    if len(record) > MAX_FIELDS:
        raise TypeMismatch(f"a Record has {len(record)} fields", expected=f"at most {MAX_FIELDS}")
    parts: list[Any] = [_HEAD]
    for name, value in record.items():
        head = _text(_KEY_NAME, name, name) if name else b""
        body = _value(name, value)
        size = len(head) + sum(memoryview(part).nbytes for part in body)
        parts += (_KEY_FIELD + varint(size) + head, *body)
    return tuple(parts)


def _value(name: str, value: Any) -> Parts:
    """Write one value with its key."""
    match value:
        case bool():
            return (b"\x20\x01" if value else b"\x20\x00",)
        case int():
            return (b"\x18" + varint(_zigzag(name, value)),)
        case float():
            return (b"\x11" + _DOUBLE.pack(value),)
        case str():
            return (_text(b"\x2a", value, name),)
        case bytes():
            return (b"\x32" + varint(len(value)), value)
        case _:
            header, data = encode_tensor(value)
            return (b"\x3a" + varint(len(header) + data.nbytes) + header, data)


def _zigzag(name: str, value: int) -> int:
    """Fold the sign into the lowest bit, as protobuf's sint64."""
    if not -(1 << 63) <= value < 1 << 63:
        raise TypeMismatch(f"field {name!r} of a Record is {value}", expected="an int of 64 bits", field=name)
    return value << 1 if value >= 0 else (-value << 1) - 1


def _text(key: bytes, text: str, name: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise TypeMismatch(f"field {name!r} of a Record is not UTF-8", field=name) from error
    return key + varint(len(raw)) + raw


# --- read -------------------------------------------------------------------------------------------------------------


def decode_record(payload: memoryview) -> Record:
    """Return the Record in a payload; fields may stand in any order, each once.

    Raises:
        PayloadError: the bytes are no Record of a version that this release reads.
    """
    try:
        return Record(_read(payload))
    except (EnvelopeError, UnicodeDecodeError) as error:
        raise PayloadError(f"a Record is malformed: {error}") from error


def _read(payload: memoryview) -> dict[str, Any]:
    version = 0
    fields: dict[str, Any] = {}
    for number, wire, value in Fields(payload):
        if number == 1 and wire == NUMBER:
            version = value
        elif number == 2 and wire == BYTES:
            name, content = _read_field(value)
            if name in fields or len(fields) == MAX_FIELDS:
                raise PayloadError(f"a Record has field {name[:40]!r} twice, or more than {MAX_FIELDS} fields")
            fields[name] = content
    if version != _VERSION:
        raise PayloadError(f"a Record has the version {version}", expected=str(_VERSION))
    return fields


def _read_field(field: memoryview) -> tuple[str, Any]:
    """Read one field. As protobuf has it, the last of several values counts."""
    name = ""
    found: tuple[Callable[[Any], Any], Any] | None = None
    for number, wire, value in Fields(field):
        if number == 1 and wire == BYTES:
            name = bytes(value).decode()
        elif (number, wire) in _READERS:
            found = _READERS[number, wire], value
    if found is None:
        raise PayloadError(f"field {name[:40]!r} of a Record has no value")
    read, value = found
    return name, read(value)


_READERS: Final[dict[tuple[int, int], Callable[[Any], Any]]] = {
    (2, FIXED64): lambda raw: _DOUBLE.unpack(raw)[0],
    (3, NUMBER): lambda folded: folded >> 1 ^ -(folded & 1),
    (4, NUMBER): bool,
    (5, BYTES): lambda raw: bytes(raw).decode(),
    (6, BYTES): bytes,
    (7, BYTES): decode_tensor,
}
