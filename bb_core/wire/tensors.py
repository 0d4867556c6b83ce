"""Tensors on the wire: an ONNX TensorProto, written and read by hand.

Any ONNX library can read the payload. Only four fields are used, in this order: dims (1, each on its own), data_type
(2), name (8) and raw_data (9, little-endian, C order). The name is a run of spaces, just so long that the data begins
at a multiple of 64 bytes: whoever keeps the payload at such an address has the data aligned without a copy.

Elements that numpy does not have itself are in `narrow`. Those of less than a byte are packed, and so always copied.

Source: onnx/onnx.proto, message TensorProto; docs/reference/wire.md.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bb_core.errors import EnvelopeError, PayloadError, TypeMismatch
from bb_core.values import Tensor
from bb_core.wire import narrow
from bb_core.wire.codec import BYTES, NUMBER, Fields, address_of, varint

Parts = tuple[bytes, memoryview | npt.NDArray[Any]]
"""A payload in two pieces: the fields before the data, and the array's own bytes."""

ALIGNMENT: Final = 64
"""Bytes: a cache line, and the widest vector of a kernel."""
MAX_RANK: Final = 32

_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
    14: np.dtype("<c8"),
    15: np.dtype("<c16"),
}
"""ONNX element type -> dtype on the wire, of those that numpy has."""
_STRING: Final = 8
_ELEMS: Final = {(dtype.kind, dtype.itemsize): elem for elem, dtype in _DTYPES.items()}

_KEY_DIM: Final = b"\x08"
_KEY_DATA_TYPE: Final = b"\x10"
_KEY_NAME: Final = b"\x42"
_KEY_RAW_DATA: Final = b"\x4a"


# --- write ------------------------------------------------------------------------------------------------------------


def encode_tensor(array: npt.NDArray[Any]) -> Parts:
    """Return the payload of an array in two pieces, so that the data is copied once, into the Envelope.

    Raises:
        TypeMismatch: ONNX has no such element type, or it is one of strings.
    """
    dtype = array.dtype
    elem = _ELEMS.get((dtype.kind, dtype.itemsize))
    if array.ndim > MAX_RANK:
        raise TypeMismatch(f"an array has {array.ndim} dimensions", expected=f"at most {MAX_RANK}")
    if elem is not None:
        plain = np.asarray(array, _DTYPES[elem], order="C")
        return _header(elem, plain.shape), plain.data
    elem = narrow.elem_of(dtype)
    if elem is None:
        raise _unsendable(dtype)
    return _header(elem, array.shape), _narrow_data(np.asarray(array, order="C").reshape(-1), narrow.BITS.get(elem))


def _narrow_data(flat: npt.NDArray[Any], bits: int | None) -> npt.NDArray[Any]:
    """The bytes of elements that numpy does not know; a buffer of those themselves it would refuse to give."""
    if bits is not None:
        return narrow.pack(flat.view(np.uint8), bits)
    return flat.view(f"u{flat.itemsize}").astype(f"<u{flat.itemsize}", copy=False)


def _unsendable(dtype: np.dtype[Any]) -> TypeMismatch:
    if dtype.kind in "SUTO":
        return TypeMismatch(
            f"an array of {dtype.name} cannot be sent",
            expected="numbers or bools",
            hint="put strings into a Record, a field for each, or send bytes",
        )
    known = ", ".join(each.name for each in (_DTYPES | narrow.dtypes()).values())
    return TypeMismatch(f"an array of {dtype} cannot be sent", expected=f"one of {known}")


def _data_size(elem: int, dims: tuple[int, ...]) -> int:
    """How many bytes the data of a known element type takes."""
    if elem in narrow.BITS:
        return narrow.packed_size(narrow.BITS[elem], prod(dims))
    return prod(dims) * _dtype(elem).itemsize


def _dtype(elem: int) -> np.dtype[Any]:
    """The dtype of a known element type; on the wire, or of less than a byte each, in memory."""
    return _DTYPES[elem] if elem in _DTYPES else narrow.dtypes()[elem]


@lru_cache(maxsize=256)  # a program sends the same few shapes again and again
def _header(elem: int, shape: tuple[int, ...]) -> bytes:
    """Write all that comes before the data; its length is a multiple of `ALIGNMENT`."""
    start = b"".join(_KEY_DIM + varint(dim) for dim in shape) + _KEY_DATA_TYPE + varint(elem)
    end = _KEY_RAW_DATA + varint(_data_size(elem, shape))
    spaces = -(len(start) + len(_KEY_NAME) + 1 + len(end)) % ALIGNMENT
    return start + _KEY_NAME + varint(spaces) + b" " * spaces + end


class _Head(NamedTuple):
    """What the first `ALIGNMENT` bytes of a payload say, when the data begins right after them."""

    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    size: int


_MOST_HEADS: Final = 256
_HEADS: Final[dict[bytes, _Head]] = {}
"""Heads that have been read and checked: a program receives the same few shapes again and again."""

# --- read -------------------------------------------------------------------------------------------------------------


