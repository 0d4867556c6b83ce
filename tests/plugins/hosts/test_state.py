"""What a host keeps on disk: contributions survive a kill, cut journals are read as far as they go."""

from __future__ import annotations

import asyncio
import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bb_core as bb
from bb_core.errors import RecordingError, RunFailed, SnapshotMismatch, StateInUse, UsageError
from bb_core.steps import AppEvent, Step
from bb_plugins.hosts.asyncio import AsyncioHost, HostConfig
from bb_plugins.hosts.asyncio.journal import Journal
from tests.plugins.hosts.support import QUICK, SECONDS, TCP, a_round, hosts, in_loop, node
from tests.plugins.hosts.test_tcp import free_port
from tests.support import peer


def kept(number: int, clients: int, folder: Path, config: HostConfig = QUICK) -> AsyncioHost:
    return AsyncioHost(node(number, clients), state=folder, config=config)


async def half_a_round(own: AsyncioHost, client: AsyncioHost) -> str:
    """Begin a round of two clients and wait until the contribution of the first is in; the second is not there yet.

    Returns:
        Where it is looked for.
    """
    later = f"/ip4/127.0.0.1/tcp/{free_port()}"
    own.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
    own.add_peer(peer(2), [later], peer_class="client")
    own.invoke("Averaging", {"round": bb.TRIGGER})
    await own.until(lambda: any(w.peers == (peer(2),) for w in own.node.explain()), SECONDS)
    return later


@pytest.mark.parametrize("what", ["os.fdatasync", "Journal._sync_folder"])
def test_a_full_disk_stops_the_node_and_nothing_that_was_seen_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (_, client):
            own = kept(0, 1, tmp_path, replace(QUICK, snapshot_seconds=1e-6))  # a new journal at each poll
            await own.start()
            own.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
            await a_round(own)
            running = asyncio.create_task(own.until(lambda: False))
            await asyncio.sleep(0)
            with monkeypatch.context() as patch:
                patch.setattr(f"bb_plugins.hosts.asyncio.journal.{what}", full)
                with pytest.raises(RunFailed, match="cannot be written: No space left"):
                    await a_round(own)
            with pytest.raises(RunFailed, match="the Node has stopped"):
                await running
            with pytest.raises(RunFailed, match="the Node has stopped"):  # there is room again, but it is too late
                await a_round(own)
            await own.close()
            async with kept(0, 1, tmp_path) as again:
                assert again.is_resumed
                again.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
                await again.until(lambda: again.node.is_idle, SECONDS)  # the round that it could not tell of
                await a_round(again)

    test()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(UsageError, match="cannot keep a Node"):
        Journal(tmp_path / "state")


def test_a_contribution_survives_a_kill(tmp_path: Path) -> None:
    """The first client is gone when the coordinator comes back, so its update can only come from the disk."""

    @in_loop
    async def test() -> None:
        found: dict[str, Any] = {}

        def take(step: Step) -> None:
            if isinstance(step, AppEvent):
                found[step.port] = step.value

        async with hosts([node(1, 2), node(2, 2)]) as (first, second):
            own = kept(0, 2, tmp_path)
            await own.start()
            later = await half_a_round(own, first)
            await own.close(at_once=True)
            await first.close()
            await second.listen(later)
            async with kept(0, 2, tmp_path) as again:
                again.on_step(take)
                again.add_peer(peer(2), [later], peer_class="client")
                await again.until(lambda: "params" in found, SECONDS)
                assert found["params"][0] == 1.5  # of 1 and 2
                assert found["training"]["peers"] == 2

    test()


