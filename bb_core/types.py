"""The types of edges: tensors with element type and shape, and the small values of `bb_core.values`.

A type is a point in a small lattice: `f32["N", 64]` is a `f32`, which is a `TENSOR`, which is `ANY`. In an ONNX program
a tensor type with known elements is a tensor type with its shape; anything else is an opaque type whose name is the
denotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bb_core.ids import PeerId
from bb_core.values import PeerList, Record, RequestId, Trigger

Dim = int | str | None
"""A dimension: a size, a name for one that is the same wherever it stands, or None."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of one edge.

    Attributes:
        denotation: Stable dotted name.
        elem: ONNX element type number; 0 when the elements are not known.
        shape: None when the rank is not known.
    """

    denotation: str
    elem: int = 0
    shape: tuple[Dim, ...] | None = None

    def __getitem__(self, dims: Dim | tuple[Dim, ...]) -> Type:
        """Give a tensor type its shape: `f32["N", 64]`; `f32[()]` is a scalar."""
        shape = dims if isinstance(dims, tuple) else (dims,)
        return Type(self.denotation, self.elem, shape)

    def accepts(self, other: Type) -> bool:
        """Say whether a value of type `other` may stand where this type is declared."""
        if self.denotation == ANY.denotation or other.denotation == ANY.denotation:
            return True
        if not self.is_tensor or not other.is_tensor:
            return self.denotation == other.denotation
        if self.elem and other.elem and self.elem != other.elem:
            return False
        if self.shape is None or other.shape is None:
            return True
        return len(self.shape) == len(other.shape) and all(
            a == b or not (isinstance(a, int) and isinstance(b, int))
            for a, b in zip(self.shape, other.shape, strict=True)
        )

    @property
    def is_tensor(self) -> bool:
        """Whether values are numpy arrays."""
        return self.denotation.startswith("bb.tensor")

    def __str__(self) -> str:
        name = self.denotation.removeprefix("bb.").removeprefix("tensor.")
        if self.shape is None:
            return name
        return f"{name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


ANY: Final = Type("bb.any")
TRIGGER: Final = Type("bb.trigger")
BYTES: Final = Type("bb.bytes")
RECORD: Final = Type("bb.record")
PEER_ID: Final = Type("bb.peer_id")
PEER_LIST: Final = Type("bb.peer_id_vec")
REQUEST_ID: Final = Type("bb.wire_req_id")
COMPOSITE: Final = Type("bb.composite")
TENSOR: Final = Type("bb.tensor")

f32: Final = Type("bb.tensor.f32", 1)
u8: Final = Type("bb.tensor.u8", 2)
i8: Final = Type("bb.tensor.i8", 3)
i32: Final = Type("bb.tensor.i32", 6)
i64: Final = Type("bb.tensor.i64", 7)
bool_: Final = Type("bb.tensor.bool", 9)
f16: Final = Type("bb.tensor.f16", 10)
f64: Final = Type("bb.tensor.f64", 11)
u64: Final = Type("bb.tensor.u64", 13)

DURATION: Final = i64[()]
"""Nanoseconds. The recorder also takes text such as `"30s"`."""

NAMED: Final[dict[str, Type]] = {
    t.denotation: t
    for t in (
        ANY,
        TRIGGER,
        BYTES,
        RECORD,
        PEER_ID,
        PEER_LIST,
        REQUEST_ID,
        COMPOSITE,
        TENSOR,
        f32,
        u8,
        i8,
        i32,
        i64,
        bool_,
        f16,
        f64,
        u64,
    )
}
BY_ELEM: Final[dict[int, Type]] = {t.elem: t for t in NAMED.values() if t.elem}

_PYTHON_CLASSES: Final[dict[str, type]] = {
    TRIGGER.denotation: Trigger,
    BYTES.denotation: bytes,
    RECORD.denotation: Record,
    PEER_ID.denotation: PeerId,
    PEER_LIST.denotation: PeerList,
    REQUEST_ID.denotation: RequestId,
}


def python_class(type_: Type) -> type | None:
    """Return the Python class of this type's values; None when any value may stand."""
    if type_.is_tensor:
        return np.ndarray
    return _PYTHON_CLASSES.get(type_.denotation)


def parse_duration(value: Any) -> int:
    """Turn `"30s"`, `"500ms"`, `"2m"`, `"1h"` or an int of nanoseconds into nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        for unit, scale in _UNITS:
            if value.endswith(unit):
                try:
                    return round(float(value.removesuffix(unit)) * scale)
                except ValueError:
                    break
    raise ValueError(f"{value!r} is not a duration; write nanoseconds or text such as '30s', '500ms', '2m'")


_UNITS: Final = (("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9))
