"""How long peers take to answer, and what is expected of one that has answered little or never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.engine.rtt import WARM, Estimate, RoundTrips
from bb_core.ids import PeerId

MS = 10**6
A, B, C = (PeerId.from_int(n) for n in range(3))


def sampled(*samples: int) -> RoundTrips:
    """What is known after one peer's samples."""
    trips = RoundTrips()
    for elapsed in samples:
        trips.sample(A, elapsed)
    return trips


SERIES: list[tuple[tuple[int, ...], Estimate, Estimate]] = [
    ((800,), Estimate(800, 400, 1), Estimate(800, 400, 1)),
    ((801,), Estimate(801, 400, 1), Estimate(801, 400, 1)),
    # The distance is taken from the mean before: |1600 - 800|.
    ((800, 1600), Estimate(900, 500, 2), Estimate(800 - 12 + 25, 400 - 12 + 25, 2)),
    ((800, 1600, 0), Estimate(900 - 112, 500 - 125 + 225, 3), Estimate(813 - 12, 413 - 12 + 25, 3)),
    ((1024, 1024, 1024, 1024), Estimate(1024, 216, 4), Estimate(1024, 466, 4)),
]


@pytest.mark.parametrize(("samples", "of_the_peer", "of_all"), SERIES)
def test_the_estimator_is_that_of_rfc_6298_in_whole_nanoseconds(
    samples: tuple[int, ...], of_the_peer: Estimate, of_all: Estimate
) -> None:
    trips = sampled(*samples)
    assert trips.estimate(A) == of_the_peer
    assert trips.estimate() == of_all
    assert of_the_peer.budget == of_the_peer.srtt + 4 * of_the_peer.rttvar


def test_a_budget_is_the_callers_until_something_is_warm() -> None:
    trips = RoundTrips()
    for _ in range(WARM):
        assert trips.budget(A, 7) == 7
        trips.sample(A, 800)
    assert trips.budget(A, 7) == trips.estimate(A).budget


def test_a_stranger_is_expected_to_answer_as_peers_usually_do() -> None:
    trips = sampled(*[800] * WARM)
    trips.sample(B, 80_000)
    assert trips.budget(C, 7) == trips.estimate().budget
    assert trips.budget(B, 7) == trips.estimate().budget
    assert trips.estimate(C) is None


def test_one_slow_peer_changes_its_own_budget_more_than_that_of_strangers() -> None:
    trips = sampled(*[10 * MS] * 100)
    for _ in range(WARM):
        trips.sample(B, 1000 * MS)
    assert trips.budget(B, 0) > 1000 * MS
    assert trips.budget(A, 0) < 11 * MS
    assert trips.estimate().srtt < 100 * MS


def test_a_request_sent_twice_teaches_nothing() -> None:
    trips = sampled(800)
    before = trips.state()
    trips.sample(A, 5, retried=True)
    trips.sample(B, 5, retried=True)
    assert trips.state() == before


def test_each_peer_that_answers_a_request_to_several_gives_a_sample() -> None:
    trips = RoundTrips()
    for number, who in enumerate((A, B, C), 1):
        trips.sample(who, number * 100)
    assert [trips.estimate(who).srtt for who in (A, B, C)] == [100, 200, 300]
    assert trips.estimate().samples == 3


def test_the_peer_that_has_answered_nothing_for_longest_is_forgotten_first() -> None:
    trips = RoundTrips(most=2)
    for who in (A, B, A, C):
        trips.sample(who, 100)
    assert len(trips) == 2
    assert [trips.estimate(who) is None for who in (A, B, C)] == [False, True, False]


def test_asking_for_a_budget_changes_nothing() -> None:
    trips = RoundTrips(most=2)
    for who in (A, B):
        trips.sample(who, 100)
    before = trips.state()
    trips.budget(A, 0)
    assert trips.state() == before


SAMPLES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**12), st.booleans()), max_size=60)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200))
def test_a_mean_lies_among_its_samples(samples: list[int]) -> None:
    estimate = sampled(*samples).estimate(A)
    rounding = 1 << 3
    assert min(samples) - rounding <= estimate.srtt <= max(samples) + rounding
    assert 0 <= estimate.rttvar <= max(samples) + rounding


@given(SAMPLES, st.integers(0, 60))
def test_a_copy_goes_on_as_the_original(samples: list[tuple[int, int, bool]], at: int) -> None:
    original, copy = RoundTrips(most=3), RoundTrips(most=3)
    for number, elapsed, retried in samples[:at]:
        original.sample(PeerId.from_int(number), elapsed, retried=retried)
    copy.load(original.state())
    for number, elapsed, retried in samples[at:]:
        who = PeerId.from_int(number)
        for trips in (original, copy):
            trips.sample(who, elapsed, retried=retried)
        assert copy.budget(who, 1) == original.budget(who, 1)
    assert copy.state() == original.state()
