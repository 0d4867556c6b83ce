from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.errors import PayloadError, TypeMismatch
from bb_core.wire.codec import Envelope, Fill, address_of, decode, encode
from bb_core.wire.payloads import TENSOR, decode_value, encode_value

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPES = [(), (0,), (1,), (3,), (2, 3), (0, 3), (2, 0, 4), (3, 1, 2), (1,) * 32, (200, 50)]


def array_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that differ, for any dtype."""
    count = int(np.prod(shape, dtype=np.int64))
    return (np.arange(count) % 100).astype(dtype).reshape(shape)


def payload_of(array: np.ndarray) -> bytes:
    type_hash, parts, trigger_only = encode_value(array)
    assert type_hash == TENSOR.type_hash
    assert not trigger_only
    return b"".join(parts)


def read(payload: bytes) -> np.ndarray:
    return decode_value(TENSOR.type_hash, payload)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- round trip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_tensor_is_read_back_and_onnx_reads_it_too(dtype, shape):
    array = array_of(dtype, shape)
    payload = payload_of(array)
    message = onnx.TensorProto.FromString(payload)
    assert message.SerializeToString(deterministic=True) == payload
    assert same(onnx.numpy_helper.to_array(message), array)
    assert same(read(payload), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_onnx_writes_is_read(dtype):
    array = array_of(dtype, (4, 3))
    assert same(read(onnx.numpy_helper.from_array(array, "name").SerializeToString()), array)


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "transposed": lambda a: a.T,
    "every second": lambda a: a[::2, ::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
    "number of numpy": lambda a: a[1, 1],
    "matrix": lambda a: a.view(type("Special", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "i8", "u2"])
def test_any_layout_is_sent_in_c_order_and_little_endian(layout, dtype):
    array = layout(array_of(dtype, (4, 6)))
    assert same(read(payload_of(array)), np.array(array, dtype=dtype, order="C"))


@given(st.binary(max_size=64))
def test_floats_keep_every_bit(raw):
    array = np.frombuffer(raw[: len(raw) // 8 * 8], "<f8")
    assert read(payload_of(array)).tobytes() == array.tobytes()


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(1, "M8[s]"), np.zeros(1, np.longdouble)])
def test_elements_that_onnx_does_not_have_are_refused(array):
    with pytest.raises(TypeMismatch):
        encode_value(array)


def test_more_than_32_dimensions_are_refused():
    with pytest.raises(TypeMismatch):
        encode_value(np.zeros((1,) * 33))
    with pytest.raises(PayloadError):
        read(onnx.TensorProto(dims=[1] * 33, data_type=2, raw_data=b"x").SerializeToString())


# --- alignment and lifetime -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_data_begins_at_a_multiple_of_64_bytes_of_the_payload(shape):
    header, data = encode_value(array_of("f4", shape))[1]
    assert len(header) % 64 == 0
    assert data.nbytes == array_of("f4", shape).nbytes


@pytest.mark.parametrize("shift", range(0, 128, 8))
def test_a_decoded_array_is_aligned_and_read_only(shift):
    payload = payload_of(array_of("f4", (16,)))
    block = bytearray(len(payload) + 256)
    start = -address_of(block) % 64 + shift
    block[start : start + len(payload)] = payload
    array = read(memoryview(block)[start : start + len(payload)])
    assert address_of(array) % 64 == 0
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(block, np.uint8)) == (shift % 64 == 0)


def test_an_array_outlives_its_envelope():
    want = array_of("f8", (100,))
    held = np.zeros(2048, np.uint8)
    data = encode(Envelope(fills=[Fill(b"", encode_value(want)[1], False, TENSOR.type_hash)]))
    skip = -(address_of(held) + data.index(want.tobytes())) % 64
    held[skip : skip + len(data)] = np.frombuffer(data, np.uint8)
    gone = weakref.ref(held)
    fill = decode(held[skip : skip + len(data)]).fills[0]
    array = decode_value(fill.type_hash, fill.payload)
    assert np.shares_memory(array, held)
    del held, fill
    gc.collect()
    assert gone() is not None
    assert same(array, want)


# --- refused ----------------------------------------------------------------------------------------------------------

F32 = onnx.TensorProto.FLOAT
REFUSED = {
    "too little data": {"dims": [2], "data_type": F32, "raw_data": bytes(7)},
    "too much data": {"dims": [2], "data_type": F32, "raw_data": bytes(9)},
    "negative dimensions": {"dims": [-1, -2], "data_type": F32, "raw_data": bytes(8)},
    "dimensions that overflow": {"dims": [2**62, 4], "data_type": F32, "raw_data": b""},
    "dimensions that overflow beside a zero": {"dims": [0, 2**62], "data_type": F32, "raw_data": b""},
    "no element type": {"dims": [1], "raw_data": bytes(4)},
    "strings": {"dims": [1], "data_type": onnx.TensorProto.STRING, "raw_data": bytes(4)},
    "unknown element type": {"dims": [1], "data_type": 99, "raw_data": bytes(4)},
    "data that is not raw": {"dims": [1], "data_type": F32, "float_data": [1.0]},
    "a bool of 2": {"dims": [2], "data_type": onnx.TensorProto.BOOL, "raw_data": b"\x01\x02"},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_a_contradictory_tensor_is_refused(fields):
    with pytest.raises(PayloadError):
        read(onnx.TensorProto(**fields).SerializeToString())


PACKED = {"0a020203": (2, 3), "0a0102" + "0803": (2, 3), "0a00" + "0806": (6,), "0a0106" + "0a00": (6,)}


@pytest.mark.parametrize(("dims", "shape"), PACKED.items())
def test_packed_dimensions_are_read_as_well(dims, shape):
    payload = bytes.fromhex(dims) + b"\x10\x02" + b"\x4a\x06" + bytes(6)
    assert read(payload).shape == shape == tuple(onnx.TensorProto.FromString(payload).dims)


@pytest.mark.parametrize("run", ["0a0180", "0a0b" + "80" * 10 + "01", "0a22" + "01" * 34])
def test_a_malformed_or_endless_run_of_dimensions_is_refused(run):
    with pytest.raises(PayloadError):
        read(bytes.fromhex(run) + b"\x10\x02" + b"\x4a\x01\x00")


def test_every_truncation_is_refused():
    payload = payload_of(array_of("f4", (2, 3)))
    for end in range(len(payload)):
        with pytest.raises(PayloadError):
            read(payload[:end])


def test_a_head_that_is_known_does_not_vouch_for_what_follows() -> None:
    type_hash, parts, _ = encode_value(np.arange(6, dtype=np.float32))
    payload = b"".join(bytes(part) for part in parts)
    for _ in range(2):  # the second time the head has been seen
        np.testing.assert_array_equal(decode_value(type_hash, payload), np.arange(6))
        for wrong in (payload[:-1], payload[:-4], payload + b"\0\0\0\0", payload[:64], payload[:63]):
            with pytest.raises(PayloadError):
                decode_value(type_hash, wrong)
