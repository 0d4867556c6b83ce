from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bb_core.errors import CapExceeded, EnvelopeError, Truncated, UsageError, VersionMismatch
from bb_core.wire.codec import (
    BYTES,
    NUMBER,
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
from bb_core.wire.limits import WireLimits
from tests.golden.load import envelopes
from tests.oracles import codec as oracle
from tests.oracles import schema

GOLDEN = envelopes()
GOOGLE = schema.messages()
WIDE = WireLimits(dest_addresses=10**6, rtt_reports=10**6, fills=10**6, src_addresses=10**6, src_address_bytes=10**6)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
small = st.binary(max_size=24)
fills = st.builds(Fill, small, small | st.lists(small, max_size=3).map(tuple), st.booleans(), u64)
reports = st.builds(EdgeRttReport, u64, u64, u32, u64, u64, u64)
legal = st.builds(
    Envelope,
    dest_peer_addresses=st.lists(small, max_size=3),
    fills=st.lists(fills, max_size=4),
    kind=st.integers(-(2**31), 2**31 - 1),
    request=u64,
    remaining_deadline_ns=u64,
    edge_rtt_reports=st.lists(reports, max_size=2),
    src_peer=small,
    schema_version=st.sampled_from([0, 1]),
    src_peer_addresses=st.lists(small, max_size=3),
)


def shown(envelope: Any) -> dict[str, Any]:
    """An Envelope of this package or of the oracle, as plain values."""
    once = ("kind", "request", "remaining_deadline_ns", "src_peer", "schema_version", "has_correlation")
    return {name: getattr(envelope, name) for name in once} | {
        "dest_peer_addresses": list(envelope.dest_peer_addresses),
        "src_peer_addresses": list(envelope.src_peer_addresses),
        "fills": [(f.dest_suffix, bytes(f.payload), f.trigger_only, f.type_hash) for f in envelope.fills],
        "reports": [[getattr(r, name) for name in oracle.REPORT.values()] for r in envelope.edge_rtt_reports],
    }


def shown_google(message: Any) -> dict[str, Any]:
    """The same of google's message."""
    report = GOOGLE["EdgeRttReport"].DESCRIPTOR.fields_by_number
    return {
        "kind": message.correlation.kind,
        "request": message.correlation.wire_req_id,
        "remaining_deadline_ns": message.remaining_deadline_ns,
        "src_peer": message.src_peer_bytes,
        "schema_version": message.schema_version,
        "has_correlation": message.HasField("correlation"),
        "dest_peer_addresses": list(message.dest_peer_addresses),
        "src_peer_addresses": list(message.src_peer_addresses),
        "fills": [(f.dest_suffix, f.payload, f.trigger_only, f.type_hash) for f in message.fills],
        "reports": [[getattr(r, report[n].name) for n in oracle.REPORT] for r in message.edge_rtt_reports],
    }


def accepted(read: Any, data: bytes) -> Any:
    """What a reader makes of the bytes; None when it refuses them."""
    try:
        return read(data)
    except Exception:  # three readers, three kinds of error
        return None


def ours(data: bytes) -> Any:
    """Our reader; it may only refuse with an EnvelopeError."""
    try:
        return shown(decode(data, WIDE))
    except EnvelopeError:
        return None


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A field of a number, zero or not."""
    return varint(number << 3 | NUMBER) + varint(value)


# --- golden bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", GOLDEN.values(), ids=GOLDEN)
def test_golden_bytes_are_read_and_written_alike_by_ours_oracle_and_google(data):
    assert encode(decode(data)) == data
    assert ours(data) == shown(oracle.decode(data)) == shown_google(GOOGLE["WireEnvelope"].FromString(data))


@pytest.mark.parametrize("data", GOLDEN.values(), ids=GOLDEN)
def test_every_truncation_is_refused_or_ends_between_fields(data):
    ends = [0]
    for number, wire, value in oracle.fields(data):
        ends.append(ends[-1] + len(field(number, value) if wire == BYTES else number_field(number, value)))
    for end in range(len(data)):
        if end in ends:
            assert encode(decode(data[:end])) == data[:end]
        else:
            with pytest.raises(Truncated):
                decode(data[:end])


def test_a_default_correlation_is_written_unless_told_otherwise():
    assert encode(Envelope(schema_version=0)) == bytes.fromhex("1a00")
    assert encode(Envelope(schema_version=0, has_correlation=False)) == b""
    assert decode(b"") == Envelope(schema_version=0, has_correlation=False)


# --- against the oracle and google ------------------------------------------------------------------------------------


@given(legal)
def test_encoding_equals_the_oracle_and_google(envelope):
    data = encode(envelope)
    assert data == oracle.encode(envelope)
    message = GOOGLE["WireEnvelope"].FromString(data)
    assert message.SerializeToString(deterministic=True) == data
    assert decode(data) == envelope


def mutated(draw: Any) -> bytes:
    """Legal bytes with some of them replaced, inserted or dropped, or fields put together at random."""
    data = bytearray(draw(st.sampled_from(list(GOLDEN.values())) | legal.map(encode)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


numbers = st.integers(0, 17) | st.integers(0, 2**29 - 1)
keys = st.builds(lambda n, w: varint(n << 3 | w), numbers, st.integers(0, 7))
pieces = keys | st.sampled_from([b"\x0b", b"\x0c", b"\x03", b"\x04"]) | st.binary(max_size=11) | u64.map(varint)
loose = st.lists(pieces, max_size=12).map(b"".join)
nested = st.builds(field, st.sampled_from([2, 3, 5]), loose)


@given(st.composite(mutated)() | loose | st.lists(nested | loose, max_size=4).map(b"".join) | st.binary(max_size=64))
@settings(max_examples=1000)
@example(b"\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")  # a version of 64 bits, cut to 32
@example(b"\x38" + b"\x81" + b"\x80" * 8 + b"\x02")  # the tenth byte of a varint has bits above the 64th
@example(b"\x88\x80\x80\x80\x80\x00\x05")  # a key of six bytes
@example(b"\x12\x82\x80\x80\x80\x80\x00\x18\x01")  # a length of six bytes
@example(b"\x00\x01")  # field 0
@example(b"\x7b\x00\x01\x7c")  # field 0 inside a group
@example(b"\x7b" * 100 + b"\x7c" * 100)  # as many groups inside one another as there may be
@example(b"\x7b" * 101 + b"\x7c" * 101)
def test_reading_agrees_with_the_oracle_and_google_on_any_bytes(data):
    theirs = accepted(lambda raw: shown_google(GOOGLE["WireEnvelope"].FromString(raw)), data)
    if theirs is not None and theirs["schema_version"] > 1:
        theirs = None
    found = ours(data)
    assert found == theirs
    assert found == accepted(lambda raw: shown(oracle.decode(raw)), data)


# --- what a reader forgives, and what not -----------------------------------------------------------------------------

MALFORMED = {
    "field 0": b"\x00\x01",
    "wire type 6": b"\x0e",
    "wire type 7": b"\x0f",
    "varint of eleven bytes": b"\x20" + b"\x80" * 10 + b"\x01",
    "group that ends alone": b"\x7c",
    "group that ends as another": b"\x7b\x84\x01",
    "key above 32 bits": b"\xf8\xff\xff\xff\x1f\x01",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("inside", [None, 2, 3, 5])
def test_malformed_fields_are_refused_wherever_they_stand(data, inside):
    with pytest.raises(EnvelopeError) as caught:
        decode(data if inside is None else field(inside, data))
    assert type(caught.value) is EnvelopeError
    assert caught.value.where == "byte 0"


UNKNOWN = {
    "number": b"\x78\x05",
    "bytes": b"\x7a\x02ab",
    "eight bytes": b"\x79" + bytes(8),
    "four bytes": b"\x7d" + bytes(4),
    "group": b"\x7b\x08\x01\x7c",
    "group in a group": b"\x7b\x83\x01\x08\x01\x84\x01\x7c",
    "known number, other wire type": b"\x10\x01",
}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_fields_are_skipped_and_their_truncations_refused(data):
    assert decode(data + b"\x38\x01").schema_version == 1
    for end in range(1, len(data)):
        with pytest.raises(Truncated):
            decode(data[:end])


@pytest.mark.parametrize("version", [2, 3, 2**32 - 1])
def test_another_schema_version_is_refused(version):
    with pytest.raises(VersionMismatch) as caught:
        decode(b"\x20\x05" + number_field(7, 1) + number_field(7, version) + b"\x78\x05")
    assert caught.value.where == "byte 4"


def test_two_correlations_are_merged_and_the_last_of_two_numbers_counts():
    twice = field(3, number_field(1, 1) + number_field(2, 5)) + field(3, number_field(2, 6)) + field(3, b"")
    envelope = decode(twice + number_field(7, 9) + number_field(7, 1))
    assert (envelope.kind, envelope.request, envelope.schema_version) == (1, 6, 1)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 15, 16, 17, 40])
def test_many_items_are_read_in_order_whatever_stands_between(count):
    parts = [
        field(1, b"d%d" % i) + field(2, field(1, b"f%d" % i)) + b"\x7a\x01x" + field(5, number_field(1, i))
        + number_field(4, i) + field(8, b"s%d" % i)
        for i in range(count)
    ]  # fmt: skip
    envelope = decode(b"".join(parts), WIDE)
    assert envelope.dest_peer_addresses == tuple(b"d%d" % i for i in range(count))
    assert [fill.dest_suffix for fill in envelope.fills] == [b"f%d" % i for i in range(count)]
    assert [report.site for report in envelope.edge_rtt_reports] == list(range(count))
    assert envelope.src_peer_addresses == tuple(b"s%d" % i for i in range(count))
    assert shown(envelope) == shown(oracle.decode(b"".join(parts)))


def test_an_unknown_kind_is_kept():
    assert decode(encode(Envelope(kind=77))).kind == 77


# --- limits -----------------------------------------------------------------------------------------------------------

TIGHT = WireLimits(
    total_bytes=200, fills=3, payload_bytes=20, suffix_bytes=5, src_addresses=2, src_address_bytes=7,
    dest_addresses=4, rtt_reports=2,
)  # fmt: skip
AT_LIMIT = {
    "total_bytes": lambda n: Envelope(src_peer=bytes(n - 7)),
    "fills": lambda n: Envelope(fills=[Fill()] * n),
    "payload_bytes": lambda n: Envelope(fills=[Fill(b"", bytes(n))]),
    "suffix_bytes": lambda n: Envelope(fills=[Fill(bytes(n))]),
    "src_addresses": lambda n: Envelope(src_peer_addresses=[b""] * n),
    "src_address_bytes": lambda n: Envelope(src_peer_addresses=[bytes(n)]),
    "dest_addresses": lambda n: Envelope(dest_peer_addresses=[b""] * n),
    "rtt_reports": lambda n: Envelope(edge_rtt_reports=[EdgeRttReport()] * n),
}


@pytest.mark.parametrize("cap", AT_LIMIT)
def test_each_limit_is_inclusive(cap):
    limit = getattr(TIGHT, cap)
    make = AT_LIMIT[cap]
    envelope = make(limit)
    assert decode(encode(envelope), TIGHT) == envelope
    with pytest.raises(CapExceeded) as caught:
        decode(encode(make(limit + 1)), TIGHT)
    assert caught.value.fields == {"cap": cap, "limit": limit}
    roomier = replace(TIGHT, **{cap: limit + 1})
    assert decode(encode(make(limit + 1)), roomier) == make(limit + 1)


def test_of_two_payloads_in_one_fill_only_the_last_is_measured():
    fill = field(2, bytes(50)) + field(2, bytes(3))
    assert len(decode(field(2, fill), TIGHT).fills[0].payload) == 3


# --- buffers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.int8)])
def test_any_contiguous_bytes_can_be_read(wrap):
    data = GOLDEN["response"]
    envelope = decode(wrap(data))
    assert encode(envelope) == data
    assert all(fill.payload.readonly for fill in envelope.fills)


def test_payloads_are_slices_of_the_input_and_keep_it_alive():
    data = bytearray(encode(Envelope(fills=[Fill(b"", b"payload")])))
    payload = decode(data).fills[0].payload
    data[data.index(b"payload")] = ord("P")
    assert bytes(payload) == b"Payload"
    with pytest.raises(BufferError):
        data.clear()  # the view holds the buffer
    del data
    gc.collect()
    assert bytes(payload) == b"Payload"


PAYLOADS = {
    "bytes": (b"abc", b"abc"),
    "parts": ((b"a", bytearray(b"b"), memoryview(b"c")), b"abc"),
    "no parts": ((), b""),
    "empty parts": ((b"", b""), b""),
    "array": (np.arange(3, dtype="<u2").reshape(3, 1), b"\0\0\1\0\2\0"),
    "array without elements": ((b"x", np.empty((0, 3))), b"x"),
    "view of floats": (np.zeros((), np.float32).data, bytes(4)),
}


@pytest.mark.parametrize(("payload", "content"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_is_written_as_one_run_of_bytes(payload, content):
    envelope = Envelope(fills=[Fill(b"s", payload, False, 5)])
    assert encode(envelope) == oracle.encode(Envelope(fills=[Fill(b"s", content, False, 5)]))
    assert decode(encode(envelope)) == envelope


@pytest.mark.parametrize("payload", [None, "text", 7, (b"a", None), np.arange(6)[::2], [b"a"]])
def test_a_payload_that_is_not_contiguous_bytes_is_refused(payload):
    with pytest.raises(UsageError):
        encode(Envelope(fills=[Fill(b"", payload)]))


@pytest.mark.parametrize("data", ["text", None, 7, np.arange(6)[::2], [b"a"]])
@pytest.mark.parametrize("read", [decode, Fields, address_of])
def test_what_is_not_contiguous_bytes_cannot_be_read(read, data):
    with pytest.raises(UsageError):
        read(data)


def test_a_view_that_was_released_is_refused():
    view = memoryview(bytes(SCATTERED))
    view.release()
    for misuse in (decode, Fields, address_of, lambda v: encode(Envelope(fills=[Fill(b"", v)]))):
        with pytest.raises(UsageError):
            misuse(view)


def test_limits_of_another_class_are_refused_and_each_decode_has_its_own():
    data = encode(Envelope(src_peer=bytes(100)))
    with pytest.raises(UsageError):
        decode(data, {"total_bytes": 10**9})
    for _ in range(2):
        assert decode(data, WIDE) == decode(data)
        with pytest.raises(CapExceeded):
            decode(data, replace(WIDE, total_bytes=len(data) - 1))


# --- into a buffer, and in pieces -------------------------------------------------------------------------------------

lengths = st.integers(0, 20) | st.integers(SCATTERED - 2, SCATTERED + 2)
any_bytes = st.builds(lambda n, c: c * n, lengths, st.binary(min_size=1, max_size=1))
wrapped = st.builds(lambda raw, wrap: wrap(raw), any_bytes, st.sampled_from([bytes, bytearray, memoryview]))
long_fills = st.builds(Fill, small, wrapped | st.lists(wrapped, max_size=4).map(tuple), st.booleans(), u64)
any_size = legal | st.builds(
    Envelope,
    fills=st.lists(long_fills, max_size=12),
    request=u64,
    src_peer=small,
    schema_version=st.sampled_from([0, 1]),
    has_correlation=st.just(True),
)


@given(any_size)
def test_every_form_has_the_same_bytes(envelope):
    data = encode(envelope)
    assert data == oracle.encode(envelope)
    assert encoded_size(envelope) == len(data)
    block = bytearray(b"\xaa" * (len(data) + 9))
    assert encode_into(envelope, memoryview(block)[5:]) == len(data)
    assert block == b"\xaa" * 5 + data + b"\xaa" * 4
    pieces = encode_parts(envelope)
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [memoryview(piece).nbytes for piece in pieces]
    assert all(pieces) or pieces == (b"",)


def test_a_long_payload_is_not_copied_and_a_short_one_is():
    array = np.zeros((2, SCATTERED), np.float64)
    pieces = encode_parts(Envelope(fills=[Fill(b"s", (b"head", array)), Fill(b"t", bytes(SCATTERED - 1))]))
    assert [type(piece) for piece in pieces] == [bytes, memoryview, bytes]
    view = pieces[1]
    assert (view.nbytes, view.format, view.readonly) == (array.nbytes, "B", True)
    assert address_of(view) == address_of(array)


def test_a_piece_keeps_its_payload_alive_and_unresized():
    payload = bytearray(SCATTERED)
    (_, view, _) = encode_parts(Envelope(fills=[Fill(b"", payload)]))
    with pytest.raises(BufferError):
        payload.clear()
    del payload
    gc.collect()
    assert bytes(view) == bytes(SCATTERED)
    array = np.zeros(SCATTERED)
    gone = weakref.ref(array)
    pieces = encode_parts(Envelope(fills=[Fill(b"", array)]))
    del array
    assert gone() is not None
    del pieces
    assert gone() is None


def test_nothing_is_held_once_an_encoder_returns_or_raises():
    payload = bytearray(SCATTERED)
    envelope = Envelope(fills=[Fill(b"", payload)] * 9)
    block = bytearray(encoded_size(envelope))
    encode(envelope), encode_into(envelope, block), encode_parts(envelope)
    for wrong in (Envelope(fills=[Fill(b"", payload), Fill(b"", None)]), Envelope(fills=[Fill(b"", (payload, 3))] * 9)):
        for refuse in (encode, encoded_size, encode_parts, lambda e: encode_into(e, block)):
            with pytest.raises(UsageError):
                refuse(wrong)
    payload.clear()
    block.clear()


@pytest.mark.parametrize("buffer", [b"\0" * 99, "text", None, np.zeros(99)[::2], memoryview(bytes(99)), bytearray(3)])
def test_a_buffer_that_cannot_be_written_or_is_too_small_is_refused(buffer):
    with pytest.raises(UsageError):
        encode_into(Envelope(fills=[Fill(b"suffix", b"payload")]), buffer)


def test_a_buffer_one_byte_too_small_is_left_as_it_was():
    envelope = Envelope(fills=[Fill(b"suffix", b"payload")])
    block = bytearray(encoded_size(envelope) - 1)
    with pytest.raises(UsageError):
        encode_into(envelope, block)
    assert not any(block)


def test_an_envelope_is_not_written_over_its_own_payload():
    block = bytearray(encode(Envelope(fills=[Fill(b"s", b"payload")])) + bytes(20))
    forwarded = Envelope(fills=decode(memoryview(block)[:-20]).fills)
    before = bytes(block)
    for start in range(len(before) - 20):
        if start <= before.index(b"payload") + 6:
            with pytest.raises(UsageError):
                encode_into(forwarded, memoryview(block)[start:])
    assert block == before
    assert encode_into(forwarded, memoryview(block)[-20:]) == len(before) - 20
    assert block[-20:] == before[:-20] + bytes(40 - len(before))


# --- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [Fill(b"", b""), EdgeRttReport(), Envelope()])
def test_objects_are_immutable_and_compare_by_value(thing):
    for name in dir(thing):
        if not name.startswith("_"):
            with pytest.raises(AttributeError):
                setattr(thing, name, 1)
    thing.__init__()
    assert thing == type(thing)()
    assert thing != object()
    assert type(thing).__name__ in repr(thing)


def test_a_kind_needs_a_correlation():
    with pytest.raises(UsageError):
        Envelope(kind=1, has_correlation=False)


@pytest.mark.parametrize(
    "wrong", [{"request": -1}, {"request": 2**64}, {"kind": 2**31}, {"src_peer": "text"}, {"fills": 3}]
)
def test_values_that_do_not_fit_are_refused_at_once(wrong):
    with pytest.raises((OverflowError, TypeError)):
        Envelope(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"fills": [b""]}, {"edge_rtt_reports": [1]}, {"src_peer_addresses": ["text"]}, {"dest_peer_addresses": [None]},
     {"fills": [Fill(), None]}, {"edge_rtt_reports": [None]}, {"src_peer_addresses": [None]}],
)  # fmt: skip
def test_items_of_another_class_are_refused(wrong):
    for write in (encode, encode_parts, encoded_size, lambda e: encode_into(e, bytearray(99))):
        with pytest.raises(TypeError):
            write(Envelope(**wrong))


@pytest.mark.parametrize("write", [encode, encode_parts, encoded_size, lambda e: encode_into(e, bytearray(99))])
def test_what_is_no_envelope_is_refused(write):
    for wrong in (None, b"", Fill()):
        with pytest.raises(TypeError):
            write(wrong)


# --- fields of any message --------------------------------------------------------------------------------------------


@given(loose)
def test_fields_agree_with_the_oracle(message):
    def walk(fields: Any) -> list[Any]:
        return [(n, w, bytes(v) if isinstance(v, memoryview) else v) for n, w, v in fields]

    try:
        found = walk(Fields(message))
    except EnvelopeError:
        found = None
    assert found == accepted(lambda raw: walk(oracle.fields(raw)), message)


@given(u64)
def test_varints_agree_with_the_oracle(value):
    assert varint(value) == oracle.varint(value)


@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("last", [0x00, 0x01, 0x02, 0x7F])
@pytest.mark.parametrize("more", [0x80, 0x81, 0xFF, 0xD5])
def test_a_varint_of_any_form_and_what_stands_behind_it_agree_with_the_oracle(size, last, more):
    number = b"\x78" + bytes([more]) * (size - 1) + bytes([last])
    for message in [number[:end] for end in range(1, len(number) + 1)] + [number + b"\x70\x05", number + b"\xff" * 9]:
        try:
            found = list(Fields(message))
        except EnvelopeError:
            found = None
        assert found == accepted(lambda raw: list(oracle.fields(raw)), message)


@pytest.mark.parametrize("bit", range(64))
def test_a_number_of_any_length_is_written_as_the_oracle_does(bit):
    for value in (1 << bit, (1 << bit) - 1, 0xA5A5A5A5A5A5A5A5 >> (63 - bit)):
        assert varint(value) == oracle.varint(value)
        envelope = Envelope(fills=[Fill(b"", b"", False, value)], request=value, remaining_deadline_ns=value)
        assert encode(envelope) == oracle.encode(envelope)
        assert decode(encode(envelope)) == envelope