def test_a_node_that_was_closed_goes_on_with_what_it_has_learnt(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        for number in range(1, 4):
            own = kept(0, 1, tmp_path)
            async with own, hosts([node(1, 1)]) as (client,):
                own.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
                assert (await a_round(own))["params"][0] == float(number)
            assert len(list(tmp_path.glob("*.bblog"))) == 1

    test()


def test_the_journal_is_begun_anew_when_it_grows(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        own = kept(0, 1, tmp_path, HostConfig(journal_bytes=1))
        async with own, hosts([node(1, 1)]) as (client,):
            own.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
            for _ in range(3):
                await a_round(own)
            (journal,) = tmp_path.glob("*.bblog")
            assert int(journal.stem.partition("-")[2]) > 3

    test()


def lives(folder: Path) -> None:
    """Leave a journal of a round and a half, as a kill does."""

    @in_loop
    async def test() -> None:
        async with hosts([node(1, 2)]) as (client,):
            own = kept(0, 2, folder)
            await own.start()
            await half_a_round(own, client)
            await own.close(at_once=True)

    test()


def test_a_journal_is_good_up_to_its_last_whole_entry(tmp_path: Path) -> None:
    lives(tmp_path / "a")
    (journal,) = (tmp_path / "a").glob("*.bblog")
    whole = journal.read_bytes()
    clock = iter(range(10**9))
    for cut in {len(whole) - n for n in (1, 7, 30, 200)}:
        folder = tmp_path / str(next(clock))
        shutil.copytree(tmp_path / "a", folder)
        (folder / journal.name).write_bytes(whole[:cut])

        @in_loop
        async def test(folder: Path = folder) -> None:
            async with kept(0, 2, folder) as own:
                assert own.is_resumed

        test()


def test_a_journal_that_was_changed_is_refused(tmp_path: Path) -> None:
    lives(tmp_path)
    (journal,) = tmp_path.glob("*.bblog")
    raw = bytearray(journal.read_bytes())
    raw[len(raw) // 2] ^= 1
    journal.write_bytes(raw)
    host = kept(0, 2, tmp_path)

    @in_loop
    async def test() -> None:
        with pytest.raises(RecordingError, match="has changed"):
            await host.start()
        Journal(host._journal.folder).close()  # it has let go of the directory

    test()


def test_no_byte_of_a_journal_can_change_unnoticed(tmp_path: Path) -> None:
    """A length that has grown is no cut: all that follows would be lost, and with it what was acknowledged."""
    lives(tmp_path)
    (journal,) = tmp_path.glob("*.bblog")
    raw = journal.read_bytes()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        with pytest.raises((RecordingError, SnapshotMismatch)):
            node(0, 2).resume(bytes(changed))


def test_zeros_at_the_end_of_a_journal_are_a_cut(tmp_path: Path) -> None:
    lives(tmp_path)
    (journal,) = tmp_path.glob("*.bblog")
    raw = journal.read_bytes()
    whole, padded = node(0, 2), node(0, 2)
    whole.resume(raw)
    padded.resume(raw + bytes(5000))
    assert padded.snapshot() == whole.snapshot()
    with pytest.raises(RecordingError):
        node(0, 2).resume(raw + bytes(5000) + b"x")


def test_another_program_is_refused(tmp_path: Path) -> None:
    lives(tmp_path)
    host = kept(0, 1, tmp_path)

    @in_loop
    async def test() -> None:
        with pytest.raises(SnapshotMismatch, match="another artefact"):
            await host.start()
        Journal(host._journal.folder).close()  # it has let go of the directory

    test()


def test_two_processes_do_not_share_a_directory(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(StateInUse, match="in use"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_what_an_interrupted_change_of_journals_has_left_is_cleared(tmp_path: Path) -> None:
    lives(tmp_path)
    (tmp_path / "node-000000000099.new").write_bytes(b"half")
    journal = Journal(tmp_path)
    assert list(tmp_path.glob("*.new")) == []
    found = journal.kept()
    journal.close()
    assert found is not None
    assert found.number == 1


def test_nothing_leaves_before_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    @in_loop
    async def test() -> None:
        async with hosts([node(1, 1)]) as (client,):
            own = kept(0, 1, tmp_path)
            async with own:
                own.add_peer(peer(1), [await client.listen(TCP)], peer_class="client")
                sync, send = Journal.sync, own.links.send

                def synced(journal: Journal) -> None:
                    order.append("sync" if journal._pending else "nothing to sync")
                    sync(journal)

                monkeypatch.setattr(Journal, "sync", synced)
                monkeypatch.setattr(own.links, "send", lambda steps: (order.append("send"), send(steps))[1])
                await a_round(own)
                monkeypatch.undo()

    test()
    assert order[0] == "sync"
    assert all(order[i - 1] == "sync" for i, what in enumerate(order) if what == "send")


def test_clocks_that_begin_at_zero_do_not_stop_the_node(tmp_path: Path) -> None:
    """After a restart of the machine its monotonic clock is behind what the Node was told."""

    @in_loop
    async def test() -> None:
        own = AsyncioHost(node(0, 1), state=tmp_path, clock=lambda: 10**15)
        async with own:
            before = own.now()
        again = AsyncioHost(node(0, 1), state=tmp_path, clock=lambda: 5)
        async with again:
            assert again.now() >= before

    test()


@pytest.mark.parametrize("workers", [0, 2])
def test_offloaded_work_does_not_stop_the_host(workers: int) -> None:
    from tests.core.node.test_hosting import BUSY
    from tests.support import Averaging

    @in_loop
    async def test() -> None:
        artefact = bb.Compiler().bind(BUSY).compile(Averaging(1))
        made = [
            bb.install(peer(0), [], artefact, ["Averaging"]),
            bb.install(peer(1), [], artefact, ["Averaging@client"]),
        ]
        async with hosts(made, config=HostConfig(workers=workers)) as (own, _):
            assert (await a_round(own))["params"][0] == 1.0

    test()
