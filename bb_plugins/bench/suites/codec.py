"""Envelopes to bytes and back. Rows do both ways unless they say one; each Envelope has one fill.

Peers, all given the same values and asked for the same ones: google protobuf (upb) on the same schema, whose payload is
bytes already; msgspec's MessagePack of a Struct with the same fields in a row, the fastest general encoder there is;
and pickle 5 with its buffers out of band, where pieces are compared. The limit is one copy of the payload into memory
that is warm.

google's messages read a field when they are asked for it, so its rows read every field on both sides. msgspec's and
ours are whole when they are made; where a row does read them, it says so. msgspec gives a payload as a view, as we do,
where there is one; without one it may give bytes, which is faster.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np
import pytest

import bb_core as bb
from bb_core.steps import SendEnvelope
from bb_core.wire.address import p2p_address, site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode, encode_into, encode_parts, encoded_size
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import decode_value, encode_value
from bb_plugins.bench.harness import Call, Measure, slope

_LIMITS = WireLimits()
_WIDE = WireLimits(total_bytes=2**30, payload_bytes=2**30)
_PEER = bb.PeerId.from_int(7)
_STATS = bb.Record(num_samples=72)
_DESTINATION, _SOURCE = p2p_address(_PEER), _PEER.raw
_REQUEST, _DEADLINE = 2**63 + 5, 30_000_000_000

_KIB: Final = 2**10
_MIB: Final = 2**20
_SIZES: Final = {"4 KiB": 4 * _KIB, "1 MiB": _MIB, "64 MiB": 64 * _MIB}

Given = tuple[bytes, Any, bool, int]
"""What the one fill of an Envelope holds: suffix, payload, whether it is only a trigger, type hash."""
Codec = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]
"""Values to bytes, bytes to an object, and the object's fields."""


# --- the three ways ---------------------------------------------------------------------------------------------------


@cache
def _structs(payload: type) -> Any:
    """Make the schema's two Structs for msgspec."""
    fill = [("dest_suffix", bytes), ("payload", payload), ("trigger_only", bool), ("type_hash", int)]
    fill_class = msgspec.defstruct("SlotFill", fill, array_like=True)
    whole = [
        ("dest_peer_addresses", list[bytes]),
        ("fills", list[fill_class]),  # type: ignore[valid-type]
        ("kind", int),
        ("request", int),
        ("remaining_deadline_ns", int),
        ("src_peer", bytes),
        ("schema_version", int),
        ("src_peer_addresses", list[bytes]),
    ]
    return fill_class, msgspec.defstruct("WireEnvelope", whole, array_like=True)


@cache
def _google_class() -> Any:
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


def _envelope(one: Given) -> Envelope:
    fill = Fill(one[0], one[1], one[2], one[3])
    return Envelope((_DESTINATION,), (fill,), 2, _REQUEST, _DEADLINE, (), _SOURCE, 1, (_DESTINATION,))


def _ours(one: Given) -> Codec:
    suffix, payload, trigger_only, type_hash = one

    def make() -> bytes:
        fill = Fill(suffix, payload, trigger_only, type_hash)
        return encode(Envelope((_DESTINATION,), (fill,), 2, _REQUEST, _DEADLINE, (), _SOURCE, 1, (_DESTINATION,)))

    def read(e: Envelope) -> Any:
        f = e.fills[0]
        once = (e.dest_peer_addresses, e.kind, e.request, e.remaining_deadline_ns, e.src_peer, e.schema_version)
        return once, e.src_peer_addresses, f.dest_suffix, f.payload, f.trigger_only, f.type_hash

    return make, lambda data: decode(data, _WIDE), read


def _msgspec(one: Given) -> Codec:
    fill_class, whole_class = _structs(memoryview if one[1] else bytes)
    pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(whole_class).decode
    suffix, payload, trigger_only, type_hash = one

    def make() -> bytes:
        fill = fill_class(suffix, payload, trigger_only, type_hash)
        return pack(whole_class([_DESTINATION], [fill], 2, _REQUEST, _DEADLINE, _SOURCE, 1, [_DESTINATION]))

    def read(e: Any) -> Any:
        f = e.fills[0]
        once = (e.dest_peer_addresses, e.kind, e.request, e.remaining_deadline_ns, e.src_peer, e.schema_version)
        return once, e.src_peer_addresses, f.dest_suffix, f.payload, f.trigger_only, f.type_hash

    return make, unpack, read


