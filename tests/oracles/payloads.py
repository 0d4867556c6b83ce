"""Payloads, peer ids and addresses, read slowly and plainly, written from docs/reference/wire.md alone.

Values are tuples of a kind and what it holds; what is not legal is a ValueError. No reader here shares anything with
the package, so that the page is known to be enough to write a peer in another language; only `shown` knows the package.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tests.oracles.codec import BYTES, FIXED64, NUMBER, U64, fields

ITEM_BYTES = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2, 17: 1, 18: 1,
    19: 1, 20: 1, 24: 1,
}  # fmt: skip
ITEM_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}
NARROW = {
    "bfloat16": 16, "float8_e4m3fn": 17, "float8_e4m3fnuz": 18, "float8_e5m2": 19, "float8_e5m2fnuz": 20, "uint4": 21,
    "int4": 22, "float4_e2m1fn": 23, "float8_e8m0fnu": 24, "uint2": 25, "int2": 26, "float6_e2m3fn": 27,
    "float6_e3m2fn": 28,
}  # fmt: skip
BOOL = 9
NUMPY = {
    "f4": 1, "u1": 2, "i1": 3, "u2": 4, "i2": 5, "i4": 6, "i8": 7, "b1": 9, "f2": 10, "f8": 11, "u4": 12, "u8": 13,
    "c8": 14, "c16": 15,
}  # fmt: skip

VALUES = "bb_runtime::syscall::values::"


def fnv1a64(name: str) -> int:
    """The type_hash of a wire type."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & U64
    return value


def decode(type_hash: int, payload: bytes) -> tuple[Any, ...]:
    """Read a payload."""
    return _decode(type_hash, payload, 0)


def _decode(type_hash: int, payload: bytes, depth: int) -> tuple[Any, ...]:
    if type_hash == COMPOSITE:
        return _all(payload, lambda raw: _composite(raw, depth + 1))
    if type_hash not in READERS:
        raise ValueError("wire type")
    return READERS[type_hash](payload)


# --- tensors ----------------------------------------------------------------------------------------------------------


def tensor(payload: bytes) -> tuple[Any, ...]:
    """Read an ONNX TensorProto: ("tensor", element type, dims, data)."""
    dims: list[int] = []
    element_type, data = 0, None
    for number, wire, value in fields(payload):
        match number, wire:
            case 1, 0:
                dims.append(_signed(value))
            case 1, 2:
                dims += _packed(value)
            case 2, 0:
                element_type = value
            case 9, 2:
                data = value
        if len(dims) > 32:
            raise ValueError("dimensions")
    return _array(element_type, dims, data)


