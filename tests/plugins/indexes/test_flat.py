"""FlatIndex against plain numpy in f64, whatever was added, replaced and removed before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bb_core as bb
from bb_core.errors import RoleError
from bb_core.testing import FakeContext, bring_up
from bb_plugins.indexes.flat import METRICS, FlatIndex

CTX = FakeContext()


def made(**options: Any) -> FlatIndex:
    return FlatIndex(FlatIndex.Config(**options))


def vectors(count: int, dim: int, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal((count, dim)).astype(np.float32)


def scores_of(stored: Any, query: Any, metric: str) -> Any:
    """The oracle: one score for each query and vector, in f64."""
    a, b = np.asarray(query, np.float64)[:, None], np.asarray(stored, np.float64)[None]
    if metric == "l2":
        return ((a - b) ** 2).sum(axis=2)
    if metric == "cosine":
        lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
        return (a * b).sum(axis=2) / np.where(lengths > 0, lengths, 1)
    return (a * b).sum(axis=2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("count", "dim", "k"), [(1, 1, 1), (7, 3, 7), (255, 8, 10), (256, 9, 1), (257, 16, 300), (1000, 65, 10)]
)
def test_it_finds_what_numpy_finds(metric: str, count: int, dim: int, k: int) -> None:
    stored, query = vectors(count, dim), vectors(5, dim, seed=1)
    index = made(metric=metric)
    ids = index.add(CTX, stored)
    found, scores = index.search(CTX, query, k=k)
    expected = scores_of(stored, query, metric)
    sign = 1 if metric == "l2" else -1
    filled = min(k, count)
    order = np.argsort(sign * expected, axis=1, kind="stable")[:, :filled]
    assert (found.shape, scores.shape, found.dtype, scores.dtype) == ((5, k), (5, k), np.int64, np.float32)
    np.testing.assert_array_equal(found[:, :filled], ids[order])
    np.testing.assert_allclose(scores[:, :filled], np.take_along_axis(expected, order, 1), rtol=1e-4, atol=1e-5)
    assert (found[:, filled:] == -1).all()
    assert np.isinf(scores[:, filled:]).all()


def test_close_vectors_far_from_the_origin_are_told_apart() -> None:
    """|a|^2 + |b|^2 - 2ab in f32 gives zero or less for all of these."""
    stored = np.full((64, 8), 1000, np.float32)
    stored[:, 0] += np.arange(64) * np.float32(0.001)
    index = made()
    index.add(CTX, stored)
    found, scores = index.search(CTX, stored[:1], k=64)
    assert found[0].tolist() == list(range(64))
    np.testing.assert_allclose(scores[0], scores_of(stored, stored[:1], "l2")[0], rtol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_scores_the_smaller_id_comes_first_however_they_came(metric: str) -> None:
    ids = np.random.Generator(np.random.Philox(3)).permutation(600)
    index = made(metric=metric)
    index.add(CTX, np.ones((600, 4), np.float32), ids)
    found, _ = index.search(CTX, np.ones((1, 4), np.float32), k=20)
    assert found[0].tolist() == list(range(20))


class Histories(RuleBasedStateMachine):
    """Adds, replacements and removals in any order: what is found is what a dict of vectors would give."""

    @initialize(metric=st.sampled_from(METRICS))
    def begin(self, metric: str) -> None:
        self.metric, self.index, self.known = metric, made(dim=3, metric=metric), {}

    @rule(count=st.integers(0, 300), seed=st.integers(0, 9))
    def add(self, count: int, seed: int) -> None:
        new = vectors(count, 3, seed)
        ids = self.index.add(CTX, new).tolist()
        assert not self.known.keys() & set(ids)
        self.known |= dict(zip(ids, new, strict=True))

    @rule(ids=st.sets(st.integers(0, 400), max_size=40), seed=st.integers(0, 9))
    def put(self, ids: set[int], seed: int) -> None:
        new = vectors(len(ids), 3, seed)
        self.index.add(CTX, new, np.asarray(sorted(ids), np.int64))
        self.known |= dict(zip(sorted(ids), new, strict=True))

    @rule(ids=st.sets(st.integers(0, 400), max_size=200))
    def remove(self, ids: set[int]) -> None:
        self.index.remove(CTX, np.asarray(sorted(ids), np.int64))
        self.known = {i: v for i, v in self.known.items() if i not in ids}

    @rule()
    def keep(self) -> None:
        state = self.index.snapshot()
        self.index = made(dim=3, metric=self.metric)
        self.index.restore(state)

    @invariant()
    def it_finds_what_is_there(self) -> None:
        if not hasattr(self, "index"):
            return
        assert int(self.index.size(CTX)) == len(self.known)
        found, _ = self.index.search(CTX, vectors(2, 3, 77), k=len(self.known) + 1)
        ids = sorted(self.known)
        sign = 1 if self.metric == "l2" else -1
        expected = np.zeros((2, 0))
        if ids:
            expected = sign * scores_of(np.asarray([self.known[i] for i in ids]), vectors(2, 3, 77), self.metric)
        for row, scores in zip(found, expected, strict=True):
            assert sorted(row[:-1].tolist()) == ids
            assert row[-1] == -1
            in_order = scores[np.searchsorted(ids, row[:-1])]
            assert (np.diff(in_order) >= -1e-5).all()


Histories.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestHistories = Histories.TestCase


@given(st.integers(0, 50))
def test_results_are_the_same_bytes_whatever_happened_before(seed: int) -> None:
    stored, query = vectors(300, 5, seed), vectors(3, 5, seed + 1)
    plain, other = made(), made()
    plain.add(CTX, stored)
    order = np.random.Generator(np.random.Philox(seed)).permutation(300)
    other.add(CTX, vectors(200, 5, seed + 2), np.arange(1000, 1200))
    other.add(CTX, stored[order], order)
    other.remove(CTX, np.arange(1000, 1200))
    alone = [plain.search(CTX, query[n : n + 1], k=9) for n in range(3)]
    for ours, theirs in zip(plain.search(CTX, query, k=9), other.search(CTX, query, k=9), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert np.concatenate([scores for _, scores in alone]).tobytes() == plain.search(CTX, query, k=9)[1].tobytes()


def test_a_removed_vector_leaves_no_trace_and_its_memory_is_given_back() -> None:
    index = made()
    index.add(CTX, vectors(10_000, 8))
    before = index._blocks.nbytes
    index.remove(CTX, np.arange(1, 10_000))
    assert index._blocks.nbytes < before / 10
    assert np.count_nonzero(index._blocks.any(axis=1)) == 1
    assert index.add(CTX, vectors(1, 8)).tolist() == [10_000]


def test_a_vector_of_zeros_is_at_a_right_angle_to_all() -> None:
    index = made(metric="cosine")
    index.add(CTX, np.asarray([[0, 0], [1, 1], [-1, 0]], np.float32))
    found, scores = index.search(CTX, np.asarray([[3, 0]], np.float32), k=3)
    assert found[0].tolist() == [1, 0, 2]
    np.testing.assert_allclose(scores[0], [np.sqrt(0.5), 0, -1], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((np.zeros(3, np.float32), None), r"shape \(3,\)(.|\n)*\(n, 2\)"),
        ((np.zeros((1, 3), np.float32), None), r"\(n, 2\)"),
        ((np.zeros((1, 2), np.int64), None), "floating point"),
        ((np.full((1, 2), np.nan, np.float32), None), "NaN"),
        ((np.full((1, 2), 1e16, np.float32), None), "too large"),
        ((np.zeros((2, 2), np.float32), np.asarray([1])), r"\(2,\) i64"),
        ((np.zeros((1, 2), np.float32), np.asarray([1.0])), "i64"),
        ((np.zeros((1, 2), np.float32), np.asarray([-1])), "an id is -1"),
        ((np.zeros((2, 2), np.float32), np.asarray([4, 4])), "given twice"),
        ((np.zeros((4, 2), np.float32), None), "at most 4"),
        ((np.zeros((1, 2), np.float32), np.asarray([2**63 - 1])), "2\\*\\*63 - 2"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_changes_nothing(given: tuple[Any, Any], says: str) -> None:
    index = made(dim=2, most=4)
    index.add(CTX, np.ones((1, 2), np.float32))
    before = index.snapshot()
    with pytest.raises(RoleError, match=says):
        index.add(CTX, *given)
    after = index.snapshot()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_when_the_ids_run_out_it_says_so() -> None:
    index = made()
    index.add(CTX, np.ones((1, 2), np.float32), np.asarray([2**63 - 2]))
    with pytest.raises(RoleError, match="no ids left"):
        index.add(CTX, np.ones((1, 2), np.float32))


@pytest.mark.parametrize("options", [{"dim": 0}, {"most": 0}, {"metric": "cosin"}])
def test_illegal_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(**options)


class Library(bb.Module):
    """A librarian answers questions of readers: the query crosses the wire, and so do ids and scores."""

    shelves = bb.PeerSelectorSlot(peer_class="librarian")
    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        question = g.input("question", bb.f32["Q", 4])
        asked = g.send(question, to=self.shelves.sample(g, n=1, after=question))
        found, scores = self.index.search(g, asked, k=3)
        ids, how_near = g.reply((found, scores), to=asked)
        g.output("ids", g.stack(g.gather(ids, deadline="30s")))
        g.output("scores", g.stack(g.gather(how_near, deadline="30s")))


def test_a_program_asks_another_nodes_index() -> None:
    bindings = {"shelves": "bytesandbrains.ConstantView", "index": bb.use("bytesandbrains.FlatIndex", dim=4)}
    loopback = bring_up(Library(), bindings, {"librarian": 1})
    stored, query = vectors(50, 4), vectors(2, 4, seed=9)
    reader, librarian = loopback.nodes
    loopback.nodes[librarian].component("index").add(CTX, stored)
    loopback.invoke(reader, "Library", {"question": query})
    loopback.run_until_quiet()
    answers = {s.step.port: s.step.value for s in loopback.seen if hasattr(s.step, "port")}
    expected = scores_of(stored, query, "l2")
    np.testing.assert_array_equal(answers["ids"][0], np.argsort(expected, axis=1)[:, :3])
    np.testing.assert_allclose(answers["scores"][0], np.sort(expected, axis=1)[:, :3], rtol=1e-5)