def _google(one: Given) -> Codec:
    message_class = _google_class()
    suffix, payload, trigger_only, type_hash = one

    def make() -> Any:
        message = message_class(
            dest_peer_addresses=[_DESTINATION],
            remaining_deadline_ns=_DEADLINE,
            src_peer_bytes=_SOURCE,
            schema_version=1,
            src_peer_addresses=[_DESTINATION],
        )
        message.correlation.kind, message.correlation.wire_req_id = 2, _REQUEST
        message.fills.add(dest_suffix=suffix, payload=payload, trigger_only=trigger_only, type_hash=type_hash)
        return message.SerializeToString()

    def read(e: Any) -> Any:
        c, f = e.correlation, e.fills[0]
        once = (list(e.dest_peer_addresses), c.kind, c.wire_req_id, e.remaining_deadline_ns, e.src_peer_bytes)
        rest = (e.schema_version, list(e.src_peer_addresses))
        return once, rest, f.dest_suffix, f.payload, f.trigger_only, f.type_hash

    return make, message_class.FromString, read


def _whole(codec: Codec) -> Call:
    make, decode_it, _ = codec
    return lambda: decode_it(make())


def _and_read(codec: Codec) -> Call:
    make, decode_it, read = codec
    return lambda: read(decode_it(make()))


# --- Envelopes --------------------------------------------------------------------------------------------------------


def _given(value: Any) -> Given:
    """A fill of a value; a tensor's payload is in two parts, as a Send has it."""
    type_hash, payload, trigger_only = encode_value(value)
    return site_suffix(17), payload, trigger_only, type_hash


def _joined(one: Given) -> Given:
    """The same with its payload in one run of bytes, for those who cannot take parts."""
    suffix, payload, trigger_only, type_hash = one
    return suffix, b"".join(payload) if isinstance(payload, tuple) else payload, trigger_only, type_hash


