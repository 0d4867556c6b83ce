"""The two messages of the global registry, byte for byte as the reference implementation writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bb_core.errors import PayloadError
from bb_core.ids import PeerId
from bb_core.wire.address import P2P, Address, AddressList
from bb_core.wire.bincode import Reader, sized, u64
from bb_core.wire.carriers import read_addresses, read_peer, write_addresses

MOST_ADDRESSES: Final = 16
"""Of one peer; as many as an address book keeps."""


@dataclass(frozen=True, slots=True)
class Announce:
    """A client says that it is there, and where: peer id, then addresses."""

    peer: PeerId
    addresses: AddressList

    def to_bytes(self) -> bytes:
        """Write it."""
        return sized(self.peer.raw) + write_addresses(self.addresses)

    @classmethod
    def from_bytes(cls, payload: memoryview) -> Announce:
        """Read it; raises a `RemoteError`."""
        reader = Reader(payload)
        found = cls(read_peer(reader), _addresses(reader))
        if not found.addresses:
            raise PayloadError("an announce names no address", expected=f"1 to {MOST_ADDRESSES}")
        return found


@dataclass(frozen=True, slots=True)
class Handshake:
    """The server says for how long a client counts as there, how often to announce, and where itself is."""

    ttl_ns: int
    heartbeat_ns: int
    addresses: AddressList

    def to_bytes(self) -> bytes:
        """Write it."""
        return u64(self.ttl_ns) + u64(self.heartbeat_ns) + write_addresses(self.addresses)

    @classmethod
    def from_bytes(cls, payload: memoryview) -> Handshake:
        """Read it; raises a `RemoteError`."""
        reader = Reader(payload)
        return cls(reader.u64(), reader.u64(), _addresses(reader))


def _addresses(reader: Reader) -> AddressList:
    try:
        found = read_addresses(reader)
    except UnicodeDecodeError as error:
        raise PayloadError("an address holds text that is no UTF-8") from error
    if len(found) > MOST_ADDRESSES:
        raise PayloadError(f"a message names {len(found)} addresses", expected=f"at most {MOST_ADDRESSES}")
    reader.finish()
    return found


def own_addresses(peer: PeerId, addresses: tuple[bytes, ...]) -> AddressList:
    """Return what a Node says of where it is: its addresses, or its id when it was told none."""
    return AddressList(map(Address.from_bytes, addresses or (Address.parse(f"/p2p/{peer}").to_bytes(),)))


def reachable(addresses: AddressList) -> tuple[bytes, ...]:
    """Return the addresses that say more than who the peer is, in binary form."""
    return tuple(a.to_bytes() for a in addresses if any(segment.code != P2P for segment in a.segments))
