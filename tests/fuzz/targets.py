"""What is fuzzed: functions that take any bytes and raise when one of our promises is broken.

An error that the promise allows (a peer sent rubbish) ends a target quietly; anything else that is raised is a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bb_core.errors import AddressError, EnvelopeError, PayloadError, Truncated
from bb_core.inspection.envelopes import read_envelope
from bb_core.inspection.values import tell_value
from bb_core.values import Composite, Record
from bb_core.wire.address import Address, AddressList, parse_site_suffix
from bb_core.wire.chunks import Chunk
from bb_core.wire.codec import Envelope, decode, encode
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import decode_value, encode_value
from bb_core.wire.wire_types import _BY_HASH as WIRE_TYPES
from bb_core.wire.wire_types import WireType
from tests.oracles import payloads as oracle
from tests.oracles import schema

WIDE: Final = WireLimits(
    fills=10**6, src_addresses=10**6, src_address_bytes=10**6, dest_addresses=10**6, rtt_reports=10**6
)
TIGHT: Final = WireLimits(
    total_bytes=500, fills=2, payload_bytes=16, suffix_bytes=12, src_addresses=2, src_address_bytes=12,
    dest_addresses=2, rtt_reports=2,
)  # fmt: skip

_GOOGLE: Final = schema.messages()["WireEnvelope"]


def _or_none(read: Callable[[], Any]) -> Any:
    """Return what an oracle reads; None for what it refuses."""
    try:
        return read()
    except ValueError:
        return None


# --- Envelopes --------------------------------------------------------------------------------------------------------


def envelope(data: bytes) -> None:
    """Any bytes are an Envelope, or refused with an EnvelopeError; google's decoder thinks the same."""
    found = _decoded(data, WIDE)
    assert (found is not None) == _google_takes(data)
    _shown(data, is_legal=found is not None)
    if found is None:
        assert _decoded(data, TIGHT) is None
        return
    canonical = encode(found)
    assert decode(canonical, WIDE) == found
    assert encode(decode(canonical, WIDE)) == canonical
    strict = _decoded(data, TIGHT)
    assert strict is None or strict == found
    for fill in found.fills:
        address(fill.dest_suffix)


def _shown(data: bytes, *, is_legal: bool) -> None:
    """What people are shown covers every byte, and names a malformed field just where there is one."""
    parts = read_envelope(data)
    assert [part.at for part in parts] == [0, *(part.end for part in parts)][: len(parts)]
    assert (parts[-1].end if parts else 0) == len(data)
    malformed = any(code in (EnvelopeError.code, Truncated.code) for part in parts for code in part.errors)
    is_newer = not is_legal and not malformed
    assert malformed == (not is_legal) or (is_newer and any(part.name == "schema_version" for part in parts))


def _decoded(data: bytes, limits: WireLimits) -> Envelope | None:
    try:
        return decode(data, limits)
    except EnvelopeError:
        return None


def _google_takes(data: bytes) -> bool:
    try:
        message = _GOOGLE.FromString(data)
    except Exception:  # the library's own class, which differs between its releases
        return False
    return bool(message.schema_version <= 1)


# --- addresses --------------------------------------------------------------------------------------------------------


def address(data: bytes) -> None:
    """Any bytes are an address in its only form, or refused; so is any text."""
    _binary(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        parsed = Address.parse(text)
    except AddressError:
        return
    assert Address.from_bytes(parsed.to_bytes()) == parsed
    assert Address.parse(str(parsed)) == parsed


def _binary(data: bytes) -> None:
    expected = _or_none(lambda: oracle.address(data))
    try:
        found = Address.from_bytes(data)
    except AddressError:
        assert expected is None
        _refuses(parse_site_suffix, data)
        return
    assert oracle.shown(found) == expected
    assert found.to_bytes() == data
    assert parse_site_suffix(data) == found.site
    text = str(found)
    if text == text.strip() and not any("/" in (s.value if isinstance(s.value, str) else "") for s in found.segments):
        assert Address.parse(text) == found


def _refuses(read: Callable[[bytes], Any], data: bytes) -> None:
    try:
        read(data)
    except AddressError:
        return
    raise AssertionError("one reader takes an address that the other refuses")


# --- payloads ---------------------------------------------------------------------------------------------------------


_LATER: Final = {"bb.chunk"}


def kinds() -> list[WireType]:
    """Return the wire types in the order of their names: the first byte of an input of `payload` chooses one.

    One that was added later stands at the end, so that the inputs of before mean what they did.
    """
    return sorted(WIRE_TYPES.values(), key=lambda kind: (kind.name in _LATER, kind.name))


_KINDS: Final = kinds()


def payload(data: bytes) -> None:
    """Any bytes are a value of a wire type or refused, as the oracle has it; what was read can be sent again."""
    if not data:
        return
    type_hash = _KINDS[data[0] % len(_KINDS)].type_hash
    expected = _or_none(lambda: oracle.decode(type_hash, data[1:]))
    try:
        value = decode_value(type_hash, data[1:])
    except PayloadError:
        assert expected is None
        return
    assert oracle.shown(value) == expected
    repr(value)
    text, held_texts = tell_value(value)
    assert all(shown.isprintable() for shown in (text, *(part for pair in held_texts for part in pair)))
    assert held(value) <= 64 * len(data) + 4096
    again, parts, trigger_only = encode_value(value)
    raw = b"".join(parts if isinstance(parts, tuple) else (parts,))
    assert not (trigger_only and raw)
    assert same(decode_value(again, raw), value)


def held(value: Any) -> int:
    """Bytes of content that a value holds, nested ones included."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, Chunk):
        return 48 + len(value.data)
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Record):
        return sum(len(name) + held(content) for name, content in value.items())
    if isinstance(value, Composite | AddressList):
        return sum(16 + held(child) for child in value)
    return 16


def same(left: Any, right: Any) -> bool:
    """Whether two values are alike bit by bit, so that a NaN is like itself."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, Composite) and isinstance(right, Composite):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Record) and isinstance(right, Record):
        return list(left) == list(right) and all(same(left[name], right[name]) for name in left)
    if isinstance(left, Chunk) and isinstance(right, Chunk):
        return oracle.shown(left) == oracle.shown(right)
    if isinstance(left, float) and isinstance(right, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes()
    return type(left) is type(right) and bool(left == right)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"envelope": envelope, "address": address, "payload": payload}