def _floats(size: int) -> Any:
    return np.ones(size // 4, np.float32)  # not zeros: those that nobody wrote are all one page


def _memcpy(size: int) -> Call:
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    return lambda: np.copyto(target, source)


def test_header_only(row: Measure) -> None:
    """One trigger: all that is not payload."""
    suffix, payload, trigger, type_hash = given = _given(bb.TRIGGER)
    ours, google, msgpack = _ours(given), _google(given), _msgspec(given)
    assert ours[0]() == google[0]()
    row("header only, read", _and_read(ours), peer=("google protobuf", _and_read(google)))

    # Both ways in one function, as the calls between would be a third of the row.
    fill_class, whole_class = _structs(bytes)
    pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(whole_class).decode
    dest, source, request, left = _DESTINATION, _SOURCE, _REQUEST, _DEADLINE

    def both() -> Envelope:
        fill = Fill(suffix, payload, trigger, type_hash)
        return decode(encode(Envelope((dest,), (fill,), 2, request, left, (), source, 1, (dest,))), _WIDE)

    def theirs() -> Any:
        fill = fill_class(suffix, payload, trigger, type_hash)
        return unpack(pack(whole_class([dest], [fill], 2, request, left, source, 1, [dest])))

    row("header only", both, peer=("msgspec", theirs))
    row("header only, read", _and_read(ours), peer=("msgspec", _and_read(msgpack)))


@pytest.mark.parametrize(("name", "size"), [("4 KiB", 4 * _KIB), ("1 MiB", _MIB)], ids=str)
def test_one_buffer(row: Measure, name: str, size: int) -> None:
    """A tensor, encoded to bytes of its own."""
    given = _given(_floats(size))
    ours, google = _ours(given), _google(_joined(given))
    assert ours[0]() == google[0]()
    copy = ("one copy", _memcpy(size))
    row(f"{name}, read", _and_read(ours), peer=("google protobuf", _and_read(google)))
    row(name, _whole(ours), peer=("msgspec", _whole(_msgspec(_joined(given)))), limit=copy)


@pytest.mark.parametrize(("name", "size"), _SIZES.items(), ids=str)
def test_pooled_buffer(row: Measure, name: str, size: int) -> None:
    """A tensor, encoded into a buffer that has been used before; beside fresh bytes."""
    given = _given(_floats(size))
    pool = bytearray(encoded_size(_envelope(given)))
    view = memoryview(pool)

    def ours() -> Envelope:
        return decode(view[: encode_into(_envelope(given), pool)], _WIDE)

    fresh = ("fresh bytes", _whole(_ours(given)))
    row(f"{name}, pooled buffer", ours, peer=fresh, limit=("one copy", _memcpy(size)))


@pytest.mark.parametrize(("name", "size"), _SIZES.items(), ids=str)
def test_pieces(row: Measure, name: str, size: int) -> None:
    """A tensor, header and view apart: nothing of it is copied."""
    array = _floats(size)
    given = _given(array)
    header = (_DESTINATION, 2, _REQUEST, _DEADLINE, _SOURCE, 1, given[0], given[3])

    def pickled() -> Any:
        buffers: list[Any] = []
        return pickle.dumps((header, array), 5, buffer_callback=buffers.append), buffers

    row(f"encode {name} in pieces", lambda: encode_parts(_envelope(given)), peer=("pickle 5", pickled))


@pytest.mark.parametrize("name", ["1 MiB", "64 MiB"])
def test_decode_of_any_size(row: Measure, name: str) -> None:
    """Reading an Envelope does not touch its payload: the ratio to a small one is 1."""
    small, large = (encode(_envelope(_given(_floats(_SIZES[size])))) for size in ("4 KiB", name))
    row(f"decode {name}", lambda: decode(large, _WIDE), peer=("decode 4 KiB", lambda: decode(small, _WIDE)))


def test_answer_of_a_client(row: Measure) -> None:
    """The demo's 9,610 parameters; each way by itself."""
    given = _given(_floats(4 * 9610))
    ours, google = _ours(given), _google(_joined(given))
    data = ours[0]()
    assert data == google[0]()
    copy = ("one copy", _memcpy(len(data)))
    row("encode, 38 kB", ours[0], peer=("google protobuf", google[0]), limit=copy)
    read_ours, read_google = (lambda codec=codec: codec[2](codec[1](data)) for codec in (ours, google))
    row("decode, 38 kB, read", read_ours, peer=("google protobuf", read_google), limit=copy)


def test_values(row: Measure) -> None:
    """A parameter vector and a Record, value to value."""
    params = _floats(4 * 9610)

    def there_and_back() -> None:
        fills = []
        for site, value in enumerate((params, _STATS)):
            type_hash, payload, trigger = encode_value(value)
            fills.append(Fill(site_suffix(site), payload, trigger, type_hash))
        for fill in decode(encode(Envelope(fills=tuple(fills))), _LIMITS).fills:
            decode_value(fill.type_hash, fill.payload)

    row("values to bytes to values, 38 kB", there_and_back, limit=("two copies", lambda: params.copy().copy()))


# --- one value to many ------------------------------------------------------------------------------------------------


class _Broadcast(bb.Module):
    """Send a tensor to all peers of a list."""

    def body(self, g: bb.Graph) -> None:
        sent = g.send(g.input("x", bb.f32[_MIB // 4]), to=g.input("peers", bb.types.PEER_LIST))
        g.output("y", sent)


def test_broadcast(row: Measure) -> None:
    """What each further peer costs: a Node's whole turn, less one encoding of the payload."""
    count = 100
    node = bb.install(bb.PeerId.from_int(0), [], bb.Compiler().compile(_Broadcast()), ["_Broadcast"])
    peers = bb.PeerList(bb.PeerId.from_int(n) for n in range(1, count + 1))
    for peer in peers:
        node.add_peer(peer, [p2p_address(peer)])
    x = _floats(_MIB)
    x.flags.writeable = False
    given = _given(x)
    now = 0

    def broadcast() -> None:
        nonlocal now
        now += 10**9
        node.invoke("_Broadcast", {"x": x, "peers": peers}, now)
        steps = node.poll(now).steps
        assert len({id(step.data) for step in steps if isinstance(step, SendEnvelope)}) == 1

    alone = slope(broadcast, lambda: encode(_envelope(given)), count)
    row(f"1 MiB to {count} peers, each, beyond one encode", alone, timed=True)
