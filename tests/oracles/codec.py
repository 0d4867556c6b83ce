"""The Envelope codec, slow and plain, written from docs/reference/wire.md: bytes in lists, one function for each rule.

`encode` takes any object with the attributes of an Envelope; `decode` returns plain ones. What is not legal is a
ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

NUMBER, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
U64 = (1 << 64) - 1
U32 = (1 << 32) - 1
DEPTH = 100

FILL = {1: "dest_suffix", 2: "payload", 3: "trigger_only", 4: "type_hash"}
REPORT = {1: "site", 2: "chain", 3: "hop", 4: "srtt_ns", 5: "rttvar_ns", 6: "samples"}


# --- write ------------------------------------------------------------------------------------------------------------


def encode(envelope: Any) -> bytes:
    """Write the fields in order of their numbers, without those that are zero or empty."""
    out = b"".join(_bytes(1, address) for address in envelope.dest_peer_addresses)
    out += b"".join(_bytes(2, _message(FILL, fill)) for fill in envelope.fills)
    if envelope.has_correlation:
        out += _bytes(3, _number(1, envelope.kind & U64) + _number(2, envelope.request))
    out += _number(4, envelope.remaining_deadline_ns)
    out += b"".join(_bytes(5, _message(REPORT, report)) for report in envelope.edge_rtt_reports)
    out += _bytes(6, envelope.src_peer) if envelope.src_peer else b""
    out += _number(7, envelope.schema_version)
    return out + b"".join(_bytes(8, address) for address in envelope.src_peer_addresses)


def _message(names: dict[int, str], message: Any) -> bytes:
    out = b""
    for number, name in names.items():
        value = getattr(message, name)
        if isinstance(value, int):
            out += _number(number, int(value))
        elif content := b"".join(value) if isinstance(value, tuple) else bytes(value):
            out += _bytes(number, content)
    return out


def _bytes(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | NUMBER) + varint(value) if value else b""


def varint(value: int) -> bytes:
    """Seven bits at a time, the lowest first; the high bit says that more follow."""
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- read -------------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> SimpleNamespace:
    """Read an Envelope; what stands twice counts as it stands last, and two correlations are one."""
    envelope = SimpleNamespace(
        dest_peer_addresses=[], fills=[], kind=0, request=0, remaining_deadline_ns=0, edge_rtt_reports=[],
        src_peer=b"", schema_version=0, src_peer_addresses=[], has_correlation=False,
    )  # fmt: skip
    for number, wire, value in fields(data):
        match number, wire:
            case 1, 2:
                envelope.dest_peer_addresses.append(value)
            case 2, 2:
                envelope.fills.append(_read_fill(value))
            case 3, 2:
                _read_correlation(value, envelope)
            case 4, 0:
                envelope.remaining_deadline_ns = value
            case 5, 2:
                envelope.edge_rtt_reports.append(_read_report(value))
            case 6, 2:
                envelope.src_peer = value
            case 7, 0:
                envelope.schema_version = value & U32
            case 8, 2:
                envelope.src_peer_addresses.append(value)
    if envelope.schema_version > 1:
        raise ValueError("version")
    return envelope


def _read_fill(data: bytes) -> SimpleNamespace:
    fill = SimpleNamespace(dest_suffix=b"", payload=b"", trigger_only=False, type_hash=0)
    for number, wire, value in fields(data):
        if number in FILL and wire == (BYTES if number < 3 else NUMBER):
            setattr(fill, FILL[number], value != 0 if number == 3 else value)
    return fill


def _read_report(data: bytes) -> SimpleNamespace:
    report = SimpleNamespace(site=0, chain=0, hop=0, srtt_ns=0, rttvar_ns=0, samples=0)
    for number, wire, value in fields(data):
        if number in REPORT and wire == NUMBER:
            setattr(report, REPORT[number], value & U32 if number == 3 else value)
    return report


def _read_correlation(data: bytes, envelope: SimpleNamespace) -> None:
    envelope.has_correlation = True
    for number, wire, value in fields(data):
        if (number, wire) == (1, NUMBER):
            envelope.kind = (value & U32) - (1 << 32) * (value >> 31 & 1)
        elif (number, wire) == (2, NUMBER):
            envelope.request = value


def fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field; a group is one field without a value."""
    at = 0
    while at < len(data):
        number, wire, at = _key(data, at)
        if number == 0:
            raise ValueError("field 0")
        value, at = _value(data, at, number, wire, 0)
        yield number, wire, value


def _value(data: bytes, at: int, number: int, wire: int, depth: int) -> tuple[Any, int]:
    if wire == NUMBER:
        return _varint(data, at, 10)
    if wire == GROUP:
        return None, _after_group(data, at, number, depth + 1)
    if wire == BYTES:
        length, at = _varint(data, at, 5)
    elif wire in (FIXED32, FIXED64):
        length = 8 if wire == FIXED64 else 4
    else:
        raise ValueError("wire type")
    if at + length > len(data):
        raise ValueError("truncated")
    return data[at : at + length], at + length


def _after_group(data: bytes, at: int, opened: int, depth: int) -> int:
    if depth > DEPTH:
        raise ValueError("too deep")
    while True:
        number, wire, at = _key(data, at)
        if wire == GROUP_END:
            if number != opened:
                raise ValueError("another group ends")
            return at
        _, at = _value(data, at, number, wire, depth)


def _key(data: bytes, at: int) -> tuple[int, int, int]:
    key, at = _varint(data, at, 5)
    if key > U32:
        raise ValueError("key")
    return key >> 3, key & 7, at


def _varint(data: bytes, at: int, longest: int) -> tuple[int, int]:
    value = 0
    for i in range(longest):
        if at + i >= len(data):
            raise ValueError("truncated")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value & U64, at + i + 1
    raise ValueError("too long")
