from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bb_core.errors import DuplicateRegistration, PayloadError, TypeMismatch
from bb_core.ids import PeerId, fnv1a64
from bb_core.values import TRIGGER, Composite, PeerList, Record, RequestId
from bb_core.wire import wire_types
from bb_core.wire.address import Address, AddressList
from bb_core.wire.carriers import CARRIERS, MAX_DEPTH
from bb_core.wire.payloads import RECORD, TENSOR, decode_value, encode_value, register

TRIGGER_HASH, PEER, PEERS, REQUEST, BYTES, ADDRESS, ADDRESSES, COMPOSITE, CPU_TENSOR = (c.type_hash for c in CARRIERS)

VECTORS = [
    (TRIGGER, TRIGGER_HASH, ""),
    (PeerId.from_int(7), PEER, "0a0000000000000000080000000000000007"),
    (
        PeerList([PeerId.from_int(1), PeerId.from_int(2)]),
        PEERS,
        "02000000000000000a00000000000000000800000000000000010a0000000000000000080000000000000002",
    ),
    (RequestId(42), REQUEST, "2a00000000000000"),
    (b"hi", BYTES, "02000000000000006869"),
    (b"", BYTES, "0000000000000000"),
    (
        Address.parse("/p2p/16uZAbWC1AJvS"),
        ADDRESS,
        "0100000000000000000000000a0000000000000000080000000000000007",
    ),
    (Address.parse("/site/17"), ADDRESS, "0100000000000000010000001100000000000000"),
    (
        Address.parse("/component/5/op/Ping"),
        ADDRESS,
        "0200000000000000020000000500000003000000040000000000000050696e67",
    ),
    (AddressList([Address()]), ADDRESSES, "01000000000000000000000000000000"),
    (
        Composite([b"hi", TRIGGER]),
        COMPOSITE,
        "02000000000000003d290ac10c33821d0a0000000000000002000000000000006869a05c41934aec08f40000000000000000",
    ),
]
TENSORS = [
    (
        [[1, 2], [3, 4]],
        "0102000000000000000200000000000000020000000000000004000000000000000000803f000000400000404000008040"
        "020000000000000002000000000000000200000000000000",
    ),
    (0.5, "01000000000000000001000000000000000000003f0000000000000000"),
]
HASHES = [*(c.type_hash for c in CARRIERS), RECORD.type_hash, TENSOR.type_hash]
EXAMPLES = [
    *((type_hash, bytes.fromhex(raw)) for _, type_hash, raw in VECTORS),
    *((CPU_TENSOR, bytes.fromhex(raw)) for _, raw in TENSORS),
    (RECORD.type_hash, bytes.fromhex("080112050a0161180412050a01621802")),
    (TENSOR.type_hash, bytes.fromhex("080210024a020102")),
]


def joined(payload: Any) -> bytes:
    return b"".join(payload) if isinstance(payload, tuple) else bytes(payload)


# --- the reference's carriers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda c: c.name)
def test_a_carriers_hash_is_that_of_its_name(carrier):
    assert fnv1a64(carrier.name.encode()) == carrier.type_hash


@pytest.mark.parametrize(("value", "type_hash", "raw"), VECTORS)
def test_small_values_are_those_bytes(value, type_hash, raw):
    found_hash, payload, trigger_only = encode_value(value)
    assert (found_hash, joined(payload).hex(), trigger_only) == (type_hash, raw, value is TRIGGER)
    found = decode_value(type_hash, bytes.fromhex(raw))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("numbers", "raw"), TENSORS)
def test_the_references_tensors_are_read(numbers, raw):
    found = decode_value(CPU_TENSOR, bytes.fromhex(raw))
    want = np.array(numbers, np.float32)
    assert (found.dtype, found.shape, found.tobytes()) == (want.dtype, want.shape, want.tobytes())
    assert not found.flags.writeable


REFUSED_TENSORS = {
    "another form": "02" + TENSORS[1][1][2:],
    "two shapes": "01" + "00" * 8 + "01" + "00" * 7 + "0000003f" + "01" + "00" * 7 + "01" + "00" * 7,
    "a count that is not the shape's": "01" + "00" * 8 + "02" + "00" * 7 + "00" * 8 + "00" * 8,
    "dimensions without end": "01" + "ff" * 8 + "00" * 64,
    "more elements than bytes": "01" + "02" + "00" * 7 + "00000000000000ff" * 2 + "00" * 64,
}


@pytest.mark.parametrize("raw", REFUSED_TENSORS.values(), ids=REFUSED_TENSORS)
def test_contradictory_tensors_are_refused(raw):
    with pytest.raises(PayloadError):
        decode_value(CPU_TENSOR, bytes.fromhex(raw))


