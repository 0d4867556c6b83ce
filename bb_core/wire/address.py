"""Addresses: who, and where inside a Node. A chain of segments, in bytes or as text.

`/p2p/16uZAbWC1AJvS/site/17` is value 17 of peer 7. A fill's address has only the part inside the Node, most often one
site. Where a peer can be reached (host and port) is the transport's business and is not an address here.

Each segment is a varint code and a value:

* `p2p` (421): length as a varint, then a peer id's multihash;
* `site` (0xE2): eight bytes, big-endian;
* `component` (0xE3): four bytes, big-endian;
* `op` (0xE4): length as a varint, then UTF-8 text.

Source: multiformats/multiaddr; docs/reference/wire.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bb_core.errors import AddressError
from bb_core.ids import PeerId
from bb_core.wire.codec import varint

P2P: Final = 421
SITE: Final = 0xE2
COMPONENT: Final = 0xE3
OP: Final = 0xE4

_NAMES: Final = {P2P: "p2p", SITE: "site", COMPONENT: "component", OP: "op"}
_CODES: Final = {name: code for code, name in _NAMES.items()}
_WIDTHS: Final = {SITE: 8, COMPONENT: 4}
_SITE_PREFIX: Final = varint(SITE)
_SITE_LENGTH: Final = len(_SITE_PREFIX) + _WIDTHS[SITE]


class Segment(NamedTuple):
    """One step of an address."""

    code: int
    """One of `P2P`, `SITE`, `COMPONENT`, `OP`."""
    value: Any
    """A PeerId, an int or a str, as the code has it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A chain of segments in any order; an empty one is legal and names nothing.

    Example:
        >>> Address.parse("/component/5/op/Ping").op
        'Ping'
    """

    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        for segment in self.segments:
            _check(*segment)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read the text form; raises `AddressError`."""
        parts = text.strip().split("/")
        if parts == [""]:
            return cls()
        if parts[0] or len(parts) % 2 == 0:
            raise AddressError(f"{text!r} is not an address", expected="pairs such as /site/17")
        return cls(tuple(_from_text(*pair) for pair in zip(parts[1::2], parts[2::2], strict=True)))

    @classmethod
    def from_bytes(cls, raw: bytes | memoryview) -> Address:
        """Read the binary form; raises `AddressError`."""
        return cls(tuple(_segments(bytes(raw))))

    def to_bytes(self) -> bytes:
        """Write the binary form."""
        return b"".join(varint(code) + _value_bytes(code, value) for code, value in self.segments)

    def __str__(self) -> str:
        return "".join(f"/{_NAMES[code]}/{value}" for code, value in self.segments)

    @property
    def peer(self) -> PeerId | None:
        """The first peer."""
        found: PeerId | None = self._first(P2P)
        return found

    @property
    def site(self) -> int | None:
        """The first site."""
        found: int | None = self._first(SITE)
        return found

    @property
    def component(self) -> int | None:
        """The first component."""
        found: int | None = self._first(COMPONENT)
        return found

    @property
    def op(self) -> str | None:
        """The first op."""
        found: str | None = self._first(OP)
        return found

    def _first(self, wanted: int) -> Any:
        return next((value for code, value in self.segments if code == wanted), None)


class AddressList(tuple[Address, ...]):
    """Addresses in order of preference."""

    __slots__ = ()


def site_suffix(site: int) -> bytes:
    """Write the address of one site: ten bytes."""
    return _SITE_PREFIX + site.to_bytes(8, "big")


def parse_site_suffix(raw: bytes) -> int | None:
    """Read the first site of an address; None when it names none.

    Raises:
        AddressError: the bytes are not an address.
    """
    if len(raw) == _SITE_LENGTH and raw.startswith(_SITE_PREFIX):
        return int.from_bytes(raw[2:], "big")
    return Address.from_bytes(raw).site


def p2p_address(peer: PeerId) -> bytes:
    """Write the address of a peer."""
    return Address((Segment(P2P, peer),)).to_bytes()


# --- one segment ------------------------------------------------------------------------------------------------------


def _check(code: int, value: Any) -> None:
    """Refuse a value that its segment cannot hold."""
    if code in _WIDTHS:
        legal = isinstance(value, int) and 0 <= value < 1 << 8 * _WIDTHS[code]
    elif code == OP:  # half of a surrogate pair has no UTF-8
        legal = isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    else:
        legal = code == P2P and isinstance(value, PeerId)
    if not legal:
        raise AddressError(f"{value!r} is not a value of the address segment {_NAMES.get(code, code)}")


def _from_text(name: str, text: str) -> Segment:
    code = _CODES.get(name)
    if code is None:
        raise AddressError(f"an address has no segment {name!r}", expected=", ".join(_CODES))
    if code == P2P:
        return Segment(code, PeerId.parse(text))
    if code == OP:
        return Segment(code, text)
    if not (text.isascii() and text.isdecimal()):
        raise AddressError(f"{text!r} is not a {name}", expected="a decimal number")
    return Segment(code, int(text))


def _value_bytes(code: int, value: Any) -> bytes:
    if code in _WIDTHS:
        return int(value).to_bytes(_WIDTHS[code], "big")
    raw = value.raw if code == P2P else value.encode()
    return varint(len(raw)) + bytes(raw)


def _segments(raw: bytes) -> Iterator[Segment]:
    at = 0
    while at < len(raw):
        code, at = _uvarint(raw, at)
        if code not in _NAMES:
            raise AddressError(f"an address has no segment {code}", expected=", ".join(_CODES))
        length, at = (_WIDTHS[code], at) if code in _WIDTHS else _uvarint(raw, at)
        if length > len(raw) - at:
            raise AddressError("an address ends inside a segment", where=f"byte {at}")
        yield Segment(code, _from_bytes(code, raw[at : at + length]))
        at += length


def _from_bytes(code: int, raw: bytes) -> PeerId | int | str:
    if code == P2P:
        return PeerId(raw)
    if code in _WIDTHS:
        return int.from_bytes(raw, "big")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise AddressError("the op of an address is not UTF-8") from error


def _uvarint(raw: bytes, at: int) -> tuple[int, int]:
    """Read a varint in its shortest form; longer ones are refused, so that equal addresses have equal bytes."""
    value = shift = 0
    for end in range(at, min(at + 10, len(raw))):
        value |= (raw[end] & 0x7F) << shift
        shift += 7
        if raw[end] < 0x80:
            if value < 1 << 64 and varint(value) == raw[at : end + 1]:
                return value, end + 1
            break
    raise AddressError("an address ends inside a number, or spells one too long", where=f"byte {at}")
