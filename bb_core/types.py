"""The types of edges: tensors with element type and shape, and the small values of `bb_core.values`.

A type is a point in a lattice: `f32["N", 64]` is a `f32`, which is a `TENSOR`, which is `ANY`. `declare` adds a type
under another. In an ONNX program a tensor type with known elements is a tensor type with its shape; anything else is an
opaque type whose name is the denotation.

Typing is gradual: a value that is known less well than a port wants it (`ANY` where a `RECORD` is declared, `TENSOR`
where `f32` is) may stand there, and is checked when the program runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bb_core.errors import DuplicateRegistration, UsageError, did_you_mean
from bb_core.ids import PeerId
from bb_core.values import Composite, PeerList, Record, RequestId, Trigger

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
        for dim in shape:
            legal = dim is None or (isinstance(dim, str) and dim) or (type(dim) is int and dim >= 0)
            if not legal or not self.is_tensor:
                raise UsageError(
                    f"{self}[{dim!r}] is no type",
                    expected="a tensor type, with sizes from 0 up, names or None in brackets",
                )
        return Type(self.denotation, self.elem, shape)

    def accepts(self, other: Type) -> bool:
        """Say whether a value of type `other` may stand where this type is declared: whether the two can meet."""
        return meet(self, other) is not None

    @property
    def is_tensor(self) -> bool:
        """Whether values are numpy arrays."""
        return self.denotation.startswith("bb.tensor")

    @property
    def bare(self) -> Type:
        """The type without its shape."""
        return self if self.shape is None else Type(self.denotation, self.elem)

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
ADDRESS: Final = Type("bb.multiaddress")
ADDRESS_LIST: Final = Type("bb.address_vec")
COMPOSITE: Final = Type("bb.composite")
TENSOR: Final = Type("bb.tensor")

f32: Final = Type("bb.tensor.f32", 1)
u8: Final = Type("bb.tensor.u8", 2)
i8: Final = Type("bb.tensor.i8", 3)
u16: Final = Type("bb.tensor.u16", 4)
i16: Final = Type("bb.tensor.i16", 5)
i32: Final = Type("bb.tensor.i32", 6)
i64: Final = Type("bb.tensor.i64", 7)
bool_: Final = Type("bb.tensor.bool", 9)
f16: Final = Type("bb.tensor.f16", 10)
f64: Final = Type("bb.tensor.f64", 11)
u32: Final = Type("bb.tensor.u32", 12)
u64: Final = Type("bb.tensor.u64", 13)
bf16: Final = Type("bb.tensor.bf16", 16)

DURATION: Final = i64[()]
"""Nanoseconds. The recorder also takes text such as `"30s"`."""

_TENSORS: Final = (f32, u8, i8, u16, i16, i32, i64, bool_, f16, f64, u32, u64, bf16)
BY_ELEM: Final[dict[int, Type]] = {t.elem: t for t in _TENSORS}


# --- the lattice ------------------------------------------------------------------------------------------------------


_OURS: Final = "bytesandbrains"


@dataclass(frozen=True, slots=True)
class _Node:
    """A named type: what it stands under, and what its values are in Python."""

    stands_for: Type
    parent: str
    cls: type | None
    owner: str = _OURS


@dataclass(slots=True)
class _Lattice:
    nodes: dict[str, _Node] = field(default_factory=dict)

    def ancestors(self, denotation: str) -> list[str]:
        """The names above one, itself first."""
        found = []
        while denotation:
            found.append(denotation)
            node = self.nodes.get(denotation)
            denotation = node.parent if node is not None else ANY.denotation if denotation != ANY.denotation else ""
        return found

    def is_under(self, below: str, above: str) -> bool:
        """Whether one type is another or stands somewhere under it."""
        return below == above or above in self.ancestors(below)


_VALUES: Final[tuple[tuple[Type, type | None], ...]] = (
    (TRIGGER, Trigger),
    (BYTES, bytes),
    (RECORD, Record),
    (PEER_ID, PeerId),
    (PEER_LIST, PeerList),
    (REQUEST_ID, RequestId),
    (ADDRESS, None),
    (ADDRESS_LIST, None),
    (COMPOSITE, Composite),
    (TENSOR, np.ndarray),
)
_lattice: Final = _Lattice(
    {
        ANY.denotation: _Node(ANY, "", None),
        **{t.denotation: _Node(t, ANY.denotation, cls) for t, cls in _VALUES},
        **{t.denotation: _Node(t, TENSOR.denotation, np.ndarray) for t in _TENSORS},
    }
)


def named(denotation: str) -> Type | None:
    """Return a type by its stable name, or None."""
    node = _lattice.nodes.get(denotation)
    return None if node is None else node.stands_for


def is_built_in(type_: Type) -> bool:
    """Whether a type is one of this file's, and not declared by somebody else."""
    node = _lattice.nodes.get(type_.denotation)
    return node is None or node.owner == _OURS


