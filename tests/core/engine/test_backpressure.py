"""What a Node with too much to do says to those who send to it, and how they are heard again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.engine.backpressure import (
    ADMIT,
    DROP_SILENTLY,
    FORGIVEN,
    INTERVAL,
    LONGEST,
    NOTICE_SITE,
    RECOVERY,
    SUPPRESS,
    Action,
    Cause,
    Notice,
    Overload,
    Verdict,
    read_notice,
    write_notice,
)
from bb_core.errors import PayloadError
from bb_core.ids import PeerId
from bb_core.values import TRIGGER, Record
from bb_core.wire.payloads import decode_value, encode_value

SECOND = 10**9
A, B, C = (PeerId.from_int(n) for n in range(3))


def notify(seconds: int) -> Verdict:
    return Verdict(Action.NOTIFY, seconds * SECOND)


def silenced(*peers: PeerId, now: int = 0) -> tuple[Overload, int]:
    """A Node that has silenced some peers, and the time."""
    overload = Overload()
    for peer in peers:
        for seconds in (1, 2, 4):
            assert overload.observe(peer, 80, 100, now) == notify(seconds)
            now += seconds * SECOND
    return overload, now


@pytest.mark.parametrize(
    ("load", "capacity", "verdict"),
    [(0, 100, ADMIT), (74, 100, ADMIT), (75, 100, notify(1)), (100, 100, notify(1)), (3071, 4096, ADMIT),
     (3072, 4096, notify(1)), (5, 0, notify(1))],
)  # fmt: skip
def test_notices_begin_at_the_high_water_mark(load: int, capacity: int, verdict: Verdict) -> None:
    assert Overload().observe(A, load, capacity, 0) == verdict


TIMELINE: list[tuple[int, int, Verdict]] = [
    (0, 80, notify(1)),  # also when the clock begins at zero
    (0, 80, SUPPRESS),
    (SECOND - 1, 99, SUPPRESS),
    (SECOND, 80, notify(2)),
    (2 * SECOND, 80, SUPPRESS),
    (3 * SECOND, 60, ADMIT),
    (3 * SECOND, 80, notify(4)),
    (3 * SECOND, 80, DROP_SILENTLY),
    (10 * SECOND, 60, DROP_SILENTLY),  # below the high-water mark is not enough
    (10 * SECOND, 49, ADMIT),
    (10 * SECOND, 80, notify(4)),  # one notice is left
    (11 * SECOND, 80, DROP_SILENTLY),
    (40 * SECOND - 1, 80, DROP_SILENTLY),
    (40 * SECOND, 80, notify(4)),
    (40 * SECOND, 80, DROP_SILENTLY),
]


def test_three_notices_then_silence_then_another_chance() -> None:
    overload = Overload()
    assert [(now, load, overload.observe(A, load, 100, now)) for now, load, _ in TIMELINE] == TIMELINE


def test_what_is_not_dropped_is_taken_in() -> None:
    assert [v.is_admitted for v in (ADMIT, notify(1), SUPPRESS, DROP_SILENTLY)] == [True, True, True, False]


def test_each_peer_has_its_own_notices() -> None:
    overload, now = silenced(A)
    assert overload.observe(B, 80, 100, now) == notify(1)
    assert overload.silent_until(A) is not None
    assert overload.silent_until(B) is None


@pytest.mark.parametrize(("quiet", "asked"), [(0, 4), (FORGIVEN - 1, 4), (FORGIVEN, 2), (2 * FORGIVEN, 1),
                                              (99 * FORGIVEN, 1)])  # fmt: skip
def test_notices_are_forgiven_one_by_one(quiet: int, asked: int) -> None:
    overload = Overload()
    overload.observe(A, 80, 100, 0)
    overload.observe(A, 80, 100, SECOND)
    assert overload.observe(A, 80, 100, 3 * SECOND + quiet) == notify(asked)


def test_silence_ends_for_all_at_once_when_the_load_is_low_whoever_is_seen() -> None:
    overload, now = silenced(B, A)
    assert overload.recovered(now) == []
    overload.observe(C, 10, 100, now)
    assert overload.next_wakeup(now) == now
    assert overload.recovered(now) == [B, A]
    assert overload.recovered(now) == []
    assert overload.observe(A, 60, 100, now) == ADMIT


def test_silence_ends_though_nobody_is_seen_any_more() -> None:
    overload, now = silenced(B, A)
    overload.relieve(50, 100, now)
    assert overload.recovered(now) == []
    overload.relieve(49, 100, now)
    assert overload.recovered(now) == [B, A]


def test_silence_ends_by_time_and_says_when() -> None:
    overload, _ = silenced(B, A)
    ends = [3 * SECOND + RECOVERY, 10 * SECOND + RECOVERY]
    assert overload.next_wakeup(10 * SECOND) == ends[0]
    assert overload.recovered(ends[0] - 1) == []
    assert overload.recovered(ends[0]) == [B]
    assert overload.next_wakeup(ends[0]) == ends[1]
    assert overload.recovered(ends[1] + 5) == [A]
    assert overload.next_wakeup(ends[1] + 5) is None


def test_a_peer_that_is_silenced_again_and_again_is_never_lost() -> None:
    overload, now = silenced(A)
    for _ in range(50):
        now += RECOVERY
        assert overload.observe(A, 100, 100, now).action is Action.NOTIFY
        assert overload.observe(A, 100, 100, now) == DROP_SILENTLY
    assert overload.observe(A, 0, 100, now) == ADMIT


def test_no_notice_asks_for_more_than_a_minute() -> None:
    overload, now, asked = Overload(notices=100), 0, []
    for _ in range(80):
        asked.append(overload.observe(A, 80, 100, now).min_backoff_ns)
        now += asked[-1]
    assert asked[:7] == [INTERVAL << n for n in range(6)] + [LONGEST]
    assert set(asked[7:]) == {LONGEST}


def test_the_peer_without_a_notice_for_longest_is_forgotten_first() -> None:
    overload = Overload(notices=1, most=2)
    for now, peer in enumerate((A, B, C)):
        overload.observe(peer, 80, 100, now)
    assert len(overload) == 2
    assert [overload.silent_until(p) is None for p in (A, B, C)] == [True, False, False]
    assert overload.recovered(10 * RECOVERY) == [B, C]


# --- the notice -------------------------------------------------------------------------------------------------------


def test_a_notice_travels_as_any_value() -> None:
    type_hash, payload, _ = encode_value(write_notice(SECOND, Cause.QUEUE))
    data = payload if isinstance(payload, bytes) else b"".join(payload)
    assert read_notice(decode_value(type_hash, memoryview(data))) == Notice(SECOND, "queue")


def test_the_site_of_notices_never_moves() -> None:
    assert NOTICE_SITE == 0xB9178100A15A74C9


def test_a_notice_of_a_later_release_is_understood() -> None:
    assert read_notice(Record(min_backoff_ns=5, cause="gpu", until=7)) == Notice(5, "gpu")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (TRIGGER, "Trigger"),
        (Record(), "for how long"),
        (Record(min_backoff_ns=-1, cause="queue"), "for how long"),
        (Record(min_backoff_ns=True, cause="queue"), "for how long"),
        (Record(min_backoff_ns=1.0, cause="queue"), "for how long"),
        (Record(min_backoff_ns=1), "why"),
        (Record(min_backoff_ns=1, cause=0), "why"),
        (Record(min_backoff_ns=1, cause="x" * 65), "why"),
    ],
)
def test_what_is_no_notice_is_the_senders_fault(value: Any, says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        read_notice(value)


# --- any history ------------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([80, 80, 80, 80, 60, 20]),
        st.sampled_from([0, 0, 1, SECOND, SECOND, 4 * SECOND, FORGIVEN, RECOVERY]),
        st.booleans(),
    ),
    max_size=80,
)


def play(overload: Overload, events: list[tuple[int, int, int, bool]], now: int) -> list[Any]:
    """Let things come in, and note what is said of them."""
    said: list[Any] = []
    for number, load, later, looks in events:
        now += later
        said.append(overload.observe(PeerId.from_int(number), load, 100, now))
        if looks:
            said += [overload.next_wakeup(now), overload.recovered(now)]
    return said


@given(EVENTS, st.integers(0, 80))
def test_a_copy_goes_on_as_the_original(events: list[tuple[int, int, int, bool]], at: int) -> None:
    original, copy = Overload(most=3), Overload(most=3)
    play(original, events[:at], 0)
    now = sum(event[2] for event in events[:at])
    copy.load(original.state())
    rest = [*events[at:], (0, 80, RECOVERY, True)]
    assert play(copy, rest, now) == play(original, rest, now)
    assert copy.state() == original.state()


@given(EVENTS)
def test_nobody_is_silenced_for_longer_than_the_longest_silence(events: list[tuple[int, int, int, bool]]) -> None:
    overload = Overload(most=3)
    play(overload, events, 0)
    now = sum(event[2] for event in events)
    when = overload.next_wakeup(now)
    assert when is None or now <= when <= now + RECOVERY
    overload.recovered(now + RECOVERY)
    assert all(overload.silent_until(PeerId.from_int(number)) is None for number in range(4))


def test_who_has_recovered_is_remembered_once_though_nobody_asks() -> None:
    overload = Overload()
    sender = PeerId.from_int(1)
    for cycle in range(50):
        now = cycle * 100 * SECOND
        for at in (0, 1, 3):
            overload.observe(sender, 9, 10, now + at * SECOND)
        assert overload.silent_until(sender) is not None
        overload.relieve(0, 10, now + 4 * SECOND)
    assert len(overload.state()["recovered"]) == 1
