"""Element types that numpy does not have, each beside what onnx makes of them."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.errors import PayloadError, TypeMismatch
from bb_core.values import Record
from bb_core.wire import narrow
from bb_core.wire.codec import address_of
from bb_core.wire.payloads import TENSOR, decode_value, encode_value
from tests.meta.sources import ROOT

DTYPES = narrow.dtypes()
SHAPES = [(), (0,), (1,), (2,), (3,), (5,), (2, 3), (0, 3), (3, 5, 7), (1,) * 32, (64, 33)]
every_dtype = pytest.mark.parametrize("elem", DTYPES, ids=[dtype.name for dtype in DTYPES.values()])


def bits_of(elem: int) -> int:
    return narrow.BITS.get(elem, 8 * DTYPES[elem].itemsize)


def array_of(elem: int, shape: tuple[int, ...], start: int = 0) -> np.ndarray:
    """Every bit pattern of the type in turn, the NaNs included."""
    size = f"u{DTYPES[elem].itemsize}"
    codes = (np.arange(np.prod(shape, dtype=np.int64)) * 0x9E37 + start) % 2 ** bits_of(elem)
    return codes.astype(size).view(DTYPES[elem]).reshape(shape)


def payload_of(array: np.ndarray) -> bytes:
    type_hash, parts, _ = encode_value(array)
    assert type_hash == TENSOR.type_hash
    return b"".join(parts)


def read(payload: bytes) -> np.ndarray:
    return decode_value(TENSOR.type_hash, payload)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- beside onnx ------------------------------------------------------------------------------------------------------


def test_they_are_all_of_onnx_but_strings():
    known = {number for _, number in onnx.TensorProto.DataType.items()} - {onnx.TensorProto.UNDEFINED}
    numpys = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15}
    assert set(DTYPES) == known - numpys - {onnx.TensorProto.STRING}
    assert {elem: onnx.helper.tensor_dtype_to_np_dtype(elem) for elem in DTYPES} == DTYPES


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_tensor_is_read_back_and_onnx_reads_and_writes_the_same_bytes(elem, shape):
    array = array_of(elem, shape)
    payload = payload_of(array)
    message = onnx.TensorProto.FromString(payload)
    assert message.SerializeToString(deterministic=True) == payload
    assert same(onnx.numpy_helper.to_array(message), array)
    assert same(read(payload), array)
    theirs = onnx.numpy_helper.from_array(array)
    assert theirs.raw_data == message.raw_data
    assert same(read(theirs.SerializeToString()), array)


@given(st.sampled_from(sorted(DTYPES)), st.integers(0, 40), st.integers(0, 2**16))
def test_any_number_of_elements_is_packed_as_onnx_does(elem, count, start):
    array = array_of(elem, (count,), start)
    payload = payload_of(array)
    assert onnx.TensorProto.FromString(payload).raw_data == onnx.numpy_helper.from_array(array).raw_data
    assert same(read(payload), array)


@pytest.mark.parametrize("elem", narrow.BITS, ids=[DTYPES[elem].name for elem in narrow.BITS])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_what_is_left_of_the_last_byte_is_not_looked_at(elem, count):
    size = narrow.packed_size(narrow.BITS[elem], count)
    message = onnx.TensorProto(dims=[count], data_type=elem, raw_data=b"\xff" * size)
    assert same(read(message.SerializeToString()), onnx.numpy_helper.to_array(message))


@pytest.mark.parametrize("elem", narrow.BITS, ids=[DTYPES[elem].name for elem in narrow.BITS])
def test_bits_above_an_element_do_not_travel(elem):
    dirty = np.arange(256, dtype=np.uint8).view(DTYPES[elem])
    assert onnx.TensorProto.FromString(payload_of(dirty)).raw_data == onnx.numpy_helper.from_array(dirty).raw_data


# --- layout -----------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "transposed": lambda a: a.T,
    "every second": lambda a: a[::2, ::-1],
    "read-only": lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
    "number of numpy": lambda a: a[1, 1],
    "matrix": lambda a: a.view(np.matrix),
}


@every_dtype
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_is_sent_in_c_order(elem, layout):
    array = layout(array_of(elem, (4, 6)))
    assert same(read(payload_of(array)), np.array(array, order="C"))


@every_dtype
@pytest.mark.parametrize("shift", [0, 1, 8, 64])
def test_a_decoded_array_is_aligned_and_read_only_and_a_view_if_it_can(elem, shift):
    payload = payload_of(array_of(elem, (70,)))
    block = bytearray(len(payload) + 256)
    start = -address_of(block) % 64 + shift
    block[start : start + len(payload)] = payload
    array = read(memoryview(block)[start : start + len(payload)])
    assert array.__array_interface__["data"][0] % 64 == 0
    assert not array.flags.writeable
    can_be_a_view = shift % 64 == 0 and elem not in narrow.BITS
    assert np.shares_memory(array.view(np.uint8), np.frombuffer(block, np.uint8)) == can_be_a_view


@every_dtype
def test_a_record_holds_them_too(elem):
    type_hash, parts, _ = encode_value(Record(weights=array_of(elem, (3, 3))))
    found = decode_value(type_hash, b"".join(parts) if isinstance(parts, tuple) else parts)
    assert same(found["weights"], array_of(elem, (3, 3)))


# --- refused ----------------------------------------------------------------------------------------------------------


@every_dtype
def test_every_truncation_and_extension_is_refused(elem):
    payload = payload_of(array_of(elem, (3,)))
    assert read(payload) is not None
    for wrong in [payload[:end] for end in range(len(payload))] + [payload + b"\0"]:
        with pytest.raises(PayloadError):
            read(wrong)


@every_dtype
@pytest.mark.parametrize(
    "fields",
    [
        {"dims": [4], "raw_data": b"\0" * 9},
        {"dims": [4], "raw_data": b""},
        {"dims": [-4], "raw_data": b"\0" * 4},
        {"dims": [2**62, 4], "raw_data": b""},
        {"dims": [0, 2**62, 8], "raw_data": b""},
        {"dims": [1] * 33, "raw_data": b"\0\0"},
        {"dims": [1], "int32_data": [1]},
    ],
    ids=str,
)
def test_a_contradictory_tensor_is_refused(elem, fields):
    with pytest.raises(PayloadError):
        read(onnx.TensorProto(data_type=elem, **fields).SerializeToString())


STRINGS = [np.array(["a"]), np.array([b"a"]), np.array(["a", None], object), np.array(["a"], np.dtypes.StringDType())]


@pytest.mark.parametrize("array", STRINGS, ids=lambda a: a.dtype.kind)
def test_strings_are_refused_and_the_message_says_what_to_do(array):
    with pytest.raises(TypeMismatch, match="Record"):
        encode_value(array)


def test_strings_of_a_peer_are_refused_by_name():
    with pytest.raises(PayloadError, match="strings"):
        read(onnx.numpy_helper.from_array(np.array(["a"], object)).SerializeToString() + b"\x4a\x00")


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.int1, ml_dtypes.uint1, ml_dtypes.float8_e3m4, "V2", [("a", "u1")], "M8[s]", np.longdouble]
)
def test_elements_that_onnx_does_not_have_are_refused(dtype):
    with pytest.raises(TypeMismatch, match="expected: one of"):
        encode_value(np.zeros(2, dtype))


# --- start-up ---------------------------------------------------------------------------------------------------------


def test_ml_dtypes_is_imported_only_when_it_is_needed():
    program = """
import sys
import numpy as np
import bb_core
from bb_core.wire.payloads import decode_value, encode_value
type_hash, parts, _ = encode_value(np.ones(3))
decode_value(type_hash, b"".join(parts))
assert "ml_dtypes" not in sys.modules
decode_value(type_hash, b"\\x08\\x01\\x10\\x16\\x4a\\x01\\x07")
assert "ml_dtypes" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
