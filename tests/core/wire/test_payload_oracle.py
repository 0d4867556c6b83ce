"""Payloads and addresses against readers that were written from docs/reference/wire.md alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bb_core.errors import AddressError, PayloadError
from bb_core.ids import PeerId
from bb_core.values import TRIGGER, Composite, PeerList, Record, RequestId
from bb_core.wire.address import COMPONENT, OP, P2P, SITE, Address, AddressList, Segment
from bb_core.wire.codec import varint
from bb_core.wire.payloads import decode_value, encode_value
from tests.oracles import payloads as oracle

u64 = st.integers(0, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
peers = st.builds(lambda code, digest: PeerId(varint(code) + varint(len(digest)) + digest), u64, st.binary(max_size=64))
addresses = st.lists(
    st.one_of(
        st.builds(Segment, st.just(P2P), peers),
        st.builds(Segment, st.just(SITE), u64),
        st.builds(Segment, st.just(COMPONENT), st.integers(0, 2**32 - 1)),
        st.builds(Segment, st.just(OP), texts),
        st.ip_addresses(v=4).map(lambda ip: Segment(4, str(ip))),
        st.ip_addresses(v=6).filter(lambda ip: ip.scope_id is None).map(lambda ip: Segment(41, str(ip))),
        st.builds(Segment, st.sampled_from((53, 54, 55)), texts.filter(lambda text: text and "/" not in text)),
        st.builds(Segment, st.sampled_from((6, 273)), st.integers(0, 2**16 - 1)),
        st.builds(Segment, st.sampled_from((448, 460, 461, 477, 478)), st.none()),
        st.builds(Segment, st.just(777), u64),
    ),
    max_size=4,
).map(lambda found: Address(tuple(found)))
dtypes = st.sampled_from(["f4", "u1", "i1", "u2", "i2", "i4", "i8", "?", "f2", "f8", "u4", "u8", "c8", "c16"])
tensors = st.builds(
    lambda dtype, shape, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype),
    dtypes,
    st.lists(st.integers(0, 3), max_size=4),
    st.integers(0, 99),
)
scalars = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(), texts, st.binary(max_size=9), tensors)
flat = st.one_of(
    tensors,
    st.dictionaries(texts, scalars, max_size=4).map(Record),
    st.just(TRIGGER),
    peers,
    st.lists(peers, max_size=3).map(PeerList),
    u64.map(RequestId),
    st.binary(max_size=40),
    addresses,
    st.lists(addresses, max_size=3).map(AddressList),
)
values = st.recursive(flat, lambda inner: st.lists(inner, max_size=3).map(Composite), max_leaves=5)


def payload_of(value: Any) -> tuple[int, bytes]:
    type_hash, payload, _ = encode_value(value)
    return type_hash, b"".join(payload) if isinstance(payload, tuple) else bytes(payload)


def read(reader: Callable[[], Any], refusal: type[Exception]) -> Any:
    try:
        return reader()
    except refusal:
        return None


@given(values)
def test_what_is_written_the_oracle_reads(value):
    type_hash, payload = payload_of(value)
    assert oracle.decode(type_hash, payload) == oracle.shown(value)
    assert oracle.shown(decode_value(type_hash, payload)) == oracle.shown(value)


def damaged(draw: Any) -> tuple[int, bytes]:
    """A payload with some of its bytes replaced, inserted or dropped; at times of another type."""
    type_hash, payload = payload_of(draw(values))
    data = bytearray(payload)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    other = st.sampled_from([*oracle.READERS, oracle.COMPOSITE])
    return draw(st.just(type_hash) | other), bytes(data)


@given(st.composite(damaged)())
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused_alike(typed):
    type_hash, payload = typed
    expected = read(lambda: oracle.decode(type_hash, payload), ValueError)
    found = read(lambda: oracle.shown(decode_value(type_hash, payload)), PayloadError)
    assert found == expected


@given(addresses.map(Address.to_bytes) | st.binary(max_size=24))
def test_addresses_are_read_or_refused_alike(raw):
    expected = read(lambda: oracle.address(raw), ValueError)
    assert read(lambda: oracle.shown(Address.from_bytes(raw)), AddressError) == expected


@given(st.binary(max_size=70) | peers.map(lambda peer: peer.raw))
def test_peer_ids_are_read_or_refused_alike(raw):
    expected = read(lambda: oracle.multihash(raw), ValueError)
    assert read(lambda: PeerId(raw).raw, AddressError) == expected


@pytest.mark.parametrize("type_hash", [*oracle.READERS, oracle.COMPOSITE])
def test_every_wire_type_is_refused_without_its_bytes_alike(type_hash):
    for length in range(20):
        for payload in (bytes(length), b"\xff" * length, b"\x01" + bytes(length)):
            expected = read(lambda payload=payload: oracle.decode(type_hash, payload), ValueError)
            found = read(lambda payload=payload: oracle.shown(decode_value(type_hash, payload)), PayloadError)
            assert found == expected


def packed(run: bytes) -> bytes:
    """The float32 tensor without elements whose dims are such a run."""
    return b"\x0a" + varint(len(run)) + run + b"\x10\x01\x4a\x00"


def field(content: bytes) -> bytes:
    """A Record of one field."""
    return b"\x08\x01\x12" + varint(len(content)) + content


TENSOR, RECORD = oracle.fnv1a64("bb.tensor"), oracle.fnv1a64("bb.record")
PEER, COMPOSITE = oracle.fnv1a64(f"{oracle.VALUES}PeerIdValue"), oracle.COMPOSITE
ONE = b"\x08\x01\x10\x02\x4a\x01"  # a uint8 tensor of one element, which follows
ODD = {
    "a dimension of ten bytes": (TENSOR, packed(b"\x80" * 9 + b"\x00"), True),
    "with bits above the 64th": (TENSOR, packed(b"\x80" * 9 + b"\x7e"), True),
    "of eleven bytes": (TENSOR, packed(b"\x80" * 10 + b"\x00"), False),
    "of eleven bytes, by itself": (TENSOR, b"\x08" + b"\x80" * 10 + b"\x00\x10\x01\x4a\x00", False),
    "a run that ends inside a dimension": (TENSOR, packed(b"\x00\x80"), False),
    "a negative dimension": (TENSOR, packed(b"\xff" * 9 + b"\x01"), False),
    "32 dimensions": (TENSOR, packed(b"\x00" * 32), True),
    "33 dimensions": (TENSOR, packed(b"\x00" * 33), False),
    "dims of both forms": (TENSOR, b"\x08\x00" + packed(b"\x02\x03"), True),
    "dims as eight bytes": (TENSOR, b"\x09" + bytes(8) + ONE + b"\x07", True),
    "2^63 bytes but for a zero": (TENSOR, packed(varint(2**61) + b"\x00"), False),
    "fewer": (TENSOR, packed(varint(2**61 - 1) + b"\x00"), True),
    "two element types": (TENSOR, b"\x10\x01" + ONE + b"\x07", True),
    "two kinds of data": (TENSOR, ONE + b"\x07\x4a\x00", False),
    "no data": (TENSOR, ONE[:4], False),
    "element type string": (TENSOR, b"\x08\x00\x10\x08\x4a\x00", False),
    "a bool of 2": (TENSOR, b"\x10\x09\x4a\x01\x02", False),
    "a name that is no text": (TENSOR, b"\x42\x01\xff" + ONE + b"\x07", True),
    "a flag of 2": (RECORD, field(b"\x20\x02"), True),
    "a flag of 64 bits": (RECORD, field(b"\x20" + varint(2**63)), True),
    "the smallest int": (RECORD, field(b"\x18" + varint(2**64 - 1)), True),
    "two values": (RECORD, field(b"\x20\x01\x18\x02"), True),
    "two names": (RECORD, field(b"\x0a\x01a\x0a\x01b\x20\x01"), True),
    "of two names the first no text": (RECORD, field(b"\x0a\x01\xff\x0a\x01b\x20\x01"), False),
    "of two values the first no text": (RECORD, field(b"\x2a\x01\xff\x20\x01"), True),
    "half of a surrogate pair": (RECORD, field(b"\x2a\x03\xed\xa0\x80"), False),
    "a value of another wire type": (RECORD, field(b"\x10\x01"), False),
    "no version": (RECORD, field(b"\x20\x01")[2:], False),
    "two versions": (RECORD, b"\x08\x02\x08\x01", True),
    "version 2": (RECORD, b"\x08\x02", False),
    "one name twice": (RECORD, field(b"\x20\x01") + field(b"\x20\x01")[2:], False),
    "a tensor that is none": (RECORD, field(b"\x3a\x00"), False),
    "a peer with a longer code": (PEER, b"\x04" + bytes(7) + b"\x80\x00\x01\x07", False),
    "a peer with a longer length": (PEER, b"\x04" + bytes(7) + b"\x00\x81\x00\x07", False),
    "a peer without content": (PEER, b"\x02" + bytes(7) + b"\x00\x00", True),
    "16 Composites": (COMPOSITE, payload_of(nest := reduce(lambda v, _: Composite([v]), range(16), b"x"))[1], True),
    "17 Composites": (
        COMPOSITE,
        (1).to_bytes(8, "little") + COMPOSITE.to_bytes(8, "little")
        + len(payload_of(nest)[1]).to_bytes(8, "little") + payload_of(nest)[1],
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("type_hash", "payload", "is_legal"), ODD.values(), ids=ODD)
def test_odd_payloads_are_read_or_refused_alike(type_hash, payload, is_legal):
    expected = read(lambda: oracle.decode(type_hash, payload), ValueError)
    assert (expected is not None) == is_legal
    assert read(lambda: oracle.shown(decode_value(type_hash, payload)), PayloadError) == expected
