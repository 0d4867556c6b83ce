"""Pairs and crowds of real Nodes, over an in-memory network: what a round does, and what goes wrong in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors, steps
from bb_core.testing import Network
from tests.support import AVERAGING, Averaging, Itself, Mean, Weight, bring_up, kinds, of_kind, one_round, outputs, peer

SECOND = 10**9


def data(n: int) -> Mapping[str, Any]:
    """Client n holds the number n."""
    return {"data": {"numbers": (float(n),)}} if n else {}


def test_a_round_averages_what_the_clients_have_learnt() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data)
    given = one_round(loopback)
    assert given["training"] == bb.Record(peers=3)
    assert given["params"] == np.float32(2.0)
    assert loopback.nodes[peer(0)].component("model").value == np.float32(2.0)
    assert kinds(loopback.seen) == ["AppEvent", "AppEvent"]
    assert loopback.envelopes == 6


def test_rounds_build_on_one_another() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data)
    values = [float(one_round(loopback)["params"][0]) for _ in range(3)]
    assert values == [2.0, 4.0, 6.0]


def test_nothing_is_left_open_after_a_round() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data)
    one_round(loopback)
    for node in loopback.nodes.values():
        assert node.is_idle
        assert len(node._engine.requests) == 0
        assert node.poll(loopback.now).next_wakeup is None, node.explain_wakeup()


@pytest.mark.parametrize(
    "network",
    [
        Network(duplicate=1.0),
        Network(reorder=0.5, jitter_ns=5_000_000),
        Network(latency_ns=0),
        Network(duplicate=0.5, reorder=0.5, jitter_ns=1_000_000),
    ],
    ids=["all twice", "out of order", "no latency", "both"],
)
def test_the_network_does_not_change_the_result(network: Network) -> None:
    loopback = bring_up(Averaging(), AVERAGING, 5, config_of=data, network=network)
    assert [float(one_round(loopback)["params"][0]) for _ in range(3)] == [2.0, 4.0, 6.0]


def test_duplicates_are_dropped_with_a_step() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data, network=Network(duplicate=1.0))
    one_round(loopback)
    dropped = of_kind(loopback.seen, steps.Dropped)
    late = of_kind(loopback.seen, steps.EnvelopeRejected)
    assert len(dropped) + len(late) > 0
    assert all(isinstance(s.error, errors.UnexpectedResponse) for s in late)


def test_a_lost_update_is_missed_at_the_deadline_and_the_round_goes_on() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data)
    loopback.intercept(lambda source, to, data: None if source == peer(3) else data)
    given = one_round(loopback)
    assert given["training"] == bb.Record(peers=2)
    assert given["params"] == np.float32(1.5)
    assert loopback.now == 10 * SECOND


def test_nobody_answers() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 2, config_of=data)
    loopback.intercept(lambda source, to, data: None)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    (missed,) = of_kind(loopback.seen, steps.QuorumMissed)
    assert (missed.received, missed.cohort, missed.slot) == (0, 2, "aggregator")
    assert "support.py:" in missed.where
    assert outputs(loopback.seen) == {}


def test_a_late_update_is_refused_with_a_step() -> None:
    loopback = bring_up(Averaging(deadline="10s"), AVERAGING, 2, config_of=data)
    kept: list[bytes] = []
    loopback.intercept(lambda source, to, data: kept.append(data) if source == peer(2) else data)
    one_round(loopback)
    loopback.seen.clear()
    loopback.deliver(peer(0), peer(2), kept[0])
    loopback.run_until_quiet()
    (rejected,) = of_kind(loopback.seen, steps.EnvelopeRejected)
    assert isinstance(rejected.error, errors.UnexpectedResponse)


def test_a_response_of_someone_who_was_not_asked_is_refused() -> None:
    loopback = bring_up(Averaging(n=1), AVERAGING, 2, config_of=data)
    kept: list[bytes] = []

    def steal(source: Any, to: Any, data: bytes) -> bytes | None:
        if source == peer(1):
            kept.append(data)
            return None
        return data

    loopback.intercept(steal)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(kept))
    loopback.deliver(peer(0), peer(2), kept[0])
    loopback.run(lambda: bool(loopback.seen))
    assert "EnvelopeRejected" in kinds(loopback.seen)
    assert outputs(loopback.seen) == {}


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_quorum_closes_the_round_early(quorum: int) -> None:
    bindings = {**AVERAGING, "aggregator": bb.use(Mean, quorum=quorum)}
    loopback = bring_up(Averaging(), bindings, 3, config_of=data)
    assert one_round(loopback)["training"] == bb.Record(peers=quorum)
    assert loopback.now < SECOND


def test_too_few_answers_miss_the_quorum() -> None:
    bindings = {**AVERAGING, "aggregator": bb.use(Mean, minimum=3)}
    loopback = bring_up(Averaging(), bindings, 3, config_of=data)
    loopback.intercept(lambda source, to, data: None if source == peer(3) else data)
    assert one_round(loopback) == {}
    (missed,) = of_kind(loopback.seen, steps.QuorumMissed)
    assert (missed.received, missed.cohort) == (2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_contribution_that_is_not_finite_is_refused_with_a_step(bad: float) -> None:
    loopback = bring_up(
        Averaging(),
        AVERAGING,
        3,
        config_of=lambda n: {"data": {"numbers": (bad if n == 2 else float(n),)}} if n else {},
    )
    given = one_round(loopback)
    assert given["training"] == bb.Record(peers=2)
    (failed,) = of_kind(loopback.seen, steps.OpFailed)
    assert isinstance(failed.error, errors.ContributionRefused)
    assert (failed.op, failed.slot) == ("Contribute", "aggregator")


def test_a_concretes_fault_ends_its_branch_and_names_the_line() -> None:
    class Breaks(Weight):
        def train_epochs(self, ctx: bb.Context, data: Any, *, epochs: int = 1) -> Any:
            raise ZeroDivisionError("no data today")

    bb.concrete("tests.Breaks")(Breaks)
    loopback = bring_up(Averaging(), {**AVERAGING, "model": Breaks}, 1)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    (failed,) = of_kind(loopback.seen, steps.OpFailed)
    assert failed.op == "TrainEpochs"
    assert "support.py:" in failed.where
    assert "no data today" in str(failed.error)
    assert isinstance(failed.error, errors.RoleError)


def test_one_node_can_be_coordinator_and_client() -> None:
    artefact = bb.Compiler().bind({**AVERAGING, "cohort": Itself}).compile(Averaging(n=1))
    both = bb.install(peer(0), [], artefact, ["Averaging", "Averaging@client"], {"data": {"numbers": (3.0,)}})
    now, given = 0, {}
    both.invoke("Averaging", {"round": bb.TRIGGER}, now)
    for _ in range(10):
        for step in both.poll(now).steps:
            if isinstance(step, steps.SendEnvelope):
                both.receive(step.data, now, source=both.peer_id)
            elif isinstance(step, steps.AppEvent):
                given[step.port] = step.value
    assert given["params"] == np.float32(3.0)


def test_no_node_is_a_peer_of_its_own() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 2, config_of=data)
    loopback.nodes[peer(0)].add_peer(peer(0), peer_class="client")
    assert one_round(loopback)["training"] == bb.Record(peers=2)
    assert kinds(loopback.seen) == ["AppEvent", "AppEvent"]


def test_a_blocked_peer_is_not_chosen_and_no_round_waits_for_it() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 3, config_of=data)
    coordinator = loopback.nodes[peer(0)]
    coordinator.block(peer(1))
    given = one_round(loopback)
    assert given["training"] == bb.Record(peers=2)
    assert kinds(loopback.seen) == ["AppEvent", "AppEvent"]
    assert loopback.now < SECOND
    coordinator.unblock(peer(1))
    coordinator.allow_only([peer(1), peer(2)])
    assert one_round(loopback)["training"] == bb.Record(peers=2)
    coordinator.allow_only(None)
    assert one_round(loopback)["training"] == bb.Record(peers=3)


def test_two_rounds_at_once_do_not_mix_and_the_second_is_refused() -> None:
    loopback = bring_up(Averaging(), AVERAGING, 2, config_of=data)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert outputs(loopback.seen)["params"] == np.float32(1.5)
    failed = of_kind(loopback.seen, steps.OpFailed)
    assert [f.op for f in failed] == ["Collect"]
    assert "open on this Aggregator already" in str(failed[0].error)
    for n in (1, 2):
        log = loopback.nodes[peer(n)].component("model").log
        assert log == ["load 0", "train", "params"] * 2, "two Frames on one Model have mixed"


def test_same_seed_same_bytes() -> None:
    def wire() -> list[bytes]:
        loopback = bring_up(Averaging(), AVERAGING, 4, config_of=data, network=Network(loss=0.2, duplicate=0.2), seed=7)
        sent: list[bytes] = []
        loopback.intercept(lambda source, to, data: (sent.append(data), data)[1])
        for _ in range(3):
            one_round(loopback)
        return sent

    assert wire() == wire()


def test_what_arrived_before_the_deadline_counts_although_nobody_polled() -> None:
    loopback = bring_up(Averaging(n=1, deadline="10s"), AVERAGING, 1, config_of=data)
    answers: list[bytes] = []
    loopback.intercept(lambda source, to, data: answers.append(data) if source == peer(1) else data)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(answers))
    coordinator = loopback.nodes[peer(0)]
    coordinator.receive(answers[0], 9 * SECOND, source=peer(1))
    found = coordinator.poll(11 * SECOND).steps
    assert [type(s).__name__ for s in found] == ["AppEvent", "AppEvent"]


def test_what_arrives_after_the_deadline_does_not_count_although_nobody_polled() -> None:
    loopback = bring_up(Averaging(n=1, deadline="10s"), AVERAGING, 1, config_of=data)
    answers: list[bytes] = []
    loopback.intercept(lambda source, to, data: answers.append(data) if source == peer(1) else data)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(answers))
    coordinator = loopback.nodes[peer(0)]
    coordinator.receive(answers[0], 11 * SECOND, source=peer(1))
    found = coordinator.poll(12 * SECOND).steps
    assert [type(s).__name__ for s in found] == ["QuorumMissed", "EnvelopeRejected"]


class Tell(bb.Module):
    """Sends, and does not wait for an answer."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        g.output("told", g.send(start, to=self.cohort.current_view(g, after=start)))


def test_a_request_that_nobody_collects_ends_at_its_delivery_deadline() -> None:
    loopback = bring_up(Tell(), {"cohort": AVERAGING["cohort"]}, 2)
    one_round(loopback, "Tell")
    coordinator = loopback.nodes[peer(0)]
    assert len(coordinator._engine.requests) == 1
    when = coordinator.poll(loopback.now).next_wakeup
    assert when is not None
    assert "delivery of Send" in coordinator.explain_wakeup()
    (timeout,) = coordinator.poll(when).steps
    assert isinstance(timeout, steps.WireTimeout)
    assert timeout.peers == (peer(1), peer(2))
    assert len(coordinator._engine.requests) == 0
    assert coordinator.poll(when).next_wakeup is None
