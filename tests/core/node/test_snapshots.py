"""A Node can be kept as bytes between any two polls, and what was damaged or is not its own is refused by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bb_core as bb
from bb_core.errors import SnapshotDamaged, SnapshotError, SnapshotMismatch
from bb_core.steps import OpFailed, SendEnvelope
from tests.support import AVERAGING, Averaging, peer

SECOND = 10**9
ARTEFACT = bb.Compiler().bind(AVERAGING).compile(Averaging())
TARGET = "Averaging"


def node(targets: tuple[str, ...] = (TARGET,), number: int = 0, artefact: object = ARTEFACT) -> bb.Node:
    made = bb.install(peer(number), [], artefact, list(targets))  # type: ignore[arg-type]
    for n in (1, 2):
        made.add_peer(peer(n), peer_class="client")
    return made


def in_a_round() -> bb.Node:
    """A coordinator that waits for two clients."""
    made = node()
    made.invoke(TARGET, {"round": bb.TRIGGER}, 5)
    made.poll(5)
    return made


def answers(coordinator: bb.Node) -> list[tuple[bb.PeerId, bytes]]:
    """What both clients send back in the round that a fresh coordinator of the same seed begins."""
    twin = node()
    twin.invoke(TARGET, {"round": bb.TRIGGER}, 5)
    given = []
    sent = [s for s in twin.poll(5).steps if isinstance(s, SendEnvelope)]
    for n, envelope in enumerate(sent, 1):
        client = node(("Averaging@client",), n)
        client.receive(envelope.data, 0, source=coordinator.peer_id)
        given += [(peer(n), s.data) for s in client.poll(0).steps if isinstance(s, SendEnvelope)]
    return given


def test_a_round_is_finished_by_the_restored_node_as_by_the_one_that_never_stopped() -> None:
    first = in_a_round()
    back = answers(first)
    assert len(back) == 2
    other = node()
    other.restore(first.snapshot())
    for source, data in back:
        results = []
        for each in (first, other):
            each.receive(data, 7, source=source)
            results.append(each.poll(7))
        assert repr(results[0]) == repr(results[1])
        assert first.snapshot() == other.snapshot()
    assert first.explain() == other.explain() == []


def test_an_envelope_that_was_received_and_not_polled_is_kept() -> None:
    first = in_a_round()
    for source, data in answers(first):
        first.receive(data, 7, source=source)
    other = node()
    other.restore(first.snapshot())
    assert repr(first.poll(7)) == repr(other.poll(7))
    assert other.is_idle
    assert other.explain() == []


SNAPSHOT = in_a_round().snapshot()


def refused(data: bytes | list[bytes], *kinds: type[SnapshotError], of: bb.Node | None = None) -> SnapshotError:
    """Assert that bytes are refused, and that the Node that was to be restored is as it was."""
    waiting = in_a_round() if of is None else of
    before = waiting.snapshot()
    with pytest.raises(kinds) as caught:
        waiting.restore(data)
    assert waiting.snapshot() == before
    return caught.value


def test_every_truncation_is_refused() -> None:
    waiting = in_a_round()
    before = waiting.snapshot()
    for length in range(len(SNAPSHOT)):
        with pytest.raises(SnapshotDamaged, match=r"cut short|no snapshot"):
            waiting.restore(SNAPSHOT[:length])
    assert waiting.snapshot() == before


@given(st.integers(0, len(SNAPSHOT) * 8 - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    damaged = bytearray(SNAPSHOT)
    damaged[bit // 8] ^= 1 << bit % 8
    refused(bytes(damaged), SnapshotDamaged)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    refused(data, SnapshotDamaged)
    refused(SNAPSHOT[:8] + data, SnapshotDamaged)


def test_a_snapshot_of_another_artefact_is_refused_and_both_are_named() -> None:
    class Other(Averaging):
        name = "Averaging"

        def body(self, g: bb.Graph) -> None:
            super().body(g)
            g.output("more", g.input("another", bb.types.TRIGGER))

    artefact = bb.Compiler().bind(AVERAGING).compile(Other())
    error = refused(SNAPSHOT, SnapshotMismatch, of=node((artefact.functions[0].name,), 0, artefact))
    assert "another artefact" in error.message
    assert error.expected


def test_a_snapshot_of_another_peer_or_target_is_refused() -> None:
    assert "another peer" in refused(SNAPSHOT, SnapshotMismatch, of=node(number=3)).message
    both = node((TARGET, "Averaging@client"))
    assert "another set of targets" in refused(SNAPSHOT, SnapshotMismatch, of=both).message


def test_an_increment_needs_what_it_was_taken_since() -> None:
    first = in_a_round()
    whole = first.snapshot()
    source, data = answers(first)[0]
    first.receive(data, 7, source=source)
    first.poll(7)
    increment = first.snapshot(since=whole)
    other = node()
    other.restore([whole, increment])
    assert other.snapshot() == first.snapshot()
    assert "increment" in refused(increment, SnapshotMismatch).message
    assert "stands alone" in refused([whole, whole], SnapshotMismatch).message
    refused([], SnapshotMismatch)
    refused([whole, increment[:-1]], SnapshotDamaged)


# --- answers that another thread gives --------------------------------------------------------------------------------


def elsewhere(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@bb.concrete("tests.Crossing")
class Crossing(bb.roles.Index):
    """A search that another thread answers while the deadline of an op on another slot is dealt with."""

    has_state = False
    open: ClassVar[list[bb.Later]] = []
    fault: ClassVar[BaseException | None] = None

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> Any:
        if self.fault is not None:
            raise self.fault
        self.open.append(ctx.later())
        return self.open[-1]

    def size(self, ctx: bb.Context) -> Any:
        found = (np.ones(1, np.int64), np.ones(1, np.float32))
        return ctx.later(SECOND, lambda _: elsewhere(lambda: self.open[-1].complete(*found)))


class Searching(bb.Module):
    """Two ops that answer later."""

    index = bb.IndexSlot()
    other = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("ids", self.index.search(g, g.input("x", bb.f32[1]), k=1)[0])
        g.output("size", self.other.size(g, after=g.input("go", bb.types.TRIGGER)))


SEARCHING = bb.Compiler().bind({"index": Crossing, "other": Crossing}).compile(Searching())


def test_an_answer_to_a_cancelled_frame_does_not_spoil_a_snapshot() -> None:
    first, other = (bb.install(peer(0), [], SEARCHING, ["Searching"]) for _ in range(2))
    exec_id = first.invoke("Searching", {"x": np.ones(1, np.float32)}, 0)
    first.invoke("Searching", {"go": bb.TRIGGER}, 0)
    first.poll(0)
    first.cancel(exec_id, 2 * SECOND)
    first.poll(3 * SECOND)  # the deadline at one second comes first, then the cancel
    other.restore(first.snapshot())
    assert repr(other.poll(3 * SECOND)) == repr(first.poll(3 * SECOND))


def test_an_op_that_raises_when_it_is_dispatched_again_is_a_step_of_the_restored_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, other = (bb.install(peer(0), [], SEARCHING, ["Searching"]) for _ in range(2))
    first.invoke("Searching", {"x": np.ones(1, np.float32)}, 0)
    first.poll(0)
    monkeypatch.setattr(Crossing, "fault", SystemExit(3))
    other.restore(first.snapshot())
    (failed,) = other.poll(0).steps
    assert isinstance(failed, OpFailed)
    assert failed.op == "Search"
    assert other.is_idle


def test_a_snapshot_of_another_format_names_the_release_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_core.node import snapshots

    monkeypatch.setattr(snapshots, "FORMAT", 7)
    newer = in_a_round().snapshot()
    monkeypatch.undo()
    error = refused(newer, SnapshotMismatch)
    assert "format 7" in error.message
    assert bb.__version__ in (error.hint or "")
