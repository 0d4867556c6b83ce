"""`FlatIndex`: exact nearest neighbours, by a look at every vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError, did_you_mean

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

METRICS: Final = ("l2", "cosine", "inner_product")
_WIDTH: Final = 256  # vectors of a block: long rows to stream, and at 128 dimensions the block stays in an L2 cache
_LARGEST: Final = 1e15  # of an element: no sum of products overflows, so that there is no infinity and no NaN
_NOBODY: Final = np.iinfo(np.int64).max


@bb.concrete("bytesandbrains.FlatIndex")
class FlatIndex(bb.roles.Index):
    """Compare a query with every vector that is stored, so that recall is 1 (Johnson et al. 2019, section 2).

    Squared distances are summed from the differences, which keeps close vectors apart where |a|^2 + |b|^2 - 2ab would
    not; sums are f32, in order of dimension. Of equal scores the smaller id comes first. Results depend neither on the
    order in which vectors came nor on what was removed, and are the same bytes on every machine. A removed vector
    leaves no trace, and its memory is given back (docs/decisions/0016).

    A vector whose id is stored already takes the place of the old one.

    Shape:
        vectors (n, dim) floating · ids (n,) i64, 0 or more · query (q, dim) · found ids (q, k) i64 · scores (q, k) f32:
        squared distances (`l2`), the smallest first, or similarities (`cosine`, `inner_product`), the largest first;
        infinite where there are fewer than k
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """What is stored, and what near means."""

        dim: int | None = None
        """Length of a vector; None: that of the first which is added."""
        metric: str = "l2"
        """`l2`, `cosine` or `inner_product`. By cosine, a vector of zeros is as far from all as at a right angle."""
        most: int | None = None
        """So many vectors may be stored, and adding more is refused; None: as many as there is memory for."""

        def __post_init__(self) -> None:
            for name in ("dim", "most"):
                value = getattr(self, name)
                if value is not None and value < 1:
                    raise ValueError(f"{name} is {value}; expected at least 1")
            if self.metric not in METRICS:
                near = did_you_mean(self.metric, METRICS)
                raise ValueError(f"metric is {self.metric!r}; expected one of {', '.join(METRICS)} {near}".rstrip())

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._dim = config.dim
        self._blocks: F32 = np.zeros((0, config.dim or 0, _WIDTH), np.float32)
        self._ids: I64 = np.zeros(0, np.int64)
        self._count = 0
        self._next = 0
        self._rows: dict[int, int] | None = None

    def snapshot(self) -> bb.State:
        """Return what is stored."""
        vectors = self._blocks.transpose(0, 2, 1).reshape(-1, self._blocks.shape[1])[: self._count]
        return {"vectors": vectors.copy(), "ids": self._ids[: self._count].copy(), "next": self._next, "dim": self._dim}

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        self._dim = state["dim"]
        self._blocks, self._count, self._rows = np.zeros((0, self._dim or 0, _WIDTH), np.float32), 0, None
        self._append(np.asarray(state["vectors"], np.float32), np.asarray(state["ids"], np.int64))
        self._next = state["next"]

    # --- ops ----------------------------------------------------------------------------------------------------------

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        """Store vectors and return their ids; without `ids` new ones are given out, which never come again.

        Raises:
            RoleError: vectors of another length, or not finite; ids that are no i64, below 0, given twice or not one
                for each; more than there may be.
        """
        added = self._comparable(vectors, "vectors")
        given = self._new_ids(len(added)) if ids is None else _checked(ids, len(added))
        rows = [] if ids is None else [self._row_of.get(i, -1) for i in given.tolist()]
        known = np.asarray(rows, np.int64).reshape(-1) >= 0 if rows else np.zeros(len(added), bool)
        whole = self._count + int(np.count_nonzero(~known))
        if self.config.most is not None and whole > self.config.most:
            raise RoleError(
                f"{whole} vectors would be stored",
                expected=f"at most {self.config.most}, as configured",
                hint="remove some, or raise `most`",
            )
        if self._dim is None:
            self._dim = added.shape[1]
            self._blocks = np.zeros((0, self._dim, _WIDTH), np.float32)
        for place in np.flatnonzero(known):
            self._put(rows[place], added[place])
        self._append(added[~known], given[~known])
        self._next = max(self._next, int(given.max(initial=-1)) + 1)
        return given.copy()

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the `k` nearest of each query, nearest first; id -1 where there are fewer.

        Raises:
            RoleError: queries of another length than the vectors, or not finite.
        """
        from bb_plugins.indexes.kernels import nearest

        queries = self._comparable(query, "queries")
        size, by_product = min(k, self._count), self.config.metric != "l2"
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf, np.float32)
        if size:
            heap, found = scores[:, :size].copy(), np.full((len(queries), size), _NOBODY, np.int64)
            sums = np.empty(_WIDTH, np.float32)
            nearest(self._blocks, self._count, self._ids, queries, by_product, sums, heap, found)
            order = np.lexsort((found, heap), axis=-1), np.arange(len(queries))[:, None]
            ids[:, :size], scores[:, :size] = found[order[::-1]], heap[order[::-1]]
        return ids, -scores if by_product else scores

    def remove(self, ctx: bb.Context, ids: bb.Tensor) -> None:
        """Forget vectors; an unknown id is no error."""
        rows = self._row_of
        for id_ in np.asarray(ids).reshape(-1).tolist():
            row = rows.pop(id_, None)
            if row is None:
                continue
            self._count -= 1
            last = self._blocks[self._count // _WIDTH, :, self._count % _WIDTH]
            if row != self._count:
                self._blocks[row // _WIDTH, :, row % _WIDTH] = last
                self._ids[row] = moved = int(self._ids[self._count])
                rows[moved] = row
            last[:] = 0
        self._resize(-(-self._count // _WIDTH))

    def size(self, ctx: bb.Context) -> bb.Tensor:
        """Return how many vectors are stored, a scalar i64."""
        return np.asarray(self._count, np.int64)

    # --- what is stored -----------------------------------------------------------------------------------------------

    @property
    def _row_of(self) -> dict[int, int]:
        """Id -> row; made when it is first needed, for an index that only grows by itself needs none."""
        if self._rows is None:
            self._rows = {id_: row for row, id_ in enumerate(self._ids[: self._count].tolist())}
        return self._rows

    def _append(self, vectors: F32, ids: I64) -> None:
        first, self._count = self._count, self._count + len(vectors)
        self._resize(-(-self._count // _WIDTH))
        self._ids[first : self._count] = ids
        row = first
        while row < self._count:
            at = row % _WIDTH
            end = min(self._count, row - at + _WIDTH)
            self._blocks[row // _WIDTH, :, at : at + end - row] = vectors[row - first : end - first].T
            row = end
        if self._rows is not None:
            self._rows |= {id_: first + n for n, id_ in enumerate(ids.tolist())}

    def _put(self, row: int, vector: F32) -> None:
        self._blocks[row // _WIDTH, :, row % _WIDTH] = vector

    def _resize(self, blocks: int) -> None:
        """Have room for so many blocks: twice as much when it grows, and no more than four times as much as is used."""
        there = len(self._blocks)
        if blocks <= there <= max(4 * blocks, 1):
            return
        wanted = max(blocks, 2 * there) if blocks > there else 2 * blocks
        kept = min(blocks, there)
        grown = np.zeros((wanted, self._dim or 0, _WIDTH), np.float32)
        grown[:kept] = self._blocks[:kept]
        ids = np.zeros(wanted * _WIDTH, np.int64)
        ids[: kept * _WIDTH] = self._ids[: kept * _WIDTH]
        self._blocks, self._ids = grown, ids

    # --- what is given ------------------------------------------------------------------------------------------------

    def _comparable(self, vectors: bb.Tensor, what: str) -> F32:
        """Return vectors as rows of f32; by cosine, of length 1."""
        if vectors.ndim != 2 or (self._dim is not None and vectors.shape[1] != self._dim) or not vectors.shape[1]:
            raise RoleError(f"{what} have the shape {vectors.shape}", expected=f"(n, {self._dim or 'dim'})")
        if not np.issubdtype(vectors.dtype, np.floating):
            raise RoleError(f"{what} have elements of type {vectors.dtype}", expected="floating point")
        if not np.all(np.abs(vectors) <= _LARGEST):
            raise RoleError(f"{what} hold NaN, infinity or too large a number", expected=f"at most {_LARGEST:g}")
        rows = np.ascontiguousarray(vectors, np.float32)
        if self.config.metric == "cosine":
            lengths = np.sqrt(np.sum(rows.astype(np.float64) ** 2, axis=1, keepdims=True))
            rows = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        rows = rows.view()
        rows.flags.writeable = False  # what comes in is frozen or not; the kernel has one signature
        return rows

    def _new_ids(self, count: int) -> I64:
        if self._next + count > _NOBODY:
            raise RoleError("there are no ids left above the largest", hint="give ids of your own that are smaller")
        return np.arange(self._next, self._next + count, dtype=np.int64)


def _checked(ids: bb.Tensor, count: int) -> I64:
    """Return ids as i64, one for each vector."""
    array: Any = np.asarray(ids)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise RoleError(
            f"{count} vectors have ids of shape {array.shape} and type {array.dtype}", expected=f"({count},) i64"
        )
    if array.size and (array.min() < 0 or array.max() >= _NOBODY):
        raise RoleError(f"an id is {array.min() if array.min() < 0 else array.max()}", expected="0 to 2**63 - 2")
    if len(np.unique(array)) != count:
        raise RoleError("an id is given twice", expected="one id for each vector")
    return np.asarray(array, np.int64).copy()
