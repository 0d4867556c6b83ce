from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.errors import PayloadError, TypeMismatch
from bb_core.values import Record
from bb_core.wire.payloads import RECORD, decode_value, encode_value
from bb_core.wire.records import MAX_FIELDS
from tests.oracles import schema

GOOGLE = schema.messages()["Record"]

text = st.text(st.characters(codec="utf-8"), max_size=8)
i64 = st.integers(-(2**63), 2**63 - 1)
arrays = st.lists(st.floats(width=32), max_size=4).map(lambda items: np.array(items, np.float32))
values = st.one_of(st.booleans(), i64, st.floats(), text, st.binary(max_size=8), arrays)
records = st.dictionaries(text, values, max_size=5).map(Record)


def payload_of(record: Record) -> bytes:
    return b"".join(encode_value(record)[1])


def read(payload: bytes) -> Record:
    return decode_value(RECORD.type_hash, payload)


def exact(value: Any) -> Any:
    """A value's type and every bit of it."""
    if isinstance(value, float):
        return float, struct.pack("<d", value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    return type(value), value


def google_value(field: Any) -> Any:
    """The value of google's message, its tensors read by onnx."""
    value = getattr(field, field.WhichOneof("value"))
    if field.WhichOneof("value") == "tensor":
        return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(value))
    return value


def field(**content: Any) -> bytes:
    """One Record with one field, by google."""
    return GOOGLE(version=1, fields=[content]).SerializeToString()


@given(records)
def test_a_record_is_read_back_bit_by_bit(record):
    found = read(payload_of(record))
    assert [(name, exact(value)) for name, value in found.items()] == [(n, exact(v)) for n, v in record.items()]


@given(records)
def test_google_reads_the_same_record_and_writes_the_same_bytes(record):
    message = GOOGLE.FromString(payload_of(record))
    assert message.SerializeToString() == payload_of(record)
    assert message.version == 1
    assert [(f.name, exact(google_value(f))) for f in message.fields] == [(n, exact(v)) for n, v in record.items()]


SPECIAL = [0, -1, 2**63 - 1, -(2**63), 0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, "", "\0", b"", True, False]


@pytest.mark.parametrize("value", SPECIAL, ids=repr)
def test_a_special_value_keeps_its_type_and_its_bits(value):
    assert exact(read(payload_of(Record(x=value)))["x"]) == exact(value)


def test_equal_records_have_equal_bytes():
    assert (
        payload_of(Record(b=1, a=2))
        == payload_of(Record(a=2, b=1))
        == bytes.fromhex("0801 1205 0a0161 1804 1205 0a0162 1802")
    )


def test_fields_are_read_in_any_order():
    message = GOOGLE(version=1, fields=[{"name": "b", "i64": 1}, {"name": "a", "flag": True}])
    assert dict(read(message.SerializeToString())) == {"a": True, "b": 1}


def test_of_several_values_in_one_field_the_last_counts():
    payload = b"\x08\x01\x12\x09\x0a\x01x\x20\x01\x18\x02\x2a\x00"
    assert read(payload)["x"] == "" == google_value(GOOGLE.FromString(payload).fields[0])


UNSENDABLE = [{"x": 2**63}, {"x": -(2**63) - 1}, {"x": "\ud800"}, {"\ud800": 1}, {"x": np.array(["a"])}]


@pytest.mark.parametrize("fields", UNSENDABLE, ids=ascii)
def test_a_field_that_cannot_be_sent_is_refused(fields):
    with pytest.raises(TypeMismatch):
        encode_value(Record(fields))


REFUSED = {
    "nothing": b"",
    "no version": GOOGLE(fields=[{"name": "a", "i64": 1}]).SerializeToString(),
    "another version": GOOGLE(version=2).SerializeToString(),
    "field without a value": field(name="a"),
    "tensor that is none": field(name="a", tensor=b"\x08"),
    "name twice": field(name="a", i64=1) + field(name="a", i64=2),
    "name that is not UTF-8": b"\x08\x01\x12\x05\x0a\x01\xff\x18\x02",
    "text that is not UTF-8": b"\x08\x01\x12\x06\x0a\x01a\x2a\x01\xff",
    "truncated": field(name="a", i64=1)[:-1],
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_what_is_no_record_is_refused(payload):
    with pytest.raises(PayloadError):
        read(payload)


def test_the_number_of_fields_is_limited_on_both_sides():
    full = {str(i): True for i in range(MAX_FIELDS)}
    payload = payload_of(Record(full))
    assert len(read(payload)) == MAX_FIELDS
    with pytest.raises(TypeMismatch):
        encode_value(Record(full, more=True))
    with pytest.raises(PayloadError):
        read(payload + field(name="more", flag=True))
