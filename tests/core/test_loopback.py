"""The loop of virtual time: what is done when, and what surrounds the Nodes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import bb_core as bb
from bb_core.steps import AppEvent
from bb_core.testing import Loopback, Population, Surroundings
from tests.support import AVERAGING, Averaging, bring_up, peer

MS = 10**6


class Slow(Surroundings):
    """Ten milliseconds of the way, clocks that go twice as fast, and polls that keep peer 1 busy for a second."""

    def delays(self, source: bb.PeerId, peer: bb.PeerId, size: int, now: int) -> Sequence[int]:
        return (10 * MS,)

    def local(self, peer: bb.PeerId, now: int) -> int:
        return 2 * now

    def world(self, peer: bb.PeerId, when: int) -> int:
        return (when + 1) // 2

    def polled(self, which: bb.PeerId, node: bb.Node) -> int:
        return 1000 * MS if which == peer(1) else 0


def network(around: Surroundings, clients: int = 2) -> Loopback:
    nodes = bring_up(Averaging(clients), AVERAGING, clients).nodes.values()
    return Loopback(nodes, around)


def test_ideal_surroundings_take_no_time() -> None:
    loopback = network(Surroundings())
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert loopback.now == 0
    assert {s.step.port for s in loopback.seen if isinstance(s.step, AppEvent)} == {"training", "params"}
    assert loopback.polls >= 4


def test_a_busy_node_sends_when_it_is_done() -> None:
    loopback = network(Slow())
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert loopback.now == 1020 * MS


def test_a_busy_node_is_not_polled_again_before_it_is_done() -> None:
    loopback = network(Slow(), clients=1)
    loopback.run_to(1000 * MS)  # the first poll of all
    for _ in range(2):
        loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
        loopback.run_to(loopback.now + MS)
    loopback.run_to(2009 * MS)
    assert loopback.envelopes == 3
    loopback.run_to(2011 * MS)
    assert loopback.envelopes == 4


def test_a_deadline_is_met_by_the_nodes_own_clock() -> None:
    loopback = network(Slow())
    loopback.intercept(lambda source, destination, data: None)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert loopback.now == 5000 * MS  # ten seconds, on a clock that is twice as fast
    assert loopback.lost == loopback.envelopes == 2


def test_things_are_done_in_order_of_time() -> None:
    loopback, done = Loopback(), []
    for when in (3, 1, 2, 1):
        loopback.at(when, lambda when=when: done.append((when, loopback.now)))
    assert not loopback.run_to(2)
    assert done == [(1, 1), (1, 1), (2, 2)]
    assert loopback.now == 2
    assert loopback.run_to(10, lambda: len(done) == 4)
    assert loopback.now == 3
    loopback.run_to(10)
    assert loopback.now == 10


def test_what_is_under_way_to_a_node_that_goes_is_lost() -> None:
    loopback = network(Slow())
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_to(5 * MS)
    gone = loopback.remove(peer(2))
    assert gone.peer_id == peer(2)
    loopback.run_until_quiet()
    assert loopback.lost == 1


def test_a_node_can_come_when_something_reaches_it() -> None:
    population = Population(Averaging(2), AVERAGING, 2)

    class Lazy(Slow):
        def absent(self, which: bb.PeerId) -> bb.Node | None:
            return population.install(which) if which == peer(1) else None

    host = population.install(peer(0))
    for number in (1, 2):
        host.add_peer(peer(number), peer_class="client")
    loopback = Loopback([host], Lazy())
    loopback.invoke(peer(0), population.target, population.inputs())
    loopback.run_until_quiet()
    assert set(loopback.nodes) == {peer(0), peer(1)}
    assert loopback.lost == 1


@pytest.mark.parametrize(
    ("peers", "told"),
    [({}, "how many peers"), ({"client": 0}, "at least 1"), ({"clint": 2}, "client"), (0, "at least 1")],
)
def test_a_population_says_what_it_lacks(peers: dict[str, int] | int, told: str) -> None:
    with pytest.raises(bb.errors.UsageError) as caught:
        Population(Averaging(2), AVERAGING, peers)
    assert told in str(caught.value)
