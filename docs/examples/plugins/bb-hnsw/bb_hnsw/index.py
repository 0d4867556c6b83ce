"""`Hnsw`: an Index whose work is done by usearch, on a thread of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError

METRICS = {"l2": "l2sq", "cosine": "cos", "inner_product": "ip"}
LARGEST = 1e15  # of an element: its square is a float32 with room to spare


@bb.concrete("bb_hnsw.Hnsw")
class Hnsw(bb.roles.Index):
    """A hierarchical navigable small world graph (Malkov & Yashunin 2018), by usearch.

    Add, Search and Remove are answered later: one worker thread does them in the order in which they came, and the Node
    goes on meanwhile. A vector whose id is stored already takes the place of the old one.

    Shape:
        vectors (n, dim) floating · ids (n,) i64, 0 or more · query (q, dim) · found ids (q, k) i64 · scores (q, k) f32,
        distances: squared (`l2`), or one minus the similarity (`cosine`, `inner_product`); the smallest first
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """The graph, and how far it is searched; the names are usearch's."""

        dim: int = 8
        """Length of a vector."""
        metric: str = "l2"
        """`l2`, `cosine` or `inner_product`."""
        connectivity: int = 16
        """Neighbours of a vector in the graph: M in the paper."""
        expansion_add: int = 128
        """Candidates when a vector is added: efConstruction."""
        expansion_search: int = 64
        """Candidates when one is searched for: ef. The more, the fewer neighbours are missed."""
        background: bool = True
        """Work on a thread. False: at once, for `bb.run` and simulations, whose time is virtual."""

        def __post_init__(self) -> None:
            if self.metric not in METRICS:
                raise ValueError(f"metric is {self.metric!r}; expected one of {', '.join(METRICS)}")
            for name in ("dim", "connectivity", "expansion_add", "expansion_search"):
                if getattr(self, name) < 1:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._graph: Any = None  # made when it is first needed: a constructor does no work
        self._worker: ThreadPoolExecutor | None = None
        self._next = 0

    def snapshot(self) -> bb.State:
        """Return the graph as usearch writes it. Waits for the work that is under way, so that none is done twice."""
        self._finish()
        return {"next": self._next, "graph": bytes(self._graph.save()) if self._graph is not None else b""}

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        self._finish()
        self._next, self._graph = state["next"], None
        if state["graph"]:
            self._ready().load(bytearray(state["graph"]))

    # --- ops ----------------------------------------------------------------------------------------------------------

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        """Store vectors and return their ids; without `ids` new ones are given out.

        Raises:
            RoleError: vectors of another length, or not finite; ids that are below 0, given twice, or not one for each.
        """
        rows = self._rows(vectors)
        given = None if ids is None else _ids(ids, len(rows))

        def work() -> bb.Tensor:
            graph = self._ready()
            keys = np.arange(self._next, self._next + len(rows)) if given is None else given
            if given is not None and len(given):
                graph.remove(given[np.atleast_1d(graph.contains(given))], threads=1)
            if len(keys):
                graph.add(keys, rows, threads=1)  # one thread: the graph depends on the order
                self._next = max(self._next, int(keys.max()) + 1)
            return keys.copy()

        return self._later(ctx, work)

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the `k` nearest that it finds of each query, nearest first; id -1 where there are fewer."""
        rows = self._rows(query)

        def work() -> tuple[bb.Tensor, bb.Tensor]:
            found = np.full((len(rows), k), -1, np.int64)
            scores = np.full((len(rows), k), np.inf, np.float32)
            graph = self._ready()
            if len(graph) and len(rows):
                matches = graph.search(rows, min(k, len(graph)), threads=1)
                keys, far = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
                for row, count in enumerate(getattr(matches, "counts", [keys.shape[1]])):  # one query has no counts
                    found[row, :count], scores[row, :count] = keys[row, :count], far[row, :count]
            return found, scores

        return self._later(ctx, work)

    def remove(self, ctx: bb.Context, ids: bb.Tensor) -> None:
        """Forget vectors; an unknown id is no error."""
        known = np.unique(np.asarray(ids, np.int64))

        def work() -> None:
            graph = self._ready()
            wanted = known[known >= 0]
            if len(wanted):
                graph.remove(wanted[np.atleast_1d(graph.contains(wanted))], threads=1)

        return self._later(ctx, work)

    def size(self, ctx: bb.Context) -> bb.Tensor:
        """Return how many vectors are stored, once what came before is done."""
        return self._later(ctx, lambda: np.asarray(len(self._ready()), np.int64))

    # --- the worker ---------------------------------------------------------------------------------------------------

    def _later(self, ctx: bb.Context, work: Callable[[], Any]) -> Any:
        """Promise an answer, and have the worker give it."""
        if not self.config.background:
            return work()
        later = ctx.later()  # it may be refused: nothing has changed until here

        def run() -> None:
            if not later.is_open:
                return  # nobody waits any more
            try:
                outputs = work()
            except Exception as error:
                later.fail(error)
            else:
                later.complete(*(outputs if isinstance(outputs, tuple) else () if outputs is None else (outputs,)))

        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "bb-hnsw")
        self._worker.submit(run)
        return later  # a Later stands for the promised output

    def _finish(self) -> None:
        """Wait until the worker has nothing to do."""
        if self._worker is not None:
            self._worker.submit(int).result()

    def _ready(self) -> Any:
        """Return the graph."""
        if self._graph is None:
            from usearch.index import Index

            config = self.config
            self._graph = Index(
                ndim=config.dim,
                metric=METRICS[config.metric],
                dtype="f32",
                connectivity=config.connectivity,
                expansion_add=config.expansion_add,
                expansion_search=config.expansion_search,
            )
        return self._graph

    # --- what is given ------------------------------------------------------------------------------------------------

    def _rows(self, vectors: bb.Tensor) -> bb.Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self.config.dim:
            raise RoleError(f"vectors have the shape {vectors.shape}", expected=f"(n, {self.config.dim})")
        if not np.issubdtype(vectors.dtype, np.floating) or not np.all(np.abs(vectors) <= LARGEST):
            raise RoleError("vectors are no floats, hold NaN or are too large", expected=f"at most {LARGEST:g}")
        return np.array(vectors, np.float32)


def _ids(ids: bb.Tensor, count: int) -> bb.Tensor:
    given = np.asarray(ids)
    if given.shape != (count,) or not np.issubdtype(given.dtype, np.integer):
        raise RoleError(
            f"{count} vectors have ids of shape {given.shape} and {given.dtype}", expected=f"({count},) i64"
        )
    if len(np.unique(given)) != count or given.min(initial=0) < 0:
        raise RoleError("an id is given twice, or below 0", expected="one id for each vector, 0 or more")
    return np.array(given, np.int64)