def _packed(run: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in run:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(_signed(value & U64))
            value = shift = 0
        elif shift == 70:
            raise ValueError("too long")
        if len(found) > 32:
            raise ValueError("dimensions")
    if shift:
        raise ValueError("truncated")
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _array(element_type: int, dims: list[int], data: bytes | None) -> tuple[Any, ...]:
    if element_type in ITEM_BITS and data is not None:
        return _bits(element_type, dims, data)
    if element_type not in ITEM_BYTES or data is None or any(dim < 0 for dim in dims):
        raise ValueError("tensor")
    size = ITEM_BYTES[element_type]
    if prod(dims) * size != len(data) or prod(dim for dim in dims if dim) * size >= 1 << 63:
        raise ValueError("size")
    if element_type == BOOL and any(byte > 1 for byte in data):
        raise ValueError("bool")
    return "tensor", element_type, tuple(dims), data


def _bits(element_type: int, dims: list[int], data: bytes) -> tuple[Any, ...]:
    """Elements that share bytes: each as a byte of its own."""
    bits, count = ITEM_BITS[element_type], prod(dims)
    if (
        any(dim < 0 for dim in dims)
        or prod(dim for dim in dims if dim) >= 1 << 63
        or len(data) != -(-count * bits // 8)
    ):
        raise ValueError("size")
    whole = int.from_bytes(data, "little")
    return "tensor", element_type, tuple(dims), bytes(whole >> bits * i & (1 << bits) - 1 for i in range(count))


# --- Chunks -----------------------------------------------------------------------------------------------------------


def chunk(payload: bytes) -> tuple[Any, ...]:
    """Read a chunk: ("chunk", index, count, offset, total, type hash, data)."""
    numbers, data = [0] * 5, b""
    for number, wire, value in fields(payload):
        if wire == NUMBER and 1 <= number <= 5:
            numbers[number - 1] = value
        elif (number, wire) == (6, BYTES):
            data = value
    index, count, offset, total, _ = numbers
    if index >= count or count > 65_536 or offset + len(data) > total:
        raise ValueError("chunk")
    return "chunk", *numbers, data


# --- Records ----------------------------------------------------------------------------------------------------------


def record(payload: bytes) -> tuple[Any, ...]:
    """Read a Record: ("record", {name: (kind, value)})."""
    version, found = 0, {}
    for number, wire, value in fields(payload):
        if (number, wire) == (1, NUMBER):
            version = value
        elif (number, wire) == (2, BYTES):
            name, content = _field(value)
            if name in found or len(found) == 4096:
                raise ValueError("fields")
            found[name] = content
    if version != 1:
        raise ValueError("version")
    return "record", dict(sorted(found.items()))


def _field(message: bytes) -> tuple[str, tuple[Any, ...]]:
    name, content = b"", None
    for number, wire, value in fields(message):
        if (number, wire) == (1, BYTES):
            name = value
            value.decode()
        elif (number, wire) in FIELD_VALUES:
            content = number, wire, value
    if content is None:
        raise ValueError("value")
    number, wire, value = content
    return name.decode(), FIELD_VALUES[number, wire](value)


FIELD_VALUES: dict[tuple[int, int], Callable[[Any], tuple[Any, ...]]] = {
    (2, FIXED64): lambda raw: ("f64", raw),
    (3, NUMBER): lambda folded: ("i64", folded >> 1 if folded % 2 == 0 else -(folded + 1 >> 1)),
    (4, NUMBER): lambda number: ("flag", number != 0),
    (5, BYTES): lambda raw: ("text", raw.decode()),
    (6, BYTES): lambda raw: ("raw", raw),
    (7, BYTES): tensor,
}


# --- carriers: each returns a value and what is left ------------------------------------------------------------------


def _all(payload: bytes, read: Callable[[bytes], tuple[Any, bytes]]) -> Any:
    value, rest = read(payload)
    if rest:
        raise ValueError("trailing bytes")
    return value


def _take(raw: bytes, length: int) -> tuple[bytes, bytes]:
    if length > len(raw):
        raise ValueError("truncated")
    return raw[:length], raw[length:]


def _int(raw: bytes, width: int) -> tuple[int, bytes]:
    head, rest = _take(raw, width)
    return int.from_bytes(head, "little"), rest


def _counted(raw: bytes) -> tuple[bytes, bytes]:
    length, rest = _int(raw, 8)
    return _take(rest, length)


def _many(raw: bytes, read: Callable[[bytes], tuple[Any, bytes]]) -> tuple[tuple[Any, ...], bytes]:
    count, rest = _int(raw, 8)
    if count > len(rest):  # no item is empty
        raise ValueError("truncated")
    found = []
    for _ in range(count):
        value, rest = read(rest)
        found.append(value)
    return tuple(found), rest


def _trigger(raw: bytes) -> tuple[Any, bytes]:
    return ("trigger",), raw


def _request(raw: bytes) -> tuple[Any, bytes]:
    number, rest = _int(raw, 8)
    return ("request", number), rest


def _bytes(raw: bytes) -> tuple[Any, bytes]:
    content, rest = _counted(raw)
    return ("bytes", content), rest


def _peer(raw: bytes) -> tuple[Any, bytes]:
    content, rest = _counted(raw)
    return ("peer", multihash(content)), rest


def _peers(raw: bytes) -> tuple[Any, bytes]:
    found, rest = _many(raw, _peer)
    return ("peers", *found), rest


def _segment(raw: bytes) -> tuple[Any, bytes]:
    variant, rest = _int(raw, 4)
    if variant == 0:
        peer, rest = _peer(rest)
        return ("p2p", peer[1]), rest
    if variant == 1:
        site, rest = _int(rest, 8)
        return ("site", site), rest
    if variant == 2:
        component, rest = _int(rest, 4)
        return ("component", component), rest
    if variant == 3:
        op, rest = _counted(rest)
        return ("op", op.decode()), rest
    if variant == 4:
        content, rest = _counted(rest)
        found = address(content)[1:]
        if len(found) != 1 or found[0][0] in ("p2p", "site", "component", "op"):
            raise ValueError("segment")
        return found[0], rest
    raise ValueError("segment")


def _address(raw: bytes) -> tuple[Any, bytes]:
    found, rest = _many(raw, _segment)
    return ("address", *found), rest


def _addresses(raw: bytes) -> tuple[Any, bytes]:
    found, rest = _many(raw, _address)
    return ("addresses", *found), rest


def _composite(raw: bytes, depth: int) -> tuple[Any, bytes]:
    if depth > 16:
        raise ValueError("depth")

    def child(raw: bytes) -> tuple[Any, bytes]:
        type_hash, rest = _int(raw, 8)
        payload, rest = _counted(rest)
        return _decode(type_hash, payload, depth), rest

    found, rest = _many(raw, child)
    return ("composite", *found), rest


def _reference_tensor(raw: bytes) -> tuple[Any, bytes]:
    form, rest = _int(raw, 1)
    dims, rest = _dims(rest)
    count, rest = _int(rest, 8)
    data, rest = _take(rest, 4 * count)
    again, rest = _dims(rest)
    if form != 1 or count != prod(dims) or again != dims:
        raise ValueError("tensor")
    return _array(1, list(dims), data), rest


def _dims(raw: bytes) -> tuple[tuple[int, ...], bytes]:
    if _int(raw, 8)[0] > 32:
        raise ValueError("dimensions")
    return _many(raw, lambda rest: _int(rest, 8))


COMPOSITE = fnv1a64(f"{VALUES}CompositeValue")
READERS: dict[int, Callable[[bytes], tuple[Any, ...]]] = {
    fnv1a64("bb.tensor"): tensor,
    fnv1a64("bb.record"): record,
    fnv1a64("bb.chunk"): chunk,
    **{
        fnv1a64(name): lambda payload, read=read: _all(payload, read)  # type: ignore[misc]
        for name, read in {
            f"{VALUES}TriggerValue": _trigger,
            f"{VALUES}PeerIdValue": _peer,
            f"{VALUES}PeerIdVecValue": _peers,
            f"{VALUES}WireReqIdValue": _request,
            f"{VALUES}BytesValue": _bytes,
            f"{VALUES}AddressValue": _address,
            f"{VALUES}AddressVecValue": _addresses,
            "bb_ops::backends::cpu::tensor::CpuTensor": _reference_tensor,
        }.items()
    },
}


# --- peer ids and addresses -------------------------------------------------------------------------------------------


def multihash(raw: bytes) -> bytes:
    """Check a peer id."""
    _, at = shortest_varint(raw, 0)
    length, at = shortest_varint(raw, at)
    if length > 64 or len(raw) - at != length:
        raise ValueError("multihash")
    return raw


SEGMENTS = {
    421: ("p2p", None), 0xE2: ("site", 8), 0xE3: ("component", 4), 0xE4: ("op", None), 4: ("ip4", 4), 41: ("ip6", 16),
    53: ("dns", None), 54: ("dns4", None), 55: ("dns6", None), 6: ("tcp", 2), 273: ("udp", 2), 448: ("tls", 0),
    460: ("quic", 0), 461: ("quic-v1", 0), 477: ("ws", 0), 478: ("wss", 0), 777: ("memory", 8),
}  # fmt: skip
"""Code -> name, and bytes of the value; None where a length stands before them."""


def address(raw: bytes) -> tuple[Any, ...]:
    """Read the binary form of an address: ("address", segments...)."""
    at, found = 0, []
    while at < len(raw):
        code, at = shortest_varint(raw, at)
        if code not in SEGMENTS:
            raise ValueError("segment")
        kind, width = SEGMENTS[code]
        if width is None:
            width, at = shortest_varint(raw, at)
        value, _ = _take(raw[at:], width)
        at += width
        found.append((kind, _segment_value(kind, value)))
    return ("address", *found)


def _segment_value(kind: str, value: bytes) -> Any:
    if kind == "p2p":
        return multihash(value)
    if kind in ("ip4", "ip6"):
        return value
    if kind == "op":
        return value.decode()
    if kind.startswith("dns"):
        if not value or b"/" in value:
            raise ValueError("name")
        return value.decode()
    return int.from_bytes(value, "big") if value else None


def shortest_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read a varint of at most 64 bits that is in its shortest form."""
    value = 0
    for i in range(10):
        if at + i >= len(raw):
            raise ValueError("truncated")
        value |= (raw[at + i] & 0x7F) << 7 * i
        if raw[at + i] < 0x80:
            if value > U64 or (i and not raw[at + i]):
                raise ValueError("longer than it need be")
            return value, at + i + 1
    raise ValueError("too long")


# --- the package's values, in the same form ---------------------------------------------------------------------------


def shown(value: Any) -> tuple[Any, ...]:
    """Write a value of the package as this module would have read it."""
    import numpy as np

    from bb_core.ids import PeerId
    from bb_core.values import Composite, PeerList, Record, RequestId, Trigger
    from bb_core.wire.address import Address, AddressList
    from bb_core.wire.chunks import Chunk

    match value:
        case np.ndarray() if value.dtype.name in NARROW:
            elem = NARROW[value.dtype.name]
            data = value.view(np.uint8) & (1 << ITEM_BITS[elem]) - 1 if elem in ITEM_BITS else value
            return "tensor", elem, value.shape, data.tobytes()
        case np.ndarray():
            return "tensor", NUMPY[f"{value.dtype.kind}{value.dtype.itemsize}"], value.shape, value.tobytes()
        case Chunk():
            return "chunk", value.index, value.count, value.offset, value.total, value.type_hash, bytes(value.data)
        case Record():
            return "record", {name: _shown_field(value[name]) for name in value}
        case Trigger():
            return ("trigger",)
        case RequestId():
            return "request", int(value)
        case PeerId():
            return "peer", value.raw
        case bytes():
            return "bytes", value
        case Address():
            return ("address", *((SEGMENTS[code][0], _shown_segment(code, held)) for code, held in value.segments))
        case PeerList() | AddressList() | Composite():
            kind = {PeerList: "peers", AddressList: "addresses", Composite: "composite"}[type(value)]
            return (kind, *map(shown, value))
    raise TypeError(type(value).__name__)


def _shown_segment(code: int, value: Any) -> Any:
    import ipaddress

    from bb_core.ids import PeerId

    if code in (4, 41):
        return ipaddress.ip_address(value).packed
    return value.raw if isinstance(value, PeerId) else value


def _shown_field(value: Any) -> tuple[Any, ...]:
    import struct

    match value:
        case bool():
            return "flag", value
        case int():
            return "i64", value
        case float():
            return "f64", struct.pack("<d", value)
        case str():
            return "text", value
        case bytes():
            return "raw", value
    return shown(value)
