"""Envelopes to bytes and back, beside google protobuf (upb) on the same schema. The limit is one copy of the bytes.

The Envelope is a client's answer in the demo: 9,610 parameters and a Record, 38 kB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.wire.address import p2p_address, site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import decode_value, encode_value
from bb_plugins.bench.harness import Measure

_LIMITS = WireLimits()
_PEER = bb.PeerId.from_int(7)
_STATS = bb.Record(num_samples=72)


def _google() -> Any:
    """Build the schema's classes for google protobuf, without generated code."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    kinds = {"u64": 4, "u32": 13, "bytes": 12, "bool": 8, "enum": 5}
    tables = {
        "WireCorrelation": [("kind", 1, "enum"), ("wire_req_id", 2, "u64")],
        "SlotFill": [
            ("dest_suffix", 1, "bytes"),
            ("payload", 2, "bytes"),
            ("trigger_only", 3, "bool"),
            ("type_hash", 4, "u64"),
        ],
        "WireEnvelope": [
            ("dest_peer_addresses", 1, "*bytes"),
            ("fills", 2, "*.bench.SlotFill"),
            ("correlation", 3, ".bench.WireCorrelation"),
            ("remaining_deadline_ns", 4, "u64"),
            ("src_peer_bytes", 6, "bytes"),
            ("schema_version", 7, "u32"),
            ("src_peer_addresses", 8, "*bytes"),
        ],
    }
    for name, fields in tables.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number, label=3 if kind.startswith("*") else 1)
            one = kind.removeprefix("*")
            if one.startswith("."):
                added.type, added.type_name = 11, one
            else:
                added.type = kinds[one]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.WireEnvelope"))


def _fields(values: list[Any]) -> list[tuple[bytes, Any, int]]:
    fills = []
    for site, value in enumerate(values):
        type_hash, payload, _ = encode_value(value)
        parts = payload if isinstance(payload, tuple) else (payload,)
        fills.append((site_suffix(site), b"".join(bytes(p) for p in parts), type_hash))
    return fills


@pytest.mark.parametrize(("name", "size"), [("empty", 0), ("4 kB", 1024), ("38 kB", 9610), ("1 MB", 250_000)], ids=str)
def test_envelope(row: Measure, name: str, size: int) -> None:
    """Both ways, the tensor's payload as it stands in the Envelope."""
    message_class = _google()
    params = np.zeros(size, np.float32)
    fills = _fields([params, _STATS])
    destination, source = p2p_address(_PEER), _PEER.raw

    def ours() -> bytes:
        return encode(
            Envelope(
                dest_peer_addresses=(destination,),
                fills=tuple(Fill(suffix, payload, False, type_hash) for suffix, payload, type_hash in fills),
                kind=2,
                request=2**63 + 5,
                src_peer=source,
            )
        )

    def theirs() -> bytes:
        message = message_class(dest_peer_addresses=[destination], src_peer_bytes=source, schema_version=1)
        message.correlation.kind, message.correlation.wire_req_id = 2, 2**63 + 5
        for suffix, payload, type_hash in fills:
            message.fills.add(dest_suffix=suffix, payload=payload, type_hash=type_hash)
        encoded: bytes = message.SerializeToString()
        return encoded

    data = ours()
    assert data == theirs()
    row(f"encode, {name}", ours, peer=("google protobuf", theirs), limit=("one copy", lambda: bytearray(data)))

    def read_theirs() -> list[Any]:
        message = message_class.FromString(data)
        return [(f.dest_suffix, f.payload, f.type_hash) for f in message.fills]

    def read_ours() -> list[Any]:
        return [(f.dest_suffix, f.payload, f.type_hash) for f in decode(data, _LIMITS).fills]

    row(
        f"decode, {name}", read_ours, peer=("google protobuf", read_theirs), limit=("one copy", lambda: bytearray(data))
    )


def test_values(row: Measure) -> None:
    """A parameter vector and a Record, value to value."""
    params = np.zeros(9610, np.float32)

    def there_and_back() -> None:
        fills = []
        for site, value in enumerate((params, _STATS)):
            type_hash, payload, trigger = encode_value(value)
            fills.append(Fill(site_suffix(site), payload, trigger, type_hash))
        for fill in decode(encode(Envelope(fills=tuple(fills))), _LIMITS).fills:
            decode_value(fill.type_hash, fill.payload)

    row("values to bytes to values, 38 kB", there_and_back, limit=("two copies", lambda: params.copy().copy()))
