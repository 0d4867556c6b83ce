"""Addresses: who, where in the network, and where inside a Node. A chain of segments, in bytes or as text.

`/ip4/10.0.0.7/tcp/4001/tls/p2p/16uZAbWC1AJvS` says where peer 7 can be reached, `/site/17` which of its values is
meant. A fill's address has only the part inside the Node, most often one site. The format is multiaddr's, with three
segments of our own; `PROTOCOLS` lists what a segment may be. Each is a varint code and a value:

| segments                             | value in bytes                                    | in text            |
|--------------------------------------|---------------------------------------------------|--------------------|
| `ip4`, `ip6`                         | 4 or 16 bytes                                     | as RFC 5952 has it |
| `tcp`, `udp`                         | 2 bytes, big-endian                               | decimal            |
| `dns`, `dns4`, `dns6`                | length as a varint, then UTF-8                    | the name           |
| `tls`, `ws`, `wss`, `quic`, `quic-v1`| none                                              | none               |
| `memory`                             | 8 bytes, big-endian: a door inside one process    | decimal            |
| `p2p`                                | length as a varint, then a peer id's multihash    | base58btc          |
| `site`, `component`                  | 8 or 4 bytes, big-endian                          | decimal            |
| `op`                                 | length as a varint, then UTF-8                    | the name           |

Source: multiformats/multiaddr, protocols.csv; docs/reference/wire.md.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bb_core.errors import AddressError
from bb_core.ids import PeerId, read_uvarint
from bb_core.wire.codec import varint

P2P: Final = 421
SITE: Final = 0xE2
COMPONENT: Final = 0xE3
OP: Final = 0xE4


# --- what a segment may be --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Protocol:
    """One kind of segment."""

    code: int
    name: str
    width: int | None
    """Bytes of its value; 0 for none, None when a length stands before them."""
    parse: Callable[[str], Any]
    """Text to value; raises ValueError."""
    read: Callable[[bytes], Any]
    """Bytes to value; raises ValueError."""
    write: Callable[[Any], bytes]
    """A legal value to bytes."""
    is_legal: Callable[[Any], bool]


def _number(code: int, name: str, width: int) -> Protocol:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()):
            raise ValueError("not a decimal number")
        return int(text)

    return Protocol(
        code,
        name,
        width,
        parse,
        lambda raw: int.from_bytes(raw, "big"),
        lambda value: int(value).to_bytes(width, "big"),
        lambda value: isinstance(value, int) and 0 <= value < 1 << 8 * width,
    )


def _text(code: int, name: str, *, may_be_empty: bool) -> Protocol:
    def is_legal(value: Any) -> bool:
        return (
            isinstance(value, str)
            and (bool(value) or may_be_empty)
            and not any("\ud800" <= letter <= "\udfff" for letter in value)  # half of a surrogate pair has no UTF-8
            and (may_be_empty or "/" not in value)
        )

    return Protocol(code, name, None, str, bytes.decode, str.encode, is_legal)


def _ip(code: int, name: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], width: int) -> Protocol:
    def parse(text: str) -> str:
        if "%" in text:
            raise ValueError("a zone means something on one machine only")
        return str(kind(text))

    def is_legal(value: Any) -> bool:
        try:
            return isinstance(value, str) and parse(value) == value
        except ValueError:
            return False

    return Protocol(code, name, width, parse, lambda raw: str(kind(raw)), lambda value: kind(value).packed, is_legal)


def _flag(code: int, name: str) -> Protocol:
    return Protocol(code, name, 0, lambda text: None, lambda raw: None, lambda value: b"", lambda value: value is None)


PROTOCOLS: Final = (
    _ip(4, "ip4", ipaddress.IPv4Address, 4),
    _ip(41, "ip6", ipaddress.IPv6Address, 16),
    _text(53, "dns", may_be_empty=False),
    _text(54, "dns4", may_be_empty=False),
    _text(55, "dns6", may_be_empty=False),
    _number(6, "tcp", 2),
    _number(273, "udp", 2),
    _flag(448, "tls"),
    _flag(460, "quic"),
    _flag(461, "quic-v1"),
    _flag(477, "ws"),
    _flag(478, "wss"),
    _number(777, "memory", 8),
    Protocol(P2P, "p2p", None, PeerId.parse, PeerId, lambda value: value.raw, lambda value: isinstance(value, PeerId)),
    _number(SITE, "site", 8),
    _number(COMPONENT, "component", 4),
    _text(OP, "op", may_be_empty=True),
)
_BY_CODE: Final = {protocol.code: protocol for protocol in PROTOCOLS}
_BY_NAME: Final = {protocol.name: protocol for protocol in PROTOCOLS}
_HOSTS: Final = frozenset(_BY_NAME[name].code for name in ("ip4", "ip6", "dns", "dns4", "dns6"))
_PORTS: Final = frozenset(_BY_NAME[name].code for name in ("tcp", "udp"))
_SITE_PREFIX: Final = varint(SITE)
_SITE_LENGTH: Final = len(_SITE_PREFIX) + 8


# --- addresses --------------------------------------------------------------------------------------------------------


class Segment(NamedTuple):
    """One step of an address."""

    code: int
    """That of one of `PROTOCOLS`."""
    value: Any
    """A PeerId, an int, a str or None, as the protocol has it."""


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
        first, *parts = text.strip().split("/")
        if first:
            raise AddressError(f"{text!r} is not an address", expected="segments such as /site/17")
        return cls(tuple(_from_text(parts)))

    @classmethod
    def from_bytes(cls, raw: bytes | memoryview) -> Address:
        """Read the binary form; raises `AddressError`."""
        return cls(tuple(_segments(bytes(raw))))

    def to_bytes(self) -> bytes:
        """Write the binary form."""
        return b"".join(_to_bytes(*segment) for segment in self.segments)

    def __str__(self) -> str:
        return "".join(_to_text(*segment) for segment in self.segments)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The names of the segments, such as `("ip4", "tcp", "tls", "p2p")`: a transport knows its own by them."""
        return tuple(_BY_CODE[code].name for code, _ in self.segments)

    @property
    def host(self) -> str | None:
        """The first IP address or DNS name."""
        return next((value for code, value in self.segments if code in _HOSTS), None)

    @property
    def port(self) -> int | None:
        """The first TCP or UDP port."""
        return next((value for code, value in self.segments if code in _PORTS), None)

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


