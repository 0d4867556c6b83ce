"""What is this Index's own: its neighbours are the exact ones, and the Node goes on while it works."""

from threading import Event
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import RoleError
from bb_core.steps import AppEvent
from bb_core.testing import FakeContext, bring_up
from bb_hnsw import Hnsw
from bb_plugins.indexes.flat import FlatIndex

CTX = FakeContext()


def vectors(count: int, dim: int = 16, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal((count, dim)).astype(np.float32)


def filled(count: int, **options: Any) -> tuple[Hnsw, FlatIndex]:
    metric = options.get("metric", "l2")
    pair = Hnsw(Hnsw.Config(dim=16, background=False, **options)), FlatIndex(FlatIndex.Config(dim=16, metric=metric))
    for index in pair:
        index.add(CTX, vectors(count))
    return pair


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_neighbours_are_the_exact_ones(metric: str) -> None:
    graph, exact = filled(500, metric=metric, expansion_search=256)
    query = vectors(50, seed=1)
    np.testing.assert_array_equal(graph.search(CTX, query, k=10)[0], exact.search(CTX, query, k=10)[0])


def test_they_are_still_exact_after_some_were_removed_replaced_and_kept() -> None:
    graph, exact = filled(500, expansion_search=256)
    for index in (graph, exact):
        index.remove(CTX, np.arange(0, 200, 2))
        index.add(CTX, vectors(50, seed=2), np.arange(1, 100, 2))
    again = Hnsw(graph.config)
    again.restore(graph.snapshot())
    query = vectors(50, seed=1)
    expected = exact.search(CTX, query, k=10)[0]
    np.testing.assert_array_equal(graph.search(CTX, query, k=10)[0], expected)
    np.testing.assert_array_equal(again.search(CTX, query, k=10)[0], expected)
    assert int(again.size(CTX)) == 400


def test_most_are_found_where_the_graph_is_large() -> None:
    graph, exact = filled(5000)
    query = vectors(100, seed=1)
    found, expected = (index.search(CTX, query, k=10)[0].tolist() for index in (graph, exact))
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)]) > 0.95


class Library(bb.Module):
    """A librarian stores what it is sent, and answers with what is nearest."""

    shelves = bb.PeerSelectorSlot(peer_class="librarian")
    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        books, query = g.input("books", bb.f32["N", 16]), g.input("query", bb.f32["Q", 16])
        librarian = self.shelves.sample(g, n=1, after=books)
        sent, asked = g.send((books, query), to=librarian)
        stored = self.index.add(g, sent)
        ids, _ = self.index.search(g, asked, k=3, after=stored)
        g.output("ids", g.stack(g.gather(g.reply(ids, to=asked), deadline="30s")))


def test_a_program_goes_on_when_the_worker_has_answered() -> None:
    called = Event()
    bindings = {"shelves": "bytesandbrains.ConstantView", "index": bb.use("bb_hnsw.Hnsw", dim=16)}
    loopback = bring_up(Library(), bindings, {"librarian": 1}, options=bb.NodeConfig(wake=called.set))
    books = vectors(300)
    own = next(iter(loopback.nodes))
    loopback.invoke(own, "Library", {"books": books, "query": books[[7, 3]]})
    found: list[Any] = []
    for now in range(10**7, 10**9, 10**7):  # not until all is quiet: the deadline of 30 s would pass, in virtual time
        called.clear()
        loopback.run_to(now)
        found = [s.step.value for s in loopback.seen if isinstance(s.step, AppEvent)]
        if found or not called.wait(timeout=30):
            break
        for peer in loopback.nodes:
            loopback.wake(peer)
    assert found[0][0, :, 0].tolist() == [7, 3]


@pytest.mark.parametrize(
    "ids", [np.asarray([1]), np.asarray([1, 1]), np.asarray([1, -1]), np.asarray([1.0, 2.0])], ids=str
)
def test_ids_that_do_not_fit_are_refused(ids: Any) -> None:
    with pytest.raises(RoleError):
        filled(1)[0].add(CTX, vectors(2), ids)
