"""CoordinateMedian, TrimmedMean, Krum and MultiKrum: what they give, what they withstand, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bb_core as bb
from bb_core.errors import ConfigError, ContributionRefused
from bb_core.plugins import installed_plugins
from bb_plugins.aggregators.krum import Krum, MultiKrum, scores
from bb_plugins.aggregators.reductions import weighted_mean
from bb_plugins.aggregators.trimming import CoordinateMedian, TrimmedMean, dropped_of
from tests.oracles import aggregation as oracle
from tests.plugins.aggregators.rounds import aggregated, updates
from tests.plugins.fake_context import FakeContext
from tests.support import AVERAGING, Averaging, Numbers

ALL: dict[str, Any] = {cls.__name__: cls for cls in (CoordinateMedian, TrimmedMean, Krum, MultiKrum)}


def made(name: str, **options: Any) -> Any:
    return ALL[name](ALL[name].Config(**options))


# --- what all have in common ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_plugin_registers_it(name: str) -> None:
    cls = installed_plugins().resolve(f"bytesandbrains.{name}")
    assert (cls.__module__, cls.__qualname__) == (ALL[name].__module__, name)


@pytest.mark.parametrize("name", ALL)
def test_the_result_is_f32_of_the_updates_shape_and_owns_its_memory(name: str) -> None:
    many = [u.reshape(4, 25) for u in updates(7)]
    result, stats = aggregated(made(name), many)
    assert (result.dtype, result.shape, stats["peers"]) == (np.float32, (4, 25), 7)
    assert not any(np.shares_memory(result, u) for u in many)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("bad", "says"), [(np.nan, "NaN"), (-np.inf, "NaN or infinity")])
def test_an_update_that_is_not_finite_is_refused(name: str, bad: float, says: str) -> None:
    many = updates(7)
    many[3][50] = bad
    with pytest.raises(ContributionRefused, match=says):
        aggregated(made(name), many)


@pytest.mark.parametrize("name", ALL)
def test_alike_updates_are_returned_as_they_are(name: str) -> None:
    (update,) = updates(1)
    result, _ = aggregated(made(name), [update] * 9)
    np.testing.assert_allclose(result, update, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_liars_move_it_no_further_than_the_honest_reach(name: str) -> None:
    honest = [1 + np.float32(0.1) * u for u in updates(8, 500)]
    lies = [np.full(500, 1e30, np.float32), np.full(500, -1e30, np.float32)]
    options = {
        "Krum": {"liars": 2, "minimum": 7},
        "MultiKrum": {"liars": 2, "minimum": 7},
        "TrimmedMean": {"trim": 0.2},
    }
    result, _ = aggregated(made(name, **options.get(name, {})), [lies[0], *honest, lies[1]])
    assert np.abs(result - np.mean(honest, axis=0)).max() < 0.5


@pytest.mark.parametrize("name", ALL)
def test_it_is_restored_with_what_it_was_given(name: str) -> None:
    many = updates(6)
    expected, _ = aggregated(made(name), many)
    first, second, ctx = made(name), made(name), FakeContext()
    ctx.request, ctx.is_response, ctx.requests = 7, True, (7,)
    cohort = bb.PeerList(bb.PeerId.from_int(n) for n in range(6))
    for source, update in zip(cohort, many, strict=True):
        ctx.source = source
        first.contribute(ctx, update, bb.Record())
    second.restore(first.snapshot())
    second.collect(ctx, cohort)
    np.testing.assert_array_equal(second.aggregate(ctx)[0], expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CoordinateMedian", {"quorum": 0}),
        ("CoordinateMedian", {"minimum": 0}),
        ("TrimmedMean", {"trim": 0.5}),
        ("TrimmedMean", {"trim": -0.1}),
        ("TrimmedMean", {"trim": float("nan")}),
        ("TrimmedMean", {"minimum": 0}),
        ("Krum", {"liars": -1}),
        ("Krum", {"liars": 2}),
        ("Krum", {"quorum": 4}),
        ("MultiKrum", {"keep": 0}),
        ("MultiKrum", {"minimum": 4}),
    ],
)
def test_illegal_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(name, **options)


def test_a_program_is_told_of_an_illegal_option() -> None:
    class Rounds(bb.Module):
        aggregator = bb.AggregatorSlot()

        def body(self, g: bb.Graph) -> None:
            params, _ = self.aggregator.aggregate(g, after=g.input("go", bb.types.TRIGGER))
            g.output("params", params)

    with pytest.raises(ConfigError, match=r"trim is 0\.7"):
        bb.Compiler().bind({"aggregator": bb.use("bytesandbrains.TrimmedMean", trim=0.7)}).compile(Rounds())


# --- each -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(0, 100))
def test_the_median_is_numpys(count: int, seed: int) -> None:
    many = updates(count, seed=seed)
    result, stats = aggregated(made("CoordinateMedian"), many)
    np.testing.assert_array_equal(result, oracle.median(many).astype(np.float32))
    assert stats == bb.Record(peers=count)


@given(st.integers(1, 20), st.floats(0, 0.49), st.integers(0, 100))
def test_the_trimmed_mean_is_within_its_stated_bound(count: int, trim: float, seed: int) -> None:
    many = updates(count, seed=seed)
    result, stats = aggregated(made("TrimmedMean", trim=trim), many)
    bound = (count + 1) * 2.0**-24 * max(float(np.abs(u).max()) for u in many)
    assert np.abs(result - oracle.trimmed_mean(many, stats["dropped"])).max() <= bound


@pytest.mark.parametrize(
    ("peers", "trim", "dropped"),
    [(10, 0.1, 1), (30, 0.1, 3), (5, 0.1, 1), (10, 0.0, 0), (2, 0.4, 0), (3, 0.4, 1), (1, 0.3, 0), (100, 0.49, 49)],
)
def test_a_share_is_rounded_up_and_leaves_one(peers: int, trim: float, dropped: int) -> None:
    assert dropped_of(peers, trim) == dropped


@given(st.integers(0, 3), st.integers(0, 6), st.integers(0, 100))
def test_krum_chooses_as_the_paper_does(liars: int, more: int, seed: int) -> None:
    count = 2 * liars + 3 + more
    many = updates(count, seed=seed)
    result, stats = aggregated(made("Krum", liars=liars, minimum=count), many)
    (chosen,) = stats["chosen"]
    assert [chosen] == oracle.krum(many, liars)
    np.testing.assert_array_equal(result, many[chosen])


@pytest.mark.parametrize(("keep", "taken"), [(1, 1), (4, 4), (None, 7), (100, 7)])
def test_multi_krum_is_the_mean_of_the_best(keep: int | None, taken: int) -> None:
    many = updates(9)
    result, stats = aggregated(made("MultiKrum", liars=2, minimum=7, keep=keep), many)
    chosen = stats["chosen"].tolist()
    assert chosen == oracle.krum(many, 2, taken)
    np.testing.assert_array_equal(result, weighted_mean([many[i] for i in chosen], [1] * taken))


def test_of_equal_scores_the_smallest_id_wins() -> None:
    many = [np.full(3, n % 2, np.float32) for n in range(8)]
    _, stats = aggregated(made("Krum"), many)
    assert stats["chosen"].tolist() == [0]


def test_scores_leave_out_an_update_itself_even_beside_its_copy() -> None:
    distances = np.array([[0, 0, 4, 9, 9], [0, 0, 4, 9, 9], [4, 4, 0, 1, 1], [9, 9, 1, 0, 2], [9, 9, 1, 2, 0.0]])
    assert scores(distances, 1).tolist() == [4, 4, 2, 3, 3]


@pytest.mark.parametrize("name", ["Krum", "MultiKrum"])
def test_too_few_to_choose_from_is_refused(name: str) -> None:
    with pytest.raises(ContributionRefused, match=r"4 updates are too few(.|\n)*at least 5"):
        aggregated(made(name), updates(4))


def test_infinitely_distant_updates_are_never_chosen() -> None:
    """The square of their distance overflows."""
    many = [*updates(6), np.full(100, 3e38, np.float32)]
    _, stats = aggregated(made("MultiKrum"), many)
    assert 6 not in stats["chosen"]


# --- across the wire --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_round_between_nodes_withstands_a_client_who_lies(name: str) -> None:
    clients = 7
    bindings = {**AVERAGING, "aggregator": f"bytesandbrains.{name}"}
    bindings["data"] = bb.each(Numbers, lambda client: {"numbers": (1e9 if client == 3 else 1 + client / 100,)})
    found = bb.run(Averaging(clients), bindings=bindings, peers={"client": clients}, rounds=2)
    assert found.failures == []
    (params,) = found.metrics[1]["params"]
    assert 2 <= params <= 2.14  # two rounds of about one
    assert found.metrics[1]["training"]["peers"] == clients
