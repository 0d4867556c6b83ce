"""Hosts in one event loop, their Nodes, and a clean end of both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import bb_core as bb
from bb_plugins.hosts.asyncio import AsyncioHost, HostConfig
from bb_plugins.hosts.asyncio.neighbours import Patience
from bb_plugins.hosts.asyncio.switchboard import LinkConfig
from bb_plugins.transports.certificates import AUTHORITY, credentials_in
from bb_plugins.transports.interface import Credentials
from tests.support import AVERAGING, Averaging, bring_up, one_round, peer

SECONDS = 20.0
"""How long a test may wait for anything."""
QUICK = HostConfig(links=LinkConfig(patience=Patience(first=0.01, most=0.05)), drain_seconds=SECONDS)
TCP = "/ip4/127.0.0.1/tcp/0"


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test's coroutine; at its end no task and no socket may be left."""

    async def whole() -> None:
        async with asyncio.timeout(2 * SECONDS):
            await test()
        left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        if left:  # those that end by themselves now
            await asyncio.wait(left, timeout=SECONDS)
        assert [task for task in left if not task.done()] == []

    def run() -> None:
        with asyncio.Runner(loop_factory=_LOOPS[os.environ.get("BB_TEST_LOOP", "asyncio")]()) as runner:
            runner.run(whole())

    return run


def _uvloop() -> Any:
    return pytest.importorskip("uvloop").new_event_loop


_LOOPS = {"asyncio": lambda: None, "uvloop": _uvloop}
"""`BB_TEST_LOOP=uvloop` runs the tests of hosts in its event loop."""


@cache
def artefact(clients: int) -> Any:
    """Compile a round of so many clients."""
    return bb.Compiler().bind(AVERAGING).compile(Averaging(clients))


def numbers(number: int) -> dict[str, Any]:
    """What a client's data is."""
    return {"data": {"numbers": (float(number),)}}


def node(number: int, clients: int, options: bb.NodeConfig | None = None, id_: bb.PeerId | None = None) -> bb.Node:
    """Install the coordinator, number 0, or a client."""
    if number == 0:
        return bb.install(id_ or peer(0), [], artefact(clients), ["Averaging"], None, options)
    return bb.install(id_ or peer(number), [], artefact(clients), ["Averaging@client"], numbers(number), options)


@asynccontextmanager
async def hosts(nodes: Sequence[bb.Node], address: str = TCP, **options: Any) -> AsyncIterator[list[AsyncioHost]]:
    """Start hosts; the clients listen, and the coordinator knows where."""
    made = [AsyncioHost(n, **({"config": QUICK} | options)) for n in nodes]
    try:
        for host in made:
            await host.start()
        for host in made[1:]:
            made[0].add_peer(host.node.peer_id, [await host.listen(address)], peer_class="client")
        yield made
    finally:
        for host in made:
            await host.close()


async def a_round(host: AsyncioHost) -> Mapping[str, Any]:
    """Run one."""
    async with asyncio.timeout(SECONDS):
        return await host.run("Averaging", {"round": bb.TRIGGER})


def by_loopback(clients: int, rounds: int = 1) -> list[float]:
    """What the same rounds give in virtual time."""
    loopback = bring_up(Averaging(clients), AVERAGING, clients, config_of=lambda n: numbers(n) if n else {})
    found = []
    for _ in range(rounds):
        found.append(float(one_round(loopback)["params"][0]))
        loopback.seen.clear()
    return found


def journal_of(folder: Path) -> bytes:
    """The newest journal."""
    return max(folder.glob("*.bblog")).read_bytes()


def foreign(federation: Path, strangers: Path) -> Credentials:
    """A stranger's certificate, with the authority of the federation to believe."""
    theirs = credentials_in(strangers, "one")
    return Credentials(theirs.certificate, theirs.key, federation / f"{AUTHORITY}.crt")
