"""The Index that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from dataclasses import dataclass

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError


@bb.concrete("$package.$Class")
class $Class(bb.roles.Index):
    """Look at every vector; the score is the squared distance.

    Shape:
        vectors (n, dim) f32 · ids (n,) i64 · query (q, dim) · scores (q, k) f32
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """What it stores."""

        dim: int = 8
        """Length of a vector."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._vectors = np.zeros((0, config.dim), np.float32)
        self._ids = np.zeros(0, np.int64)
        self._next = 0

    def snapshot(self) -> bb.State:
        """Return what is stored."""
        return {"vectors": self._vectors.copy(), "ids": self._ids.copy(), "next": self._next}

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        self._vectors, self._ids, self._next = np.array(state["vectors"]), np.array(state["ids"]), state["next"]

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        """Store vectors and return their ids; without `ids` new ones are given out."""
        self._check(vectors)
        given = np.arange(self._next, self._next + len(vectors)) if ids is None else np.array(ids, np.int64)
        if given.shape != (len(vectors),):
            raise RoleError(f"{len(vectors)} vectors have ids of shape {given.shape}", expected=f"({len(vectors)},)")
        self._vectors = np.concatenate([self._vectors, vectors.astype(np.float32)])
        self._ids = np.concatenate([self._ids, given])
        self._next = max(self._next, int(given.max(initial=-1)) + 1)
        return given.copy()

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the `k` nearest of each query, nearest first; id -1 where there are fewer."""
        self._check(query)
        far = ((query[:, None] - self._vectors[None]) ** 2).sum(axis=2)
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        ids = np.full((len(query), k), -1, np.int64)
        scores = np.full((len(query), k), np.inf, np.float32)
        ids[:, : order.shape[1]] = self._ids[order]
        scores[:, : order.shape[1]] = np.take_along_axis(far, order, axis=1)
        return ids, scores

    def remove(self, ctx: bb.Context, ids: bb.Tensor) -> None:
        """Forget vectors; an unknown id is no error."""
        kept = ~np.isin(self._ids, ids)
        self._vectors, self._ids = self._vectors[kept], self._ids[kept]

    def size(self, ctx: bb.Context) -> bb.Tensor:
        """Return how many vectors are stored."""
        return np.asarray(len(self._ids), np.int64)

    def _check(self, vectors: bb.Tensor) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.config.dim:
            raise RoleError(f"vectors have the shape {vectors.shape}", expected=f"(n, {self.config.dim})")
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_search(row: Any) -> None:
    random = np.random.Generator(np.random.Philox(0))
    vectors, query = (random.standard_normal((n, 32)).astype(np.float32) for n in (2_000, 1))
    index, ctx = $Class($Class.Config(dim=32)), FakeContext()
    index.add(ctx, vectors)
    row(
        "search 1 of 2,000 x 32, k=10",
        lambda: index.search(ctx, query, k=10),
        limit=("one product", lambda: vectors @ query[0]),
    )
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_the_score_is_the_squared_distance() -> None:
    index, ctx = $Class($Class.Config(dim=2)), FakeContext()
    index.add(ctx, np.asarray([[0, 0], [3, 4]], np.float32))
    ids, scores = index.search(ctx, np.zeros((1, 2), np.float32), k=2)
    assert (ids.tolist(), scores.tolist()) == ([[0, 1]], [[0.0, 25.0]])
'''

SKETCH: Final = Sketch(
    "index",
    "Finds the nearest vectors by looking at all of them.",
    _CODE,
    _BENCH,
    _TEST,
)
