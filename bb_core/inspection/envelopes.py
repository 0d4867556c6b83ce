"""The bytes of an Envelope for people: every field with its place, and of damaged ones what can be read.

`decode` accepts or refuses an Envelope whole. This reads it once more, field for field and without limits, so that
somebody who looks for a mistake sees where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bb_core.errors import EnvelopeError, RemoteError, Truncated
from bb_core.ids import PeerId, component_id
from bb_core.inspection.reading import Program
from bb_core.inspection.telling import duration
from bb_core.inspection.values import printable, tell_value
from bb_core.wire.address import COMPONENT, SITE, Address
from bb_core.wire.codec import BYTES, FIXED64, NUMBER, Fields
from bb_core.wire.payloads import decode_value
from bb_core.wire.wire_types import find

_KINDS: Final = {0: "none", 1: "request", 2: "response"}
_WIRE_NAMES: Final = {NUMBER: "a number", FIXED64: "eight bytes", BYTES: "bytes", 3: "a group", 5: "four bytes"}


@dataclass(frozen=True, slots=True)
class Part:
    """One field of an Envelope, or one value inside a payload."""

    at: int | None
    """Where it begins, in bytes from the start of the Envelope; None for what is inside a payload."""
    end: int | None
    name: str
    """As the schema has it; empty for what is not in it."""
    text: str
    """Its value in short form."""
    parts: tuple[Part, ...] = ()
    error: str = ""
    """The code of the error that refuses it."""

    @property
    def errors(self) -> list[str]:
        """The codes of all errors in it."""
        return [code for code in (self.error, *(c for p in self.parts for c in p.errors)) if code]


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in addresses stand for in a program."""

    sites: Mapping[int, str] = field(default_factory=dict)
    components: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> Names:
        """Find the sites that edges bring values to, and the slots."""
        sites = {
            site: f"{port} of edge {edge.name} at {edge.receiver}"
            for edge in program.edges
            for site, port in zip(edge.sites, edge.values, strict=False)
        }
        return cls(sites, {s.get("component", component_id(path)): path for path, s in program.slots.items()})

    def __call__(self, address: Address) -> str:
        """Write an address, and what its site and component are called."""
        meant = [
            {SITE: self.sites, COMPONENT: self.components}[code].get(value)
            for code, value in address.segments
            if code in (SITE, COMPONENT)
        ]
        return ", ".join([printable(str(address)) or "(empty)", *(name for name in meant if name)])


def read_envelope(data: bytes | memoryview, names: Names | None = None) -> tuple[Part, ...]:
    """Read the fields of an Envelope in their order; where the bytes are malformed, a nameless Part says so."""
    return tuple(_fields(memoryview(data), 0, _ENVELOPE, names or Names()))


# --- one message ------------------------------------------------------------------------------------------------------

Told = tuple[str, tuple[Part, ...], str]
"""Text, parts and the code of an error: what there is to say of a value."""
Tell = Callable[[Any, int, Names], Told]
"""Told what stands in a field, where that begins, and the names of a program."""
Table = Mapping[tuple[int, int], tuple[str, Tell]]
"""Number and wire type -> name, and what tells of the value."""


def _fields(message: memoryview, base: int, table: Table, names: Names) -> Iterator[Part]:
    for at, end, number, wire, value in _raw(message):
        if isinstance(value, EnvelopeError):
            yield _damaged(message, at, base, table, names, value)
            return
        name, tell = table.get((number, wire), ("", _tell_unknown(number, wire)))
        content = end - len(value) if isinstance(value, memoryview) else end
        text, parts, error = tell(value, base + content, names)
        yield Part(base + at, base + end, name, text, parts, error)


