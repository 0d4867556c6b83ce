"""Large values in parts, and how a receiver says what it has.

A *chunk* travels as a fill's payload, of the wire type `bb.chunk`, to the site that its value is for:

    message Chunk {
        uint32 index = 1; uint32 count = 2;   // of all chunks of one Send to one peer, whatever value they are of
        uint64 offset = 3; uint64 total = 4;  // where its bytes belong, and how many the value's payload has
        uint64 type_hash = 5;                 // of the value
        bytes data = 6;
    }

A *receipt* is a Record to the site `RECEIPT_SITE`, which every Node has without exporting it. It names what it is for
by kind and request of the Envelope and the first site that its Send fills, says how many chunks are there without a gap
(`upto`), and which of the next ones are (`more`, a bit for each, the lowest first). An Envelope that is not in chunks
asks for one by a fill to `RECEIPT_WANTED_SITE`, its first, and counts as one chunk.

Source: docs/reference/wire.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bb_core import keys
from bb_core.errors import EnvelopeError, PayloadError
from bb_core.ids import site_id
from bb_core.values import Record
from bb_core.wire.codec import BYTES, NUMBER, Fields, varint
from bb_core.wire.wire_types import register

MOST: Final = 1 << 16
"""How many chunks one Send may have."""
AHEAD: Final = 256
"""How many chunks beyond those without a gap a receipt speaks of; a sender is never further ahead."""

RECEIPT_SITE: Final = site_id(f"{keys.PREFIX}.delivery", "receipt")
RECEIPT_WANTED_SITE: Final = site_id(f"{keys.PREFIX}.delivery", "wanted")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A part of a value's payload."""

    index: int
    count: int
    offset: int
    total: int
    type_hash: int
    data: Any
    """One contiguous bytes-like object, or a tuple of them."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver has of one Send.

    Attributes:
        kind: That of the Envelopes.
        request: Theirs.
        site: The first that the Send fills.
        upto: So many chunks are there without a gap.
        more: A bit for each of the next, the lowest first.
    """

    kind: int
    request: int
    site: int
    upto: int
    more: bytes = b""

    def has(self, index: int) -> bool:
        """Whether a chunk is there."""
        at = index - self.upto
        return at < 0 or (at < 8 * len(self.more) and bool(self.more[at >> 3] >> (at & 7) & 1))


def cut(parts: Sequence[memoryview], start: int, stop: int) -> tuple[memoryview, ...]:
    """Return the bytes from `start` to `stop` of some buffers that stand one after another, without copying any."""
    found, at = [], 0
    for part in parts:
        piece = part[max(0, start - at) : max(0, stop - at)]
        if piece.nbytes:
            found.append(piece)
        at += part.nbytes
    return tuple(found)


# --- the chunk --------------------------------------------------------------------------------------------------------


def encode_chunk(chunk: Chunk) -> tuple[Any, ...]:
    """Return the payload of a chunk in pieces; a field that is zero is not written."""
    data = chunk.data if isinstance(chunk.data, tuple) else (chunk.data,)
    numbers = (chunk.index, chunk.count, chunk.offset, chunk.total, chunk.type_hash)
    head = b"".join(bytes((key << 3,)) + varint(number) for key, number in enumerate(numbers, 1) if number)
    size = sum(memoryview(part).nbytes for part in data)
    return (head + b"\x32" + varint(size), *data) if size else (head,)


def decode_chunk(payload: memoryview) -> Chunk:
    """Read a chunk; its data is a view of the payload.

    Raises:
        PayloadError: the bytes are no chunk, or one that cannot be.
    """
    numbers, data = [0] * 6, payload[:0]
    try:
        for number, wire, value in Fields(payload):
            if wire == NUMBER and number in (1, 2, 3, 4, 5):
                numbers[number] = value
            elif wire == BYTES and number == 6:
                data = value
    except EnvelopeError as error:
        raise PayloadError(f"a chunk is malformed: {error.message}", where=error.where) from error
    _, index, count, offset, total, type_hash = numbers
    if not (index < count <= MOST and offset + data.nbytes <= total):
        raise PayloadError(
            f"chunk {index} of {count} has {data.nbytes} bytes at {offset} of {total}",
            expected=f"an index below the count, at most {MOST} of them, and bytes inside the value",
        )
    return Chunk(index, count, offset, total, type_hash, data)


CHUNK: Final = register("bb.chunk", Chunk, encode_chunk, decode_chunk)


# --- the receipt ------------------------------------------------------------------------------------------------------


def write_receipt(receipt: Receipt) -> Record:
    """Make what a receipt's fill carries."""
    request, site = receipt.request.to_bytes(8, "big"), receipt.site.to_bytes(8, "big")
    return Record(kind=receipt.kind, request=request, site=site, upto=receipt.upto, more=receipt.more)


def read_receipt(value: Any) -> Receipt:
    """Return what a peer says that it has.

    Raises:
        PayloadError: the value that it has sent is no receipt.
    """
    if not isinstance(value, Record):
        raise PayloadError(f"a receipt is a {type(value).__name__}", expected="a Record")
    kind, request, site = value.get("kind"), value.get("request"), value.get("site")
    upto, more = value.get("upto"), value.get("more")
    if type(kind) is not int or type(upto) is not int or upto < 0:
        raise PayloadError("a receipt does not say of which kind it is, or how many chunks are there")
    if type(request) is not bytes or type(site) is not bytes or len(request) != 8 or len(site) != 8:
        raise PayloadError("a receipt does not say what it is for", expected="request and site, of eight bytes each")
    if type(more) is not bytes or len(more) > AHEAD // 8:
        raise PayloadError("a receipt's bits are malformed", expected=f"more, of at most {AHEAD // 8} bytes")
    return Receipt(kind, int.from_bytes(request, "big"), int.from_bytes(site, "big"), upto, more)
