"""What hosts use beyond bytes and time: workers for Concretes, and going on from a recording after a crash."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import bb_core as bb
from bb_core.errors import RecordingError, UnknownModule
from bb_core.steps import AppEvent, OpFailed, SendEnvelope
from bb_core.testing import Loopback
from tests.support import AVERAGING, Averaging, Weight, of_kind, one_round, outputs, peer


@bb.concrete("tests.Busy")
class Busy(Weight):
    """Trains where the host wants it."""

    def train_epochs(self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1) -> Any:
        batches = [batch for batch, _ in data.epoch(ctx)]

        def work() -> tuple[bb.Tensor, bb.Record]:
            if not len(batches[0]):
                raise ArithmeticError("nothing to learn from")
            self.value += sum(float(batch.sum()) for batch in batches)
            return self.value.copy(), bb.Record(num_samples=1)

        return ctx.offload(work)


BUSY = AVERAGING | {"model": Busy}


def nodes(artefact: Any, options: bb.NodeConfig | None = None, **config: Any) -> list[bb.Node]:
    own = bb.install(peer(0), [], artefact, ["Averaging"])
    client = bb.install(peer(1), [], artefact, ["Averaging@client"], config, options)
    own.add_peer(peer(1), peer_class="client")
    return [own, client]


def compiled() -> Any:
    return bb.Compiler().bind(BUSY).compile(Averaging(n=1))


def test_without_workers_offloaded_work_is_done_at_once() -> None:
    assert one_round(Loopback(nodes(compiled())))["params"][0] == 1.0


def test_with_workers_the_answer_comes_when_the_work_is_done() -> None:
    waiting: deque[Callable[[], None]] = deque()
    woken: list[int] = []
    options = bb.NodeConfig(executor=waiting.append, wake=lambda: woken.append(1))
    loopback = Loopback(nodes(compiled(), options))
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(waiting))
    assert loopback.nodes[peer(1)].stats()["laters"] == 1
    assert not woken
    waiting.popleft()()
    assert woken == [1]
    loopback.wake(peer(1))  # what a host does when it is woken
    loopback.run_until_quiet()
    assert outputs(loopback.seen)["params"][0] == 1.0


def test_work_that_raises_is_a_failed_op() -> None:
    loopback = Loopback(nodes(compiled(), bb.NodeConfig(executor=lambda work: work()), data={"numbers": ()}))
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert "nothing to learn from" in str(of_kind(loopback.seen, OpFailed)[0].error)


def test_attach_lends_what_install_could_not_know() -> None:
    waiting: list[Callable[[], None]] = []
    own, client = nodes(compiled())
    client.attach(executor=waiting.append)
    loopback = Loopback([own, client])
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(waiting))
    assert len(waiting) == 1
    assert client.options.executor is not None


def test_a_node_says_what_it_runs() -> None:
    own, client = nodes(compiled())
    assert own.digest == client.digest
    assert list(own.inputs("Averaging")) == ["round"]
    with pytest.raises(UnknownModule):
        own.inputs("Everaging")


def invoked(log: list[bytes]) -> tuple[bb.Node, bb.Node, SendEnvelope]:
    """A coordinator that has begun a round and is recorded, its client, and what it wants to be sent."""
    own, client = nodes(compiled())
    own.record(log.append)
    own.invoke("Averaging", {"round": bb.TRIGGER}, 5)
    (sent,) = [s for s in own.poll(5).steps if isinstance(s, SendEnvelope)]
    return own, client, sent


def test_a_node_goes_on_from_its_recording() -> None:
    log: list[bytes] = []
    own, client, sent = invoked(log)
    own.sent(sent.id, True, 6)
    client.receive(sent.data, 6, source=peer(0))
    (answer,) = [s for s in client.poll(6).steps if isinstance(s, SendEnvelope)]

    again = bb.install(peer(0), [], compiled(), ["Averaging"])
    assert again.resume(b"".join(log), incarnation=1) == []
    assert again.now == own.now
    again.receive(answer.data, 7, source=peer(1))
    values = {s.port: s.value for s in again.poll(7).steps if isinstance(s, AppEvent)}
    assert values["params"][0] == 1.0


def test_what_was_not_known_to_be_sent_is_sent_again() -> None:
    log: list[bytes] = []
    _, _, sent = invoked(log)
    again = bb.install(peer(0), [], compiled(), ["Averaging"])
    assert again.resume(b"".join(log)) == [sent]


def test_a_contribution_that_was_taken_in_counts_after_a_crash() -> None:
    log: list[bytes] = []
    own, client, sent = invoked(log)
    client.receive(sent.data, 6, source=peer(0))
    (answer,) = [s for s in client.poll(6).steps if isinstance(s, SendEnvelope)]
    own.receive(answer.data, 7, source=peer(1))
    again = bb.install(peer(0), [], compiled(), ["Averaging"])
    again.resume(b"".join(log), incarnation=1)
    assert [s.port for s in again.poll(7).steps if isinstance(s, AppEvent)] == ["params", "training"]


@pytest.mark.parametrize("is_answered", [True, False])
def test_offloaded_work_is_done_again_when_a_node_goes_on(is_answered: bool) -> None:
    log: list[bytes] = []
    _, _, sent = invoked([])
    waiting: deque[Callable[[], None]] = deque()
    options = bb.NodeConfig(executor=waiting.append)
    _, client = nodes(compiled(), options)
    client.record(log.append)
    client.receive(sent.data, 6, source=peer(0))
    client.poll(6)
    if is_answered:
        waiting.popleft()()
        client.poll(7)
    else:
        waiting.clear()
    _, again = nodes(compiled(), options)
    pending = again.resume(b"".join(log), incarnation=1)
    assert len(pending) == is_answered
    assert len(waiting) == (not is_answered)
    for work in waiting:
        work()
    steps = [*pending, *again.poll(8).steps]
    assert len([s for s in steps if isinstance(s, SendEnvelope)]) == 1
    assert again.component("model").value[0] == 1.0


def test_what_is_no_recording_is_refused() -> None:
    own, _ = nodes(compiled())
    with pytest.raises(RecordingError):
        own.resume(b"no recording at all")