def _damaged(message: memoryview, at: int, base: int, table: Table, names: Names, error: EnvelopeError) -> Part:
    """Tell of the field that is malformed, and of what is inside when only its end is missing."""
    text = f"from byte {base + at} on: {error.message}"
    key, start = _varint(message, at)
    length, start = _varint(message, start)
    name, tell = table.get((key >> 3, key & 7), ("", None))
    if not isinstance(error, Truncated) or key & 7 != BYTES or not start:
        return Part(base + at, base + len(message), name, text, error=error.code)
    rest = message[start:]
    parts = tell(rest, base + start, names)[1] if tell in _NESTED and tell is not None else ()
    return Part(base + at, base + len(message), name, f"{text}: {len(rest)} of {_size(length)}", parts, error.code)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of damaged bytes: value and end; the end is 0 where there is none."""
    value = 0
    for i, byte in enumerate(message[at : at + 5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    return 0, 0


def _raw(message: memoryview) -> Iterator[tuple[int, int, int, int, Any]]:
    """Yield begin, end, number, wire type and value of each field; an error as the value of the last."""
    fields = Fields(message)
    at = 0
    try:
        for number, wire, value in fields:
            yield at, fields.at, number, wire, value
            at = fields.at
    except EnvelopeError as error:
        yield at, len(message), 0, 0, error


def _within(table: Table) -> Tell:
    def tell(message: memoryview, at: int, names: Names) -> Told:
        return _size(len(message)), tuple(_fields(message, at, table, names)), ""

    return tell


def _tell_fill(message: memoryview, at: int, names: Names) -> Told:
    """Tell of a fill; how its payload is read stands behind the payload."""
    fields = {(number, wire): value for _, _, number, wire, value in _raw(message)}
    type_hash = fields.get((4, NUMBER), 0)
    untold = ""
    if fields.get((3, NUMBER)):
        untold = "not looked at"
    elif not type_hash and (0, 0) in fields:
        untold = "of what type, cannot be read"
    elif not type_hash and _is_for_op(fields.get((1, BYTES), b"")):
        untold = "in the form of the op's own"

    def tell_payload(payload: memoryview, at: int, names: Names) -> Told:
        return (f"{_size(len(payload))}, {untold}", (), "") if untold else _payload(payload, type_hash)

    return _within({**_FILL, (2, BYTES): ("payload", tell_payload)})(message, at, names)


def _is_for_op(suffix: bytes | memoryview) -> bool:
    """Whether a fill is for an op of a component, whose payload has no wire type."""
    try:
        address = Address.from_bytes(suffix)
    except RemoteError:
        return False
    return address.site is None and address.op is not None


# --- values of fields -------------------------------------------------------------------------------------------------


def _payload(payload: memoryview, type_hash: int) -> Told:
    size = _size(len(payload))
    try:
        text, children = tell_value(decode_value(type_hash, payload))
    except RemoteError as error:
        return f"{size}: {printable(error.message)}", (), error.code
    return f"{size}: {text}", tuple(Part(None, None, *child) for child in children), ""


def _tell_unknown(number: int, wire: int) -> Tell:
    def tell(value: Any, at: int, names: Names) -> Told:
        shown = _size(len(value)) if wire == BYTES else value if wire == NUMBER else ""
        return f"field {number} is not known: {_WIRE_NAMES[wire]} {shown}".rstrip(), (), ""

    return tell


def _tell_address(raw: memoryview, at: int, names: Names) -> Told:
    try:
        return names(Address.from_bytes(raw)), (), ""
    except RemoteError as error:
        return f"{_size(len(raw))}: {printable(error.message)}", (), error.code


def _tell_peer(raw: memoryview, at: int, names: Names) -> Told:
    try:
        return str(PeerId(bytes(raw))), (), ""
    except RemoteError as error:
        return f"{_size(len(raw))}: {error.message}", (), error.code


def _tell_hash(type_hash: int, at: int, names: Names) -> Told:
    known = find(type_hash)
    return f"{type_hash:#018x}, {known.name if known else 'of no known wire type'}", (), ""


def _tell_number(number: int, at: int, names: Names) -> Told:
    return str(number), (), ""


def _tell_u32(number: int, at: int, names: Names) -> Told:
    return str(number & 0xFFFFFFFF), (), ""


def _tell_chain(number: int, at: int, names: Names) -> Told:
    return f"{number:#018x}", (), ""


def _tell_site(number: int, at: int, names: Names) -> Told:
    name = names.sites.get(number)
    return f"{number}, {name}" if name else str(number), (), ""


def _tell_flag(number: int, at: int, names: Names) -> Told:
    return str(bool(number)).lower(), (), ""


def _tell_duration(number: int, at: int, names: Names) -> Told:
    return duration(number), (), ""


def _tell_kind(number: int, at: int, names: Names) -> Told:
    return _KINDS.get(number & 0xFFFFFFFF, f"{number & 0xFFFFFFFF}, which means nothing"), (), ""


def _size(length: int) -> str:
    return "1 byte" if length == 1 else f"{length} bytes"


# --- the schema -------------------------------------------------------------------------------------------------------

_CORRELATION: Final[Table] = {
    (1, NUMBER): ("kind", _tell_kind),
    (2, NUMBER): ("wire_req_id", _tell_number),
}
_FILL: Final[Table] = {
    (1, BYTES): ("dest_suffix", _tell_address),
    (3, NUMBER): ("trigger_only", _tell_flag),
    (4, NUMBER): ("type_hash", _tell_hash),
}
_REPORT: Final[Table] = {
    (1, NUMBER): ("next_hop_site_id", _tell_site),
    (2, NUMBER): ("chain_id", _tell_chain),
    (3, NUMBER): ("hop_index", _tell_u32),
    (4, NUMBER): ("srtt_ns", _tell_duration),
    (5, NUMBER): ("rttvar_ns", _tell_duration),
    (6, NUMBER): ("sample_count", _tell_number),
}
_tell_correlation: Final = _within(_CORRELATION)
_tell_report: Final = _within(_REPORT)
_NESTED: Final = (_tell_fill, _tell_correlation, _tell_report)
_ENVELOPE: Final[Table] = {
    (1, BYTES): ("dest_peer_addresses", _tell_address),
    (2, BYTES): ("fills", _tell_fill),
    (3, BYTES): ("correlation", _tell_correlation),
    (4, NUMBER): ("remaining_deadline_ns", _tell_duration),
    (5, BYTES): ("edge_rtt_reports", _tell_report),
    (6, BYTES): ("src_peer_bytes", _tell_peer),
    (7, NUMBER): ("schema_version", _tell_u32),
    (8, BYTES): ("src_peer_addresses", _tell_address),
}