def decode_tensor(payload: memoryview) -> Tensor:
    """Return the array of a TensorProto, read-only: a view that keeps the payload alive, or a copy if not aligned.

    Raises:
        PayloadError: the bytes are no TensorProto, its data is not raw, or its size is not what its shape says.
    """
    head = bytes(payload[:ALIGNMENT])
    known = _HEADS.get(head)
    if known is not None and len(payload) == known.size:
        return _view(payload[ALIGNMENT:], known.dtype, known.dims)
    dims, elem, raw = _read(payload)
    if elem in narrow.BITS:
        return _unpacked(raw, elem, dims)
    dtype = _readable(elem)
    array = to_array(raw, dtype, dims)
    if len(payload) - len(raw) == ALIGNMENT and raw and address_of(raw) - address_of(payload) == ALIGNMENT:
        if len(_HEADS) == _MOST_HEADS:
            _HEADS.clear()
        _HEADS[head] = _Head(dtype, dims, len(payload))
    return array


def _readable(elem: int) -> np.dtype[Any]:
    """Return the dtype of an element type that a peer has named."""
    dtype = _DTYPES.get(elem) or narrow.dtypes().get(elem)
    if dtype is None:
        what = "strings" if elem == _STRING else f"the element type {elem}"
        raise PayloadError(f"a tensor has {what}", expected=f"one of {sorted(_DTYPES | narrow.dtypes())}")
    return dtype


def _unpacked(raw: memoryview, elem: int, dims: tuple[int, ...]) -> Tensor:
    """Return the array over elements that share bytes, each in a byte of its own."""
    _check_dims(dims)
    size = _data_size(elem, dims)
    if len(raw) != size:
        raise PayloadError(f"a tensor's data has {len(raw)} bytes", expected=f"{size} bytes for {dims}")
    codes = _aligned_room(prod(dims))
    narrow.unpack(np.frombuffer(raw, np.uint8), narrow.BITS[elem], codes)
    array = codes.view(narrow.dtypes()[elem])
    array.flags.writeable = False
    return array.reshape(dims)


def to_array(raw: memoryview, dtype: np.dtype[Any], dims: tuple[int, ...]) -> Tensor:
    """Return a read-only, aligned array over little-endian bytes.

    Raises:
        PayloadError: the bytes are not those of an array of this shape.
    """
    _check_shape(dims, dtype.itemsize, len(raw))
    return _view(raw, dtype, dims)


def _view(raw: memoryview, dtype: np.dtype[Any], dims: tuple[int, ...]) -> Tensor:
    """Return the array over bytes of just its size."""
    array = np.frombuffer(raw, dtype)
    if address_of(raw) % ALIGNMENT:
        array = _aligned(array)
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise PayloadError("a bool of a tensor is neither 0 nor 1")
    array.flags.writeable = False
    return array.reshape(dims)


def _check_shape(dims: tuple[int, ...], itemsize: int, given: int) -> None:
    """Refuse a shape that the data does not fill, or that numpy could not count."""
    _check_dims(dims, itemsize)
    if prod(dims) * itemsize != given:
        raise PayloadError(f"a tensor's data has {given} bytes", expected=f"{itemsize} bytes for each of {dims}")


def _check_dims(dims: tuple[int, ...], itemsize: int = 1) -> None:
    """Refuse a shape that no array can have."""
    if len(dims) > MAX_RANK or any(dim < 0 for dim in dims):
        raise PayloadError(f"a tensor has {len(dims)} dimensions", expected=f"at most {MAX_RANK}, none negative")
    if prod(dim or 1 for dim in dims) * itemsize >= 1 << 63:
        raise PayloadError(f"a tensor has the shape {dims}", expected="fewer than 2**63 bytes")


def _aligned(array: Tensor) -> Tensor:
    """Copy a flat array to an aligned address."""
    copy = _aligned_room(array.nbytes).view(array.dtype)
    copy[:] = array
    return copy


def _aligned_room(nbytes: int) -> npt.NDArray[np.uint8]:
    """Bytes at an aligned address, with anything in them."""
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address_of(block) % ALIGNMENT
    return block[start : start + nbytes]


def _read(payload: memoryview) -> tuple[tuple[int, ...], int, memoryview]:
    """Read shape, element type and data of a TensorProto."""
    dims: list[int] = []
    elem = 0
    raw = None
    try:
        for number, wire, value in Fields(payload):
            if number == 1:
                dims.extend(_dims(wire, value, MAX_RANK + 1 - len(dims)))
            elif number == 2 and wire == NUMBER:
                elem = value
            elif number == 9 and wire == BYTES:
                raw = value
    except EnvelopeError as error:
        raise PayloadError(f"a tensor is malformed: {error.message}", where=error.where) from error
    if raw is None:
        raise PayloadError("a tensor has no raw_data")
    return tuple(dims), elem, raw


def _dims(wire: int, value: Any, room: int) -> list[int]:
    """Read dims, one alone or a packed run; as signed numbers, and no more of them than there is room for."""
    if wire == NUMBER:
        found = [value][:room]
    elif wire == BYTES:
        found = _packed(value, room)
    else:
        return []
    return [dim - (1 << 64) if dim >> 63 else dim for dim in found]


def _packed(run: memoryview, room: int) -> list[int]:
    found: list[int] = []
    dim = shift = 0
    for byte in run:
        dim |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(dim & 0xFFFFFFFFFFFFFFFF)
            dim = shift = 0
        elif shift == 70:
            raise PayloadError("a dimension is malformed")
        if len(found) == room:
            return found
    if shift:
        raise PayloadError("a run of dimensions ends inside a number")
    return found
