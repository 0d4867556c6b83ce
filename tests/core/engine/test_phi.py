"""Whose silence is longer than usual, and when somebody has to look."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.engine.phi import DOWN, FLOOR, SUSPECT, WARM, FailureDetector, Health
from bb_core.ids import PeerId

SECOND = 10**9
MINUTE = 60 * SECOND
A, B, C = (PeerId.from_int(n) for n in range(3))
LN10 = 2.302585093


def answer(detector: FailureDetector, peer: PeerId, now: int, after: int) -> int:
    """Ask a peer, and let it answer some time later. Returns when it has."""
    detector.expect(peer, now)
    detector.heard(peer, now + after)
    detector.release(peer, now + after)
    return now + after


def used_to(interval: int, peers: Iterable[PeerId] = (A,)) -> tuple[FailureDetector, int]:
    """A detector that knows how long some peers take, and the time."""
    detector = FailureDetector()
    now = 0
    for peer in peers:
        for _ in range(WARM):
            now = answer(detector, peer, now, interval)
    return detector, now


def limit(interval: int, phi: int) -> int:
    """The last nanosecond of silence at which phi is not above a value."""
    return interval * phi * 2_302_585_093 // 10**9


# --- the formula ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elapsed", [0, 1, 3 * SECOND, 40 * SECOND, MINUTE])
def test_phi_is_the_silence_by_the_mean_and_ln_10(elapsed: int) -> None:
    detector, now = used_to(2 * SECOND)
    detector.expect(A, now)
    assert detector.phi(A, now + elapsed) == pytest.approx(elapsed / (2 * SECOND * math.log(10)))


def test_a_peer_is_suspect_above_8_and_down_above_16_and_not_a_nanosecond_earlier() -> None:
    detector, now = used_to(2 * SECOND)
    detector.expect(A, now)
    seen = []
    for phi, health in ((SUSPECT, Health.SUSPECT), (DOWN, Health.DOWN)):
        last = now + limit(2 * SECOND, phi)
        assert detector.changes(last) == []
        assert detector.next_change(last) == last + 1
        assert detector.changes(last + 1) == [(A, health)]
        assert detector.health(A) is health
        seen.append(detector.phi(A, last + 1))
    assert seen == pytest.approx([SUSPECT, DOWN])
    assert detector.next_change(now + MINUTE * 60) is None
    assert detector.changes(now + MINUTE * 60) == []


def test_nobody_is_judged_by_fewer_than_three_intervals() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(WARM):
        detector.expect(A, now)
        assert detector.next_change(now) is None
        assert detector.phi(A, now + MINUTE) == 0.0
        detector.heard(A, now + SECOND)
        detector.release(A, now + SECOND)
        now += SECOND
    detector.expect(A, now)
    assert detector.next_change(now) == now + limit(SECOND, SUSPECT) + 1


def test_a_mean_is_weighted_by_time() -> None:
    detector, now = FailureDetector(), 0
    intervals = [3 * SECOND, 4 * SECOND, 8 * SECOND, 2 * SECOND]
    for interval in intervals:
        now = answer(detector, A, now, interval)
    detector.expect(A, now)
    mean = sum(i * i for i in intervals) / sum(intervals)
    assert detector.phi(A, now + MINUTE) == pytest.approx(MINUTE / (mean * math.log(10)))


# --- rounds are bursty ------------------------------------------------------------------------------------------------


def test_the_time_between_rounds_is_nobodys_silence() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(20):
        now = answer(detector, A, now, SECOND)
        assert detector.next_change(now) is None
        now += 60 * MINUTE
        assert detector.changes(now) == []
    assert detector.phi(A, now) == 0.0


def test_a_burst_at_one_instant_is_one_observation() -> None:
    detector = FailureDetector()
    detector.expect(A, 0)
    for _ in range(50):
        detector.heard(A, 0)
    assert detector.next_change(0) is None
    assert detector.changes(60 * MINUTE) == []


def test_a_result_in_many_pieces_does_not_make_the_next_training_suspect() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(3):
        detector.expect(A, now)
        now += MINUTE
        assert detector.changes(now) == []
        for piece in range(101):
            now += 2 * SECOND if piece else 0
            detector.heard(A, now)
        detector.release(A, now)


def test_answers_of_a_millisecond_do_not_make_a_second_suspicious() -> None:
    detector, now = used_to(10**6)
    detector.expect(A, now)
    assert detector.next_change(now) == now + limit(FLOOR, SUSPECT) + 1


def test_requests_that_overlap_make_a_peer_known_though_it_answers_at_once() -> None:
    detector = FailureDetector()
    detector.expect(A, 0)
    for now in range(1, WARM + 1):
        detector.expect(A, now)
        detector.heard(A, now)
        detector.release(A, now)
    assert detector.next_change(WARM) == WARM + limit(FLOOR, SUSPECT) + 1


def test_a_second_request_does_not_begin_the_silence_anew() -> None:
    detector, now = used_to(SECOND)
    detector.expect(A, now)
    due = detector.next_change(now)
    detector.expect(A, now + 5 * SECOND)
    assert detector.next_change(now + 5 * SECOND) == due
    detector.release(A, now + 6 * SECOND)
    assert detector.next_change(now + 6 * SECOND) == due


def test_a_dead_peer_that_is_given_up_early_in_each_round_is_found_out() -> None:
    detector, now = used_to(SECOND)
    found: dict[Health, int] = {}
    for round_ in range(1, 10):
        detector.expect(A, now)
        now += 5 * SECOND
        found.update({health: round_ for _, health in detector.changes(now)})
        detector.release(A, now)
        now += MINUTE
        assert detector.changes(now) == []
    assert found == {Health.SUSPECT: 4, Health.DOWN: 8}


def test_a_late_answer_ends_a_silence_and_teaches_how_long_it_was_waited_for() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(WARM):
        detector.expect(A, now)
        detector.release(A, now + 5 * SECOND)
        detector.heard(A, now + MINUTE)
        now += 2 * MINUTE
    assert detector.phi(A, now) == 0.0
    detector.expect(A, now)
    assert detector.next_change(now) == now + limit(5 * SECOND, SUSPECT) + 1


# --- changes ----------------------------------------------------------------------------------------------------------


def test_the_first_word_makes_a_peer_up_and_is_told_once() -> None:
    detector, now = used_to(SECOND)
    detector.expect(A, now)
    now += MINUTE
    assert detector.changes(now) == [(A, Health.DOWN)]
    detector.heard(A, now)
    detector.heard(A, now)
    assert detector.health(A) is Health.UP
    assert detector.next_change(now) == now
    assert detector.changes(now) == [(A, Health.UP)]
    assert detector.changes(now) == []


def test_a_peer_that_is_down_stays_so_until_it_is_heard() -> None:
    detector, now = used_to(SECOND)
    detector.expect(A, now)
    now += MINUTE
    detector.changes(now)
    detector.release(A, now)
    assert detector.changes(now + MINUTE) == []
    detector.expect(A, now + MINUTE)
    assert detector.changes(now + 2 * MINUTE) == []
    assert detector.health(A) is Health.DOWN
    detector.release(A, now + 2 * MINUTE)
    detector.heard(A, now + 3 * MINUTE)
    assert detector.changes(now + 3 * MINUTE) == [(A, Health.UP)]


def test_changes_come_in_order_of_time_and_then_of_id() -> None:
    detector, now = used_to(SECOND, (C, B, A))
    slow, now_slow = PeerId.from_int(9), now
    for _ in range(WARM):
        now_slow = answer(detector, slow, now_slow, 2 * SECOND)
    now = now_slow
    for peer in (slow, C, A, B):
        detector.expect(peer, now)
    now += 20 * SECOND
    assert detector.changes(now) == [(p, Health.SUSPECT) for p in (A, B, C)]
    detector.heard(C, now)
    detector.heard(A, now)
    now += 20 * SECOND
    assert detector.changes(now) == [
        (C, Health.UP),
        (A, Health.UP),
        (B, Health.DOWN),
        (slow, Health.SUSPECT),
    ]


def test_an_outage_is_not_taken_for_a_habit() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(100):
        now = answer(detector, A, now, SECOND)
    now = answer(detector, A, now, 60 * MINUTE)
    detector.expect(A, now)
    assert limit(SECOND, SUSPECT) < detector.next_change(now) - now < 5 * limit(SECOND, SUSPECT)


def test_a_peer_that_has_become_slower_for_good_is_believed() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(100):
        now = answer(detector, A, now, SECOND)
    suspected = 0
    for _ in range(10):
        detector.expect(A, now)
        now += 60 * MINUTE
        suspected += bool([h for _, h in detector.changes(now) if h is not Health.UP])
        detector.heard(A, now)
        detector.release(A, now)
    assert suspected <= 4


def test_the_past_fades() -> None:
    detector, now = FailureDetector(), 0
    for _ in range(1000):
        now = answer(detector, A, now, 10 * SECOND)
    detector.expect(A, now)
    assert detector.phi(A, now + MINUTE) == pytest.approx(60 / (10 * LN10))
    detector.release(A, now)
    for _ in range(9000):
        now = answer(detector, A, now, 5 * SECOND)
    detector.expect(A, now)
    assert detector.phi(A, now + MINUTE) == pytest.approx(60 / (5 * LN10), rel=0.01)


# --- room -------------------------------------------------------------------------------------------------------------


def test_strangers_take_up_no_room() -> None:
    detector = FailureDetector()
    for number in range(100):
        detector.heard(PeerId.from_int(number), number)
        detector.release(PeerId.from_int(number), number)
    assert len(detector) == 0
    assert detector.health(A) is Health.UP


def test_of_whom_nothing_was_expected_for_longest_is_forgotten_first() -> None:
    detector = FailureDetector(most=2)
    for peer in (A, B):
        for now in range(WARM):
            answer(detector, peer, now * MINUTE, SECOND)
    answer(detector, A, 10 * MINUTE, SECOND)
    detector.expect(C, 11 * MINUTE)
    assert len(detector) == 2
    detector.expect(A, 11 * MINUTE)
    assert detector.next_change(11 * MINUTE) is not None


def test_who_is_waited_for_is_not_forgotten_for_another() -> None:
    detector = FailureDetector(most=1)
    for _ in range(WARM):
        answer(detector, A, 0, SECOND)
    detector.expect(A, 0)
    detector.expect(B, 0)
    assert len(detector) == 1
    detector.heard(B, SECOND)
    detector.release(B, SECOND)
    assert detector.changes(MINUTE) == [(A, Health.DOWN)]


def test_a_long_life_does_not_fill_the_heap() -> None:
    detector, now = FailureDetector(most=4), 0
    for number in range(2000):
        peer = PeerId.from_int(number % 7)
        detector.expect(peer, now)
        now += (1 + number % 5) * 40 * SECOND
        detector.heard(peer, now)
        detector.release(peer, now)
    assert len(detector) == 4
    assert len(detector.heap) <= 2 * 4 + 64


# --- any history ------------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["expect", "expect", "release", "heard", "heard", "changes", "look"]),
        st.integers(0, 4),
        st.sampled_from([0, 0, 1, SECOND // 2, SECOND, 3 * SECOND, 30 * SECOND, 10 * MINUTE]),
    ),
    max_size=120,
)


def play(detector: FailureDetector, events: list[tuple[str, int, int]], now: int) -> list[Any]:
    """Let things happen to a detector, and note what it says."""
    said: list[Any] = []
    for what, number, later in events:
        now += later
        peer = PeerId.from_int(number)
        if what == "changes":
            said.append(detector.changes(now))
        elif what == "look":
            said.append((detector.next_change(now), detector.phi(peer, now), detector.health(peer)))
        else:
            getattr(detector, what)(peer, now)
    return said


@given(EVENTS, st.integers(0, 120))
def test_a_copy_goes_on_as_the_original(events: list[tuple[str, int, int]], at: int) -> None:
    original, copy = FailureDetector(most=4), FailureDetector(most=4)
    play(original, events[:at], 0)
    now = sum(later for _, _, later in events[:at])
    copy.load(original.state())
    assert copy.state() == original.state()
    rest = [*events[at:], ("look", 0, 0), ("changes", 0, 60 * MINUTE)]
    assert play(copy, rest, now) == play(original, rest, now)
    assert copy.state() == original.state()


@given(EVENTS)
def test_it_says_exactly_when_something_changes(events: list[tuple[str, int, int]]) -> None:
    detector = FailureDetector(most=4)
    play(detector, events, 0)
    now = sum(later for _, _, later in events)
    detector.changes(now)
    when = detector.next_change(now)
    if when is None:
        assert detector.changes(now + 10**6 * MINUTE) == []
        return
    assert when > now
    assert detector.changes(when - 1) == []
    (changed, *_) = detector.changes(when)
    assert changed[1] is not Health.UP
    assert detector.phi(changed[0], when) >= {Health.SUSPECT: SUSPECT, Health.DOWN: DOWN}[changed[1]]


@given(EVENTS)
def test_what_stands_in_the_heap_is_what_a_look_at_all_peers_finds(events: list[tuple[str, int, int]]) -> None:
    detector = FailureDetector(most=4)
    now = 0
    for event in events:
        play(detector, [event], now)
        now += event[2]
        anew = FailureDetector(most=4)
        anew.load(detector.state())
        assert detector.next_change(now) == anew.next_change(now)
