"""Envelopes to bytes and back.

An Envelope is one message between two peers: some *fills*, each a value for one site of the receiver, and which request
it belongs to. Its bytes are those of the protobuf message in `envelope.proto`, in canonical form: equal Envelopes have
equal bytes, the same that google's encoder writes. docs/reference/wire.md says what each field means.

`Fill(dest_suffix, payload, trigger_only, type_hash)`
    A value for one site. `payload` is one contiguous bytes-like object or a tuple of them, which are sent one after
    another; `encode` copies each once, `encode_parts` none that is long. A decoded fill's payload is a read-only view
    that keeps the Envelope's bytes alive.

`Envelope(dest_peer_addresses, fills, kind, request, remaining_deadline_ns, edge_rtt_reports, src_peer, schema_version,
src_peer_addresses, has_correlation)`
    `kind` is 0 for none, 1 for a request, 2 for a response; `request` its number. `has_correlation` says whether the
    message that holds the two is written at all; it is by default, even when both are zero.

`EdgeRttReport(site, chain, hop, srtt_ns, rttvar_ns, samples)`
    Round-trip time of one hop, as the sender has measured it.

`encode(envelope)`
    The bytes. Measures first, then allocates once. Raises `UsageError` when a payload is not contiguous bytes; so do
    the next three.

`encode_into(envelope, buffer)`
    Writes the same bytes to the start of a writable buffer and returns how many there are. Nothing is allocated: a
    buffer that is used again and again saves the page faults of a fresh one, which cost several times the copy once a
    message has tens of megabytes. Raises `UsageError` also when the buffer is too small (`encoded_size` says how large
    it must be), cannot be written, or holds a payload of this Envelope where its bytes would go. Nothing is written
    then.

`encoded_size(envelope)`
    How many bytes the Envelope takes. The payloads are not read.

`encode_parts(envelope)`
    The same bytes in pieces, for `socket.sendmsg`, `writev` or a transport's `writelines`. A payload, or a part of one,
    from `SCATTERED` bytes on is a piece of its own, a read-only view of the caller's memory that keeps it alive; all
    between is copied. So it takes the same time at any size, and the memory must not change until the pieces are sent.
    Each piece has one dimension of bytes and is not empty, except that of an Envelope of no bytes.

`decode(data, limits)`
    The Envelope in contiguous bytes, within these limits or else the usual ones. Nothing is copied but what is small,
    so it takes the same time for payloads of any size. Fields that this release does not know are skipped. What is
    wrong with the bytes is an `EnvelopeError`: `Truncated`, `CapExceeded`, `VersionMismatch` or itself for malformed
    fields. All limits are checked before anything is allocated for what they limit. Raises `UsageError` when `data` is
    not contiguous bytes at all.

`Fields(message)`, `varint(value)`, `address_of(buffer)`
    For the payloads of this package: iterate over the fields of any protobuf message as (number, wire type, value),
    where `at` says at which byte the next one begins; write one varint; say where a buffer begins.

All four classes are immutable.
"""

from __future__ import annotations

from typing import Final

try:
    from bb_core.wire._codec import (
        SCATTERED,
        EdgeRttReport,
        Envelope,
        Fields,
        Fill,
        address_of,
        decode,
        encode,
        encode_into,
        encode_parts,
        encoded_size,
        varint,
    )
except ImportError as error:  # pragma: no cover - only without a build
    raise ImportError("the compiled module bb_core.wire._codec is missing; build it with `pip install -e .`") from error

NUMBER: Final = 0
"""Wire type of a varint; `Fields` yields an int below 2**64."""
FIXED64: Final = 1
"""Wire type of eight bytes."""
BYTES: Final = 2
"""Wire type of bytes, text and nested messages; `Fields` yields a read-only view."""

__all__ = [
    "BYTES",
    "FIXED64",
    "NUMBER",
    "SCATTERED",
    "EdgeRttReport",
    "Envelope",
    "Fields",
    "Fill",
    "address_of",
    "decode",
    "encode",
    "encode_into",
    "encode_parts",
    "encoded_size",
    "varint",
]
