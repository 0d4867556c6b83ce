"""Payloads and addresses against readers that were written from docs/reference/wire.md alone."""

from __future__ import annotations

from collections.abc import Callable
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