def declare(name: str, *, parent: Type = ANY, python_class: type | None = None, owner: str = "this process") -> Type:
    """Add a type to the lattice and return it.

    Args:
        name: Stable and dotted, beginning with the package's own name: `acme.sparse`.
        parent: What it is a kind of; a value of it may stand where its parent is declared.
        python_class: Class of its values, checked on edges; None for any.
        owner: Who declares it, for messages.

    Raises:
        UsageError: the name is not one, or the parent is not declared, or is a tensor type.
        DuplicateRegistration: another has the name.
    """
    if "." not in name or name.startswith(("bb.", "ai.bytesandbrains")):
        raise UsageError(f"{name!r} cannot name a type", expected="a dotted name of your own, such as 'acme.sparse'")
    if parent.denotation not in _lattice.nodes or parent.is_tensor:
        raise UsageError(
            f"the parent of {name!r} is {parent}",
            expected="bb.types.ANY, or a declared type that is no tensor",
            hint=did_you_mean(parent.denotation, _lattice.nodes),
        )
    node = _Node(Type(name), parent.denotation, python_class, owner)
    known = _lattice.nodes.get(name)
    if known is not None and (known.parent, known.cls) != (node.parent, node.cls):
        raise DuplicateRegistration(f"the type {name!r} is declared twice", where=f"{known.owner} and {owner}")
    _lattice.nodes[name] = known or node
    return node.stands_for


def meet(a: Type, b: Type) -> Type | None:
    """Return the most general type that is both: what is known of a value when both are; None when nothing is both."""
    if a is b or a == b:
        return a
    if a is ANY:
        return b
    if b is ANY:
        return a
    if a.denotation != b.denotation and _lattice.is_under(b.denotation, a.denotation):
        a, b = b, a
    elif not _lattice.is_under(a.denotation, b.denotation):
        return None
    if not a.is_tensor or not b.is_tensor:
        return a
    shape = a.shape if b.shape is None else b.shape if a.shape is None else _meet_shapes(a.shape, b.shape)
    if shape is None and a.shape is not None and b.shape is not None:
        return None
    return Type(a.denotation, a.elem, shape)


def _meet_shapes(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...] | None:
    if len(a) != len(b):
        return None
    met = []
    for x, y in zip(a, b, strict=True):
        if isinstance(x, int) and isinstance(y, int) and x != y:
            return None
        met.append(min((x, y), key=_how_known))
    return tuple(met)


def _how_known(dim: Dim) -> tuple[int, str]:
    """Order dimensions: sizes first, then names, then what is not known."""
    return (0, "") if isinstance(dim, int) else (1, dim) if isinstance(dim, str) else (2, "")


def join(a: Type, b: Type) -> Type:
    """Return the least general type that each of two is a kind of."""
    if a == b:
        return a
    above = _lattice.ancestors(b.denotation)
    name = next(n for n in _lattice.ancestors(a.denotation) if n in above)
    found = _lattice.nodes[name].stands_for
    if not found.is_tensor or a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return found
    return Type(
        found.denotation, found.elem, tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True))
    )


def python_class(type_: Type) -> type | None:
    """Return the Python class of this type's values; None when any value may stand."""
    node = _lattice.nodes.get(type_.denotation)
    return None if node is None else node.cls


def set_python_class(type_: Type, cls: type) -> None:
    """Say which class the values of a type are of, where that stands in a higher layer than this file."""
    known = _lattice.nodes[type_.denotation]
    _lattice.nodes[type_.denotation] = _Node(known.stands_for, known.parent, cls, known.owner)


# --- durations --------------------------------------------------------------------------------------------------------


def parse_duration(value: Any) -> int:
    """Turn `"30s"`, `"500ms"`, `"2m"`, `"1h"` or an int of nanoseconds into nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        for unit, scale in _UNITS:
            if value.endswith(unit):
                try:
                    found = round(float(value.removesuffix(unit)) * scale)
                except (ValueError, OverflowError):
                    break
                if found >= 0:
                    return found
                break
    raise ValueError(f"{value!r} is not a duration; write nanoseconds or text such as '30s', '500ms', '2m'")


_UNITS: Final = (("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9))
