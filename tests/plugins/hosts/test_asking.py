"""A running Node is asked: over its control socket, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import bb_core as bb
from bb_core.cli import application
from bb_core.errors import NotRunning, UsageError
from bb_plugins.hosts.asyncio import AsyncioHost
from bb_plugins.hosts.asyncio.control import Asking, Control
from bb_plugins.hosts.asyncio.monitor import Monitor
from bb_plugins.hosts.asyncio.status import Explanation, Progress, Status, explanation_of, is_ready, status_of
from tests.plugins.hosts.support import SECONDS, a_round, hosts, in_loop, node
from tests.plugins.hosts.test_tcp import free_port
from tests.support import peer


@asynccontextmanager
async def asked(host: AsyncioHost, folder: Path) -> AsyncIterator[asyncio.Event]:
    """Let a host be asked in a folder; gives what `stop` sets."""
    stopped, progress = asyncio.Event(), Progress(host.now())
    host.on_step(progress.take)
    answers = {"status": lambda: status_of(host, progress), "explain": lambda: explanation_of(host)}
    async with Control(folder, answers, stopped.set) as control:
        yield stopped
        control.is_drained = True


async def ask(folder: Path, what: str, type_: Any) -> Any:
    def question() -> Any:
        with Asking(folder, SECONDS) as asking:
            return asking.ask(what, type_)

    return await asyncio.to_thread(question)


def test_a_status_tells_what_has_passed_between_a_node_and_its_peers(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 2), node(1, 2), node(2, 2)]) as (own, *_), asked(own, tmp_path):
            for _ in range(3):
                await a_round(own)
            found = await ask(tmp_path, "status", Status)
            assert found.peer == str(peer(0))
            assert found.digest == own.node.digest
            assert found.ready
            assert found.executions == own.node.executions
            assert found.steps["AppEvent"] == own.steps["AppEvent"] > 0
            assert [p.id for p in found.peers] == [str(peer(1)), str(peer(2))]
            for one in found.peers:
                assert one.connected
                assert (one.sent, one.received) == (3, 3)
                assert one.sent_bytes > 0
                assert one.received_bytes > 0
                assert one.seen_s is not None

    test()


def test_what_a_stuck_round_waits_for_is_told_with_its_peers(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 2), node(1, 2)]) as (own, _), asked(own, tmp_path):
            own.add_peer(peer(2), [f"/ip4/127.0.0.1/tcp/{free_port()}"], peer_class="client")
            exec_id = own.invoke("Averaging", {"round": bb.TRIGGER})
            await own.until(lambda: any(w.peers == (peer(2),) for w in own.node.explain()), SECONDS)
            found = await ask(tmp_path, "explain", Explanation)
            (held,) = [w for w in found.waiting if w.peers]
            assert "aggregator.Collect" in held.text
            assert "support.py" in held.text
            assert held.left_s is not None
            assert 0 < held.left_s < 3600
            (missing,) = held.peers
            assert missing.id == str(peer(2))
            assert not missing.connected
            assert missing.waiting == 1
            own.node.cancel(exec_id, own.now())

    test()


def test_stop_is_heard_and_the_end_is_told(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            with_control = asked(own, tmp_path)
            stopped = await with_control.__aenter__()
            asking = await asyncio.to_thread(Asking, tmp_path, SECONDS)
            with asking:
                assert await asyncio.to_thread(asking.ask, "stop", dict) == {"stopping": True}
                await stopped.wait()
                await with_control.__aexit__(None, None, None)
                assert await asyncio.to_thread(asking.next, dict) == {"drained": True}
            with pytest.raises(NotRunning, match="No such file"):
                await ask(tmp_path, "status", Status)

    test()


@pytest.mark.parametrize(
    "line", [b"\n", b"rubbish\n", b'{"do": "status"', b'{"do": 7}\n', b'{"do": "fly"}\n', b"x" * 200_000 + b"\n"]
)
def test_what_is_no_question_does_no_harm(tmp_path: Path, line: bytes) -> None:
    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(SECONDS)
            wire.connect(str(tmp_path / "control"))
            try:
                wire.sendall(line)
                wire.shutdown(socket.SHUT_WR)
                return wire.makefile("rb").readline()
            except ConnectionError:
                return b""

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,), asked(own, tmp_path):
            told = await asyncio.to_thread(talk)
            assert not told or "code" in json.loads(told)["error"]
            assert (await ask(tmp_path, "status", Status)).peer == str(peer(0))

    test()


def test_only_its_user_can_open_the_socket_and_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    with pytest.raises(NotRunning, match="Connection refused"):
        Asking(tmp_path)

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,), asked(own, tmp_path):
            assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o600
            await ask(tmp_path, "status", Status)

    test()
    assert not (tmp_path / "control").exists()


def test_a_path_that_is_too_long_for_a_socket_is_reached_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,), asked(own, folder):
            assert (await ask(folder, "status", Status)).peer == str(peer(0))

    test()


def test_the_commands_say_who_does_not_run(tmp_path: Path) -> None:
    app = application()
    for command in ("status", "explain", "stop"):
        done = CliRunner().invoke(app, ["node", command, str(tmp_path / "state")])
        assert isinstance(done.exception, NotRunning)
        assert "was it ever started" in str(done.exception)
    (tmp_path / "node.toml").write_text('artefact = "a"\ntargets = []\n[identity]\npeer = "x"\n')
    done = CliRunner().invoke(app, ["node", "status", str(tmp_path / "node.toml")])
    assert isinstance(done.exception, UsageError)
    assert "names no state directory" in str(done.exception)


def test_the_commands_print_what_is_told(tmp_path: Path) -> None:
    app = application()

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["node", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, _), asked(own, tmp_path):
            await a_round(own)
            text = await asyncio.to_thread(run, "status", str(tmp_path))
            assert str(peer(0)) in text
            assert "1 opened" in text
            told = json.loads(await asyncio.to_thread(run, "status", str(tmp_path), "--json"))
            assert told["peers"][0]["sent"] == 1
            assert "nothing is waited for" in await asyncio.to_thread(run, "explain", str(tmp_path))
            assert json.loads(await asyncio.to_thread(run, "explain", str(tmp_path), "--json"))["waiting"] == []

    test()


# --- over HTTP --------------------------------------------------------------------------------------------------------


async def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    head, body = (await talk(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).split("\r\n\r\n", 1)
    return int(head.split()[1]), body


async def talk(port: int, data: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return (await reader.read()).decode()
    except ConnectionError:
        return ""
    finally:
        writer.close()


def test_health_and_metrics_are_told_over_http() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, _):
            progress = Progress(own.now(), 2, 5)
            own.on_step(progress.take)
            async with Monitor("127.0.0.1:0", lambda: status_of(own, progress)) as monitor:
                await a_round(own)
                assert await get(monitor.port, "/healthz") == (200, "ok\n")
                assert await get(monitor.port, "/readyz") == (200, "ok\n")
                assert (await get(monitor.port, "/nothing"))[0] == 404
                assert (await get(monitor.port, "/status", "POST"))[0] == 405
                assert json.loads((await get(monitor.port, "/status"))[1])["rounds_done"] == 2
                _, text = await get(monitor.port, "/metrics")
                found = {s.name: s for f in text_string_to_metric_families(text) for s in f.samples}
                assert found["bb_rounds_total"].value == 2
                assert found["bb_executions_total"].value == own.node.executions
                assert found["bb_peer_connected"].labels == {"peer": str(peer(1))}
                assert found["bb_node_info"].labels["digest"] == own.node.digest
                assert found["bb_peer_bytes_total"].value > 0

                own.links.neighbour(peer(7)).is_kept = True  # one that is to be connected, and is not
                assert not is_ready(own)
                assert (await get(monitor.port, "/readyz"))[0] == 503
                own.links.neighbour(peer(7)).is_kept = False

    test()


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"GET", b"\x16\x03\x01\x00", b"x" * 100_000, b"GET  \r\n\r\n"])
def test_what_is_no_http_does_no_harm(data: bytes) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            progress = Progress(own.now())
            async with Monitor("127.0.0.1:0", lambda: status_of(own, progress)) as monitor:
                await talk(monitor.port, data)
                assert (await get(monitor.port, "/healthz"))[0] == 200

    test()


def test_where_health_cannot_be_told_is_refused() -> None:
    for listen in ("9464", "127.0.0.1:", ":9464", "127.0.0.1:http"):
        with pytest.raises(UsageError, match="host:port"):
            Monitor(listen, lambda: None)  # type: ignore[arg-type,return-value]

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            progress = Progress(own.now())
            async with Monitor("127.0.0.1:0", lambda: status_of(own, progress)) as first:
                with pytest.raises(UsageError, match="port that is free"):
                    await Monitor(f"127.0.0.1:{first.port}", lambda: status_of(own, progress)).__aenter__()

    test()