def op_suffix(component: int, op: str) -> bytes:
    """Write the address of an op of a component."""
    return Address((Segment(COMPONENT, component), Segment(OP, op))).to_bytes()


def p2p_address(peer: PeerId) -> bytes:
    """Write the address of a peer."""
    return Address((Segment(P2P, peer),)).to_bytes()


def address_bytes(given: Address | str | bytes) -> bytes:
    """Return the binary form of an address that may be given in any.

    Raises:
        AddressError: it is none.
    """
    if isinstance(given, str):
        given = Address.parse(given)
    elif not isinstance(given, Address):
        given = Address.from_bytes(given)
    return given.to_bytes()


# --- one segment ------------------------------------------------------------------------------------------------------


def _check(code: int, value: Any) -> None:
    """Refuse a value that its segment cannot hold."""
    protocol = _BY_CODE.get(code)
    if protocol is None or not protocol.is_legal(value):
        name = code if protocol is None else protocol.name
        raise AddressError(f"{value!r} is not a value of the address segment {name}")


def _unknown(segment: object) -> AddressError:
    return AddressError(f"an address has no segment {segment!r}", expected=", ".join(_BY_NAME))


def _from_text(parts: Sequence[str]) -> Iterator[Segment]:
    at = iter(parts)
    for name in at:
        protocol = _BY_NAME.get(name)
        if protocol is None:
            raise _unknown(name)
        text = "" if protocol.width == 0 else next(at, None)
        if text is None:
            raise AddressError(f"an address ends after /{name}", expected=f"its value, as in /{name}/...")
        try:
            value = protocol.parse(text)
        except ValueError as error:
            raise AddressError(f"{text!r} is not a value of the address segment {name}", hint=str(error)) from error
        yield Segment(protocol.code, value)


def _to_text(code: int, value: Any) -> str:
    name = _BY_CODE[code].name
    return f"/{name}" if value is None else f"/{name}/{value}"


def _to_bytes(code: int, value: Any) -> bytes:
    protocol = _BY_CODE[code]
    raw = protocol.write(value)
    return varint(code) + (varint(len(raw)) + raw if protocol.width is None else raw)


def _segments(raw: bytes) -> Iterator[Segment]:
    at = 0
    while at < len(raw):
        code, at = read_uvarint(raw, at)
        protocol = _BY_CODE.get(code)
        if protocol is None:
            raise _unknown(code)
        length, at = read_uvarint(raw, at) if protocol.width is None else (protocol.width, at)
        if length > len(raw) - at:
            raise AddressError("an address ends inside a segment", where=f"byte {at}")
        try:
            value = protocol.read(raw[at : at + length])
        except ValueError as error:
            raise AddressError(f"the {protocol.name} of an address is malformed", where=f"byte {at}") from error
        yield Segment(code, value)
        at += length
