"""Token buckets: what each peer may send, and what is remembered of it."""

from __future__ import annotations

import pytest

from bb_core.engine.rates import MOST, SECOND, Rates
from tests.support import peer


@pytest.mark.parametrize("rate", [1, 2, 3, 7, 1000, 10**9])
def test_a_full_bucket_has_room_for_a_second_and_fills_in_one(rate: int) -> None:
    rates = Rates()
    tried = min(rate, 2000)
    assert all(rates.admits(peer(1), rate, 5) for _ in range(tried))
    if tried == rate:
        assert not rates.admits(peer(1), rate, 5)
        share = -(-SECOND // rate)
        assert not rates.admits(peer(1), rate, 5 + share - 1)
        assert rates.admits(peer(1), rate, 5 + share)
        assert not rates.admits(peer(1), rate, 5 + share)


def test_over_a_long_time_no_more_is_admitted_than_the_rate_and_one_bucket() -> None:
    rates = Rates()
    admitted = sum(rates.admits(peer(1), 7, now) for now in range(0, 100 * SECOND, SECOND // 50))
    assert 7 * 100 <= admitted <= 7 * 101


def test_peers_do_not_take_from_each_other() -> None:
    rates = Rates()
    for _ in range(100):
        rates.admits(peer(1), 2, 0)
    assert rates.admits(peer(2), 2, 0)


def test_who_has_sent_nothing_for_a_second_is_forgotten_and_never_are_too_many_remembered() -> None:
    rates = Rates()
    for number in range(MOST + 100):
        rates.admits(peer(number), 10, 0)
    assert len(rates) == MOST
    for number in range(MOST):
        rates.admits(peer(1), 10, 10 * SECOND + number * SECOND)
    assert len(rates) == 1


def test_it_goes_on_from_its_state() -> None:
    rates, other = Rates(), Rates()
    for number in range(20):
        rates.admits(peer(number % 3), 4, number)
    other.load(rates.state())
    for now in range(0, 3 * SECOND, SECOND // 9):
        assert rates.admits(peer(1), 4, now) == other.admits(peer(1), 4, now)
    assert rates.state() == other.state()
