from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias, final

import numpy.typing as npt

from bb_core.wire.limits import WireLimits

_Bytes: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
_Writable: TypeAlias = bytearray | memoryview | npt.NDArray[Any]

SCATTERED: Final[int]

@final
class Fill:
    dest_suffix: Final[bytes]
    payload: Final[Any]
    trigger_only: Final[bool]
    type_hash: Final[int]
    def __init__(
        self,
        dest_suffix: bytes = b"",
        payload: _Bytes | tuple[_Bytes, ...] = b"",
        trigger_only: bool = False,
        type_hash: int = 0,
    ) -> None: ...

@final
class EdgeRttReport:
    site: Final[int]
    chain: Final[int]
    hop: Final[int]
    srtt_ns: Final[int]
    rttvar_ns: Final[int]
    samples: Final[int]
    def __init__(
        self,
        site: int = 0,
        chain: int = 0,
        hop: int = 0,
        srtt_ns: int = 0,
        rttvar_ns: int = 0,
        samples: int = 0,
    ) -> None: ...

@final
class Envelope:
    dest_peer_addresses: Final[tuple[bytes, ...]]
    fills: Final[tuple[Fill, ...]]
    kind: Final[int]
    request: Final[int]
    remaining_deadline_ns: Final[int]
    edge_rtt_reports: Final[tuple[EdgeRttReport, ...]]
    src_peer: Final[bytes]
    schema_version: Final[int]
    src_peer_addresses: Final[tuple[bytes, ...]]
    has_correlation: Final[bool]
    def __init__(
        self,
        dest_peer_addresses: Iterable[bytes] = (),
        fills: Iterable[Fill] = (),
        kind: int = 0,
        request: int = 0,
        remaining_deadline_ns: int = 0,
        edge_rtt_reports: Iterable[EdgeRttReport] = (),
        src_peer: bytes = b"",
        schema_version: int = 1,
        src_peer_addresses: Iterable[bytes] = (),
        has_correlation: bool = True,
    ) -> None: ...

@final
class Fields:
    def __init__(self, message: _Bytes) -> None: ...
    @property
    def at(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[int, int, Any]]: ...
    def __next__(self) -> tuple[int, int, Any]: ...

def encode(envelope: Envelope) -> bytes: ...
def encode_into(envelope: Envelope, buffer: _Writable) -> int: ...
def encode_parts(envelope: Envelope) -> tuple[bytes | memoryview, ...]: ...
def encoded_size(envelope: Envelope) -> int: ...
def decode(data: _Bytes, limits: WireLimits | None = None) -> Envelope: ...
def varint(value: int) -> bytes: ...
def address_of(data: _Bytes) -> int: ...
