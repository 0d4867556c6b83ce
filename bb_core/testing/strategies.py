"""hypothesis strategies of what flows along edges: `strategies.tensors()`, `records()`, `values()`, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as missing:  # the package's own extra brings it
    from bb_core.errors import MissingExtra

    raise MissingExtra(
        "bb_core.testing.strategies needs hypothesis", hint='pip install "bytesandbrains[test]"'
    ) from missing

from bb_core.ids import PeerId
from bb_core.values import TRIGGER, Composite, PeerList, Record, RequestId

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool")
_I64 = (-(2**63), 2**63 - 1)


def shapes(max_rank: int = 3, max_side: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, scalars and empty ones among them."""
    return st.lists(st.integers(0, max_side), max_size=max_rank).map(tuple)


@st.composite
def tensors(
    draw: st.DrawFn,
    dtypes: Sequence[str] = DTYPES,
    shape: tuple[int, ...] | None = None,
    finite: bool = False,
) -> Any:
    """Tensors whose bytes are drawn, so that NaN, infinities and denormals come too unless they must be `finite`."""
    dtype = np.dtype(draw(st.sampled_from(list(dtypes))))
    sides = draw(shapes()) if shape is None else shape
    count = math.prod(sides)
    raw = np.frombuffer(draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize)), np.uint8)
    array: Any = (raw % 2).astype(np.bool_) if dtype == np.bool_ else raw.view(dtype).copy()
    if finite and np.issubdtype(dtype, np.floating):
        array = np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=-1.0)
    array = np.ascontiguousarray(array).reshape(sides)
    array.flags.writeable = False
    return array


def peer_ids() -> st.SearchStrategy[PeerId]:
    """Ids of peers: numbered ones, and hashes."""
    return st.one_of(st.integers(0, 2**64 - 1).map(PeerId.from_int), st.binary(min_size=32, max_size=32).map(_sha256))


def _sha256(digest: bytes) -> PeerId:
    return PeerId(bytes((0x12, 32)) + digest)


def peer_lists(max_size: int = 8) -> st.SearchStrategy[PeerList]:
    """Lists of different peers, in order of id."""
    return st.lists(peer_ids(), max_size=max_size, unique=True).map(lambda ids: PeerList(sorted(ids)))


def records(max_size: int = 5) -> st.SearchStrategy[Record]:
    """Records with fields of every kind."""
    names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
    fields = st.one_of(
        st.booleans(), st.integers(*_I64), st.floats(), st.text(max_size=20), st.binary(max_size=20), tensors()
    )
    return st.dictionaries(names, fields, max_size=max_size).map(Record)


def request_ids() -> st.SearchStrategy[RequestId]:
    """Ids of requests, never zero."""
    return st.integers(1, 2**64 - 1).map(RequestId)


def values() -> st.SearchStrategy[Any]:
    """Any value that can stand on an edge and travel."""
    simple = st.one_of(
        st.just(TRIGGER), st.binary(max_size=64), tensors(), records(), peer_ids(), peer_lists(), request_ids()
    )
    return st.one_of(simple, st.lists(simple, min_size=1, max_size=3).map(Composite))
