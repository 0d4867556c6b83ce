"""The small values on the wire, byte for byte as the original framework writes them.

Little-endian; a length or a count is a u64, the kind of an address segment a u32. Bytes after the value are refused, so that
equal values have equal bytes.

Source: docs/reference/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bb_core.errors import AddressError, PayloadError
from bb_core.ids import PeerId
from bb_core.values import PeerList, RequestId, Tensor
from bb_core.wire.address import COMPONENT, OP, P2P, SITE, Address, AddressList, Segment
from bb_core.wire.tensors import MAX_RANK, to_array

_SEGMENTS: Final = (P2P, SITE, COMPONENT, OP)
"""Address segments by their number in this encoding."""
_CPU_TENSOR_VERSION: Final = 1


class Reader:
    """Takes a payload apart, front to back.

    Raises:
        PayloadError: the payload ends inside a value, or after it.
    """

    def __init__(self, payload: memoryview) -> None:
        self._left = payload

    def take(self, size: int) -> memoryview:
        """Return the next bytes."""
        if size > len(self._left):
            raise PayloadError("a payload ends inside a value", expected=f"{size} more bytes, not {len(self._left)}")
        found, self._left = self._left[:size], self._left[size:]
        return found

    def number(self, size: int = 8) -> int:
        """Return the next number."""
        return int.from_bytes(self.take(size), "little")

    def sized(self) -> memoryview:
        """Return the next bytes that have their length before them."""
        return self.take(self.number())

    def count(self, smallest: int) -> int:
        """Return the next count of things of at least `smallest` bytes; more than can follow are refused at once."""
        found = self.number()
        if found * smallest > len(self._left):
            raise PayloadError(f"a payload claims {found} parts in {len(self._left)} bytes")
        return found

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._left:
            raise PayloadError(f"a payload has {len(self._left)} bytes after its value")


def whole(read: Callable[[Reader], Any]) -> Callable[[memoryview], Any]:
    """Make a decoder of a function that reads one value: nothing may follow it, and all that is wrong is a PayloadError."""

    def decode(payload: memoryview) -> Any:
        reader = Reader(payload)
        try:
            value = read(reader)
        except (AddressError, UnicodeDecodeError) as error:
            raise PayloadError(f"a payload holds no legal value: {error}") from error
        reader.end()
        return value

    return decode


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _sized(raw: bytes) -> bytes:
    return _u64(len(raw)) + raw


# --- peers and requests -----------------------------------------------------------------------------------------------


def encode_peer(peer: PeerId) -> bytes:
    """Length and multihash."""
    return _sized(peer.raw)


def read_peer(reader: Reader) -> PeerId:
    """Read what `encode_peer` writes."""
    return PeerId(bytes(reader.sized()))


def encode_peers(peers: PeerList) -> bytes:
    """Count, then each."""
    return _u64(len(peers)) + b"".join(encode_peer(p) for p in peers)


def read_peers(reader: Reader) -> PeerList:
    """Read what `encode_peers` writes."""
    return PeerList(read_peer(reader) for _ in range(reader.count(smallest=8)))


def encode_request(request: RequestId) -> bytes:
    """A u64."""
    return _u64(request)


def read_request(reader: Reader) -> RequestId:
    """Read what `encode_request` writes."""
    return RequestId(reader.number())


def encode_bytes(raw: bytes) -> tuple[bytes, bytes]:
    """Length, then the bytes as a piece of their own."""
    return _u64(len(raw)), raw


def read_bytes(reader: Reader) -> bytes:
    """Read what `encode_bytes` writes."""
    return bytes(reader.sized())


# --- addresses --------------------------------------------------------------------------------------------------------


def encode_address(address: Address) -> bytes:
    """Count of segments, then each: its number here, and its value."""
    parts = [_u64(len(address.segments))]
    for code, value in address.segments:
        parts.append(_SEGMENTS.index(code).to_bytes(4, "little"))
        parts.append(_encode_value(code, value))
    return b"".join(parts)


def _encode_value(code: int, value: Any) -> bytes:
    if code == P2P:
        return encode_peer(value)
    if code == OP:
        return _sized(value.encode())
    return int(value).to_bytes(8 if code == SITE else 4, "little")


def read_address(reader: Reader) -> Address:
    """Read what `encode_address` writes."""
    return Address(tuple(_read_segment(reader) for _ in range(reader.count(smallest=8))))


def _read_segment(reader: Reader) -> Segment:
    number = reader.number(4)
    if number >= len(_SEGMENTS):
        raise PayloadError(f"an address has a segment of kind {number}", expected=f"0 to {len(_SEGMENTS) - 1}")
    code = _SEGMENTS[number]
    if code == P2P:
        return Segment(code, read_peer(reader))
    if code == OP:
        return Segment(code, bytes(reader.sized()).decode())
    return Segment(code, reader.number(8 if code == SITE else 4))


def encode_addresses(addresses: AddressList) -> bytes:
    """Count, then each."""
    return _u64(len(addresses)) + b"".join(encode_address(a) for a in addresses)


def read_addresses(reader: Reader) -> AddressList:
    """Read what `encode_addresses` writes."""
    return AddressList(read_address(reader) for _ in range(reader.count(smallest=8)))


# --- the original's tensor, on receive --------------------------------------------------------------------------------


def read_cpu_tensor(reader: Reader) -> Tensor:
    """Read an f32 tensor: version, rank and dims, count and data, rank and dims again."""
    version = reader.number(1)
    if version != _CPU_TENSOR_VERSION:
        raise PayloadError(f"a tensor has the version {version}", expected=str(_CPU_TENSOR_VERSION))
    dims = _read_dims(reader)
    raw = reader.take(4 * reader.count(smallest=4))
    if _read_dims(reader) != dims:
        raise PayloadError("a tensor states two different shapes")
    return to_array(raw, np.dtype("<f4"), dims)


def _read_dims(reader: Reader) -> tuple[int, ...]:
    rank = reader.count(smallest=8)
    if rank > MAX_RANK:
        raise PayloadError(f"a tensor has {rank} dimensions", expected=f"at most {MAX_RANK}")
    return tuple(reader.number() for _ in range(rank))
