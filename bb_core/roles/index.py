"""Index: finds the nearest vectors."""

from __future__ import annotations

from typing import ClassVar

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Positive, Role, abstract, op
from bb_core.values import Tensor


class Index(Role):
    """Store vectors and find those nearest to a query.

    Shape:
        vectors (n, dim) · ids (n,) i64 · query (q, dim) · scores (q, k)
    """

    role: ClassVar[str] = keys.INDEX

    @op("Add", outputs="ids")
    def add(self, ctx: Context, vectors: Tensor, ids: Tensor | None = None) -> Tensor:
        """Store vectors and return their ids; without `ids` new ones are given out."""
        raise NotImplementedError

    @op("Search", outputs="ids scores")
    def search(self, ctx: Context, query: Tensor, *, k: Positive) -> tuple[Tensor, Tensor]:
        """Return the `k` nearest of each query, nearest first; id -1 where there are fewer."""
        raise NotImplementedError

    @op("Remove")
    @abstract
    def remove(self, ctx: Context, ids: Tensor) -> None:
        """Forget vectors; an unknown id is no error."""
        raise NotImplementedError

    @op("Train")
    @abstract
    def train(self, ctx: Context, samples: Tensor) -> None:
        """Learn from samples what the index needs before Add; one that needs nothing leaves this out."""
        raise NotImplementedError

    @op("Size", outputs="size", version=2)
    def size(self, ctx: Context) -> Tensor:
        """Return how many vectors are stored, a scalar i64."""
        raise NotImplementedError