def test_composites_hold_values_of_any_wire_type():
    value = Composite([np.arange(3), Composite([Record(a=1)]), RequestId(1), Composite()])
    type_hash, payload, _ = encode_value(value)
    tensor, inner, request, empty = decode_value(type_hash, joined(payload))
    assert tensor.tolist() == [0, 1, 2]
    assert (inner, request, empty) == (Composite([Record(a=1)]), 1, ())


def test_composites_lie_in_others_only_so_deep():
    value: Any = b"core"
    for _ in range(MAX_DEPTH):
        value = Composite([value])
    type_hash, payload, _ = encode_value(value)
    raw = joined(payload)
    assert decode_value(type_hash, raw) == value
    with pytest.raises(TypeMismatch):
        encode_value(Composite([value]))
    with pytest.raises(PayloadError):
        decode_value(
            type_hash,
            (1).to_bytes(8, "little") + type_hash.to_bytes(8, "little") + len(raw).to_bytes(8, "little") + raw,
        )


# --- rubbish ----------------------------------------------------------------------------------------------------------


@given(st.sampled_from(HASHES) | st.integers(0, 2**64 - 1), st.binary(max_size=80))
@settings(max_examples=500)
@example(PEERS, b"\xff" * 8)
@example(COMPOSITE, b"\xff" * 8)
@example(ADDRESS, b"\xff" * 8)
def test_random_bytes_are_a_value_or_a_payload_error(type_hash, payload):
    with suppress(PayloadError):
        decode_value(type_hash, payload)


@given(st.sampled_from(EXAMPLES), st.data())
@settings(max_examples=500)
def test_mutated_values_are_a_value_or_a_payload_error(example_, data):
    type_hash, payload = example_
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(PayloadError):
        decode_value(type_hash, changed)


@pytest.mark.parametrize(("type_hash", "payload"), EXAMPLES)
def test_a_value_cut_short_is_refused(type_hash, payload):
    for end in range(len(payload)):
        if type_hash == RECORD.type_hash and end in (2, 9):
            continue  # ends between two fields
        with pytest.raises(PayloadError):
            decode_value(type_hash, payload[:end])


@pytest.mark.parametrize("carrier", [(h, p) for h, p in EXAMPLES if h not in (RECORD.type_hash, TENSOR.type_hash)])
def test_bytes_behind_a_small_value_are_refused(carrier):
    type_hash, payload = carrier
    with pytest.raises(PayloadError):
        decode_value(type_hash, payload + b"\0")


# --- the registry -----------------------------------------------------------------------------------------------------


class Point(tuple[int, int]):
    """A plugin's value."""

    __slots__ = ()


@pytest.fixture
def registry(monkeypatch):
    """A registry that is as before after the test."""
    monkeypatch.setattr(wire_types, "_BY_HASH", dict(wire_types._BY_HASH))
    monkeypatch.setattr(wire_types, "_WRITERS", dict(wire_types._WRITERS))


@pytest.mark.usefixtures("registry")
def test_a_plugin_adds_a_wire_type_and_its_subclasses_go_with_it():
    added = register("acme.point", Point, bytes, Point)
    for value in (Point((1, 2)), type("Special", (Point,), {})((1, 2))):
        type_hash, payload, _ = encode_value(value)
        assert type_hash == added.type_hash == fnv1a64(b"acme.point")
        assert decode_value(type_hash, payload) == (1, 2)


@pytest.mark.usefixtures("registry")
def test_whatever_a_decoder_raises_is_a_payload_error():
    added = register("acme.point", Point, bytes, lambda raw: 1 // 0)
    with pytest.raises(PayloadError) as caught:
        decode_value(added.type_hash, b"")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("name", "cls"), [("bb.record", Point), ("acme.other", Record)])
def test_a_name_or_a_class_that_is_taken_is_refused(name, cls):
    before = dict(wire_types._BY_HASH), dict(wire_types._WRITERS)
    with pytest.raises(DuplicateRegistration):
        register(name, cls, bytes, bytes)
    assert before == (wire_types._BY_HASH, wire_types._WRITERS)


@pytest.mark.parametrize("value", [None, 1, 1.0, "text", object(), [1], (1,), {}, bytearray(b"x")])
def test_a_value_without_a_wire_type_cannot_be_sent(value):
    with pytest.raises(TypeMismatch):
        encode_value(value)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_request_id_of_more_than_64_bits_cannot_be_sent(number):
    with pytest.raises(TypeMismatch):
        encode_value(RequestId(number))


def test_the_wire_needs_no_heavy_library():
    heavy = {"onnx", "numba", "asyncio", "socket", "google.protobuf"}
    code = f"import sys, bb_core.wire.payloads; print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
