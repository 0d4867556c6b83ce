"""The small values, byte for byte as the reference implementation writes them.

Each value of the reference travels in a *carrier*, a type of its own, whose name and hash are part of the wire format.

Source: docs/reference/wire.md, "Carriers".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any, Final

import numpy as np

from bb_core.errors import PayloadError, TypeMismatch
from bb_core.ids import PeerId
from bb_core.types import ADDRESS, ADDRESS_LIST, set_python_class
from bb_core.values import TRIGGER, Composite, PeerList, RequestId, Tensor, Trigger
from bb_core.wire.address import COMPONENT, OP, P2P, SITE, Address, AddressList, Segment
from bb_core.wire.bincode import Reader, sized, u32, u64
from bb_core.wire.tensors import MAX_RANK, to_array
from bb_core.wire.wire_types import Payload, WireType, decode_value, encode_value

MAX_DEPTH: Final = 16
"""How deep a Composite may lie in others; it bounds the recursion that a peer can cause."""


set_python_class(ADDRESS, Address)
set_python_class(ADDRESS_LIST, AddressList)


# --- without structure ------------------------------------------------------------------------------------------------


def _encode_trigger(_: Trigger) -> bytes:
    return b""


def _decode_trigger(payload: memoryview) -> Trigger:
    Reader(payload).finish()
    return TRIGGER


def _encode_bytes(value: bytes) -> Payload:
    return u64(len(value)), value


def _decode_bytes(payload: memoryview) -> bytes:
    reader = Reader(payload)
    content = bytes(reader.sized())
    reader.finish()
    return content


def _encode_request(value: RequestId) -> bytes:
    if not 0 <= value < 1 << 64:
        raise TypeMismatch(f"a request has the id {int(value)}", expected="64 bits")
    return u64(value)


def _decode_request(payload: memoryview) -> RequestId:
    reader = Reader(payload)
    number = reader.u64()
    reader.finish()
    return RequestId(number)


# --- peers ------------------------------------------------------------------------------------------------------------


def _encode_peer(value: PeerId) -> bytes:
    return sized(value.raw)


def read_peer(reader: Reader) -> PeerId:
    """Read a peer id, which is written as `bincode.sized(peer.raw)`."""
    return PeerId(bytes(reader.sized()))


def _decode_peer(payload: memoryview) -> PeerId:
    reader = Reader(payload)
    peer = read_peer(reader)
    reader.finish()
    return peer


def _encode_peers(value: PeerList) -> bytes:
    return u64(len(value)) + b"".join(sized(peer.raw) for peer in value)


def _decode_peers(payload: memoryview) -> PeerList:
    reader = Reader(payload)
    peers = PeerList(read_peer(reader) for _ in range(reader.count(8)))
    reader.finish()
    return peers


# --- addresses: as a list of numbered variants, not in their binary form ----------------------------------------------

_VARIANTS: Final = (P2P, SITE, COMPONENT, OP)
_ENDPOINT: Final = 4
"""The variant of all other segments, which the reference does not have: sized, in their binary form."""


def _encode_address(value: Address) -> bytes:
    return u64(len(value.segments)) + b"".join(_segment(*segment) for segment in value.segments)


def _segment(code: int, value: Any) -> bytes:
    if code not in _VARIANTS:
        return u32(_ENDPOINT) + sized(Address((Segment(code, value),)).to_bytes())
    variant = u32(_VARIANTS.index(code))
    if code == P2P:
        return variant + sized(value.raw)
    if code == OP:
        return variant + sized(value.encode())
    return variant + (u64(value) if code == SITE else u32(value))


def _read_address(reader: Reader) -> Address:
    return Address(tuple(_read_segment(reader) for _ in range(reader.count(4))))


def _read_segment(reader: Reader) -> Segment:
    variant = reader.u32()
    if variant == _ENDPOINT:
        return _read_endpoint(reader)
    if variant > _ENDPOINT:
        raise PayloadError(f"an address has no segment {variant}", expected=f"at most {_ENDPOINT}")
    code = _VARIANTS[variant]
    if code == P2P:
        return Segment(code, read_peer(reader))
    if code == OP:
        return Segment(code, bytes(reader.sized()).decode())
    return Segment(code, reader.u64() if code == SITE else reader.u32())


def _read_endpoint(reader: Reader) -> Segment:
    segments = Address.from_bytes(reader.sized()).segments
    if len(segments) != 1 or segments[0].code in _VARIANTS:
        raise PayloadError("an address spells a segment in another way than its own")
    return segments[0]


def _decode_address(payload: memoryview) -> Address:
    reader = Reader(payload)
    address = _read_address(reader)
    reader.finish()
    return address


def write_addresses(value: AddressList) -> bytes:
    """Write a list of addresses, each as a list of numbered variants."""
    return u64(len(value)) + b"".join(map(_encode_address, value))


def read_addresses(reader: Reader) -> AddressList:
    """Read a list of addresses."""
    return AddressList(_read_address(reader) for _ in range(reader.count(8)))


def _decode_addresses(payload: memoryview) -> AddressList:
    reader = Reader(payload)
    addresses = read_addresses(reader)
    reader.finish()
    return addresses


# --- values in values -------------------------------------------------------------------------------------------------


def _encode_composite(value: Composite) -> Payload:
    _check_depth(value)
    return tuple(_parts(value, encode_value))


def _check_depth(value: Composite) -> None:
    if _depth(value) > MAX_DEPTH:
        raise TypeMismatch("a Composite lies too deep in others", expected=f"at most {MAX_DEPTH} deep")


def _depth(value: Any) -> int:
    """How many Composites deep a value is."""
    return 1 + max(map(_depth, value), default=0) if isinstance(value, Composite) else 0


def _parts(value: Composite, encode: Callable[[Any], tuple[int, Payload, bool]]) -> Iterable[Any]:
    yield u64(len(value))
    for child in value:
        type_hash, payload, _ = encode(child)
        parts = payload if isinstance(payload, tuple) else (payload,)
        yield u64(type_hash) + u64(sum(memoryview(part).nbytes for part in parts))
        yield from parts


def _decode_composite(payload: memoryview) -> Composite:
    return _read_composite(payload, 1)


def _read_composite(payload: memoryview, depth: int) -> Composite:
    if depth > MAX_DEPTH:
        raise PayloadError("a Composite lies too deep in others", expected=f"at most {MAX_DEPTH} deep")
    reader = Reader(payload)
    values = Composite(_read_child(reader, depth) for _ in range(reader.count(16)))
    reader.finish()
    return values


def _read_child(reader: Reader, depth: int) -> Any:
    type_hash, payload = reader.u64(), reader.sized()
    if type_hash == _COMPOSITE:
        return _read_composite(payload, depth + 1)
    return decode_value(type_hash, payload)


# --- the reference's tensor, which is only read: ours says its element type -------------------------------------------


def _decode_cpu_tensor(payload: memoryview) -> Tensor:
    reader = Reader(payload)
    form = reader.u8()
    if form != 1:
        raise PayloadError(f"a tensor has the form {form}", expected="1")
    dims = _read_dims(reader)
    count = reader.u64()
    if count != prod(dims):
        raise PayloadError(f"a tensor has {count} elements", expected=f"as many as its shape {dims} says")
    data = reader.take(4 * count)
    if _read_dims(reader) != dims:
        raise PayloadError("a tensor has two shapes", expected=str(dims))
    reader.finish()
    return to_array(data, np.dtype("<f4"), dims)


def encode_for_reference(value: Any) -> tuple[int, Payload, bool]:
    """Return type_hash, payload and trigger_only of a value as the reference reads it.

    Raises:
        TypeMismatch: as `encode_value`; or it is a tensor of other elements than float32, which the reference has not.
    """
    if isinstance(value, Composite):
        _check_depth(value)
        return _COMPOSITE, tuple(_parts(value, encode_for_reference)), False
    if not isinstance(value, np.ndarray):
        return encode_value(value)
    if value.dtype != np.float32:
        raise TypeMismatch(
            f"an array of {value.dtype} cannot be sent to the reference implementation",
            expected="float32",
            hint='cast it (g.cast), or install with NodeConfig(wire_profile="bb")',
        )
    plain = np.asarray(value, "<f4", order="C")
    dims = u64(plain.ndim) + b"".join(map(u64, plain.shape))
    return CPU_TENSOR, (b"\x01" + dims + u64(plain.size), plain.data, dims), False


def _read_dims(reader: Reader) -> tuple[int, ...]:
    rank = reader.u64()
    if rank > MAX_RANK:
        raise PayloadError(f"a tensor has {rank} dimensions", expected=f"at most {MAX_RANK}")
    return tuple(reader.u64() for _ in range(rank))


_COMPOSITE: Final = 0xB94CED714C59208D
CPU_TENSOR: Final = 0x2F824195FEC34BE1
_VALUES: Final = "bb_runtime::syscall::values::"

CARRIERS: Final = (
    WireType(f"{_VALUES}TriggerValue", 0xF408EC4A93415CA0, Trigger, _encode_trigger, _decode_trigger, True),
    WireType(f"{_VALUES}PeerIdValue", 0x6750D1DE54E51EC5, PeerId, _encode_peer, _decode_peer),
    WireType(f"{_VALUES}PeerIdVecValue", 0x64D32AEF2D363637, PeerList, _encode_peers, _decode_peers),
    WireType(f"{_VALUES}WireReqIdValue", 0x9E56307DF460AEF2, RequestId, _encode_request, _decode_request),
    WireType(f"{_VALUES}BytesValue", 0x1D82330CC10A293D, bytes, _encode_bytes, _decode_bytes),
    WireType(f"{_VALUES}AddressValue", 0x8927BF653DF72630, Address, _encode_address, _decode_address),
    WireType(f"{_VALUES}AddressVecValue", 0x99F6119F618D070C, AddressList, write_addresses, _decode_addresses),
    WireType(f"{_VALUES}CompositeValue", _COMPOSITE, Composite, _encode_composite, _decode_composite),
    WireType("bb_ops::backends::cpu::tensor::CpuTensor", CPU_TENSOR, np.ndarray, None, _decode_cpu_tensor),
)
"""The wire types of the reference. A hash is that of the name, written out because it is what peers compare."""
