"""Time passes when a test says so, and a fake Later does what a Node's does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bb_core.errors import DeadlinePassed, RoleError, UsageError
from bb_core.ids import PeerId
from bb_core.testing import FakeClock, FakeContext, strategies
from bb_core.testing.values import same
from bb_core.values import PeerList
from bb_core.wire.payloads import decode_value, encode_value


def test_calls_come_in_order_of_their_times() -> None:
    clock, seen = FakeClock(5), []
    for when in (30, 10, 10):
        clock.at(when, lambda when=when: seen.append((when, clock.now)))
    assert clock.advance(10) == 15
    assert seen == [(10, 10), (10, 10)]
    assert clock.advance_to_next()
    assert (clock.now, seen[-1]) == (30, (30, 30))
    assert not clock.advance_to_next()
    assert clock.advance("1ms") == 30 + 10**6


def test_time_never_goes_back() -> None:
    with pytest.raises(UsageError, match="cannot advance by -1"):
        FakeClock().advance(-1)


def test_a_later_ends_by_its_deadline_once() -> None:
    ctx, cancelled = FakeContext(), []
    later = ctx.later(10, None, None, lambda: cancelled.append(1))
    ctx.clock.advance(9)
    assert later.is_open
    ctx.clock.advance(1)
    assert isinstance(later.error, DeadlinePassed)
    later.complete("too late")
    assert (later.outputs, later.answers, cancelled) == (None, 2, [1])


def test_a_deadline_may_answer() -> None:
    ctx = FakeContext()
    later: Any = ctx.later(10, lambda ctx: later.complete(ctx.now))
    ctx.clock.advance(20)
    assert later.outputs == (10,)


def test_a_cancelled_later_hears_nothing() -> None:
    told: list[int] = []
    later = FakeContext().later(None, None, None, lambda: told.append(1))
    later.cancel()
    later.cancel()
    later.fail(ValueError("no"))
    assert (later.is_cancelled, later.error, told) == (True, None, [1])


def test_a_context_has_what_it_was_given() -> None:
    ctx = FakeContext(peers=2, dependencies={"compute": "backend"})
    assert ctx.peers() == (PeerId.from_int(1), PeerId.from_int(2))
    assert ctx.dependency("compute") == "backend"
    with pytest.raises(RoleError, match="does not declare"):
        ctx.dependency("other")
    ctx.publish("news")
    ctx.close([3])
    assert (ctx.published, ctx.closed, ctx.now) == (["news"], [3], 0)


@given(strategies.values())
def test_drawn_values_travel(value: Any) -> None:
    type_hash, payload, _ = encode_value(value)
    raw = b"".join(bytes(p) for p in payload) if isinstance(payload, tuple) else bytes(payload)
    assert same(decode_value(type_hash, raw), value)


@given(strategies.peer_lists())
def test_drawn_peers_are_sorted_and_differ(peers: PeerList) -> None:
    assert list(peers) == sorted(set(peers))
