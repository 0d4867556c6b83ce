"""Five processes over mutual TLS train the digits demo while they are killed, cut off and knocked at by strangers."""

from __future__ import annotations

import datetime as dt
import json
import os
import select
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import bb_core as bb
from bb_core.errors import NotRunning
from bb_core.testing import Population, configurations
from bb_plugins.hosts.asyncio.control import Asking
from bb_plugins.hosts.asyncio.journal import Journal
from bb_plugins.hosts.asyncio.status import Status
from bb_plugins.hosts.local.federation import Federation, Plan, Site
from bb_plugins.hosts.simulator import simulate
from bb_plugins.transports.certificates import AUTHORITY, issue, make_authority
from tests.scenarios import digits_app as app

APP = f"{Path(app.__file__)}:program"
SECONDS = 60.0
ROUNDS = 15


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something holds, by asking again and again: it happens in other processes."""
    end = monotonic() + SECONDS
    while monotonic() < end:
        found = condition()
        if found:
            return found
        _pause.wait(0.05)
    raise AssertionError(f"{what} did not come within {SECONDS:g} s")


_pause = threading.Event()  # never set: it leaves the CPU to the processes that are waited for


class Proxy:
    """A wire between a port of its own and another, which can be cut: nothing passes, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.passes = threading.Event()
        self.passes.set()
        self._is_open = True
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._is_open:
            self.passes.wait()
            ready, _, _ = select.select([self._listening, *self._pairs], [], [], 0.05)
            for one in ready:
                if one is self._listening:
                    self._connect()
                elif one in self._pairs:
                    self._pass(one)

    def _connect(self) -> None:
        near, _ = self._listening.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        self._pairs |= {near: far, far: near}

    def _pass(self, one: socket.socket) -> None:
        other = self._pairs[one]
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for side in (one, other):
            del self._pairs[side]
            side.close()

    def close(self) -> None:
        """Take the wire away."""
        self._is_open = False
        self.passes.set()
        self._thread.join()
        for side in (*self._pairs, self._listening):
            side.close()


@pytest.fixture
def proxied() -> Iterator[Callable[[int], Proxy]]:
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def plan(module: bb.Module, rounds: int, seed: int = 0) -> Plan:
    return Plan(Population(module, app.bindings, app.SITES), APP, rounds, seed)


def status(federation: Federation, site: Site) -> Status | None:
    """What a process says of itself; None while it cannot be asked."""
    try:
        with Asking(federation.folder / f"state-{site.name}") as asking:
            return asking.ask("status", Status)
    except NotRunning:
        return None


def played(federation: Federation) -> list[dict[str, Any]]:
    """The rounds that the coordinator has told of, over all its lives."""
    lines = (federation.folder / "coordinator.out").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def peers_of_last(federation: Federation) -> tuple[int, int]:
    """The number of the last round, and how many sites were in it."""
    found = played(federation)
    return (found[-1]["round"], found[-1]["outputs"]["training"]["peers"]) if found else (0, 0)


def logged(federation: Federation, site: Site) -> list[dict[str, Any]]:
    lines = (federation.folder / f"{site.name}.log").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def play_on(federation: Federation, peers: int, more: int = 3) -> None:
    """Wait for some more rounds in which so many sites were."""
    begin = peers_of_last(federation)[0]
    wanted = lambda: (  # noqa: E731
        len([r for r in played(federation) if r["round"] > begin and r["outputs"]["training"]["peers"] == peers])
        >= more
    )
    until(wanted, f"{more} rounds with {peers} sites")


def knock(port: int, context: ssl.SSLContext | None, data: bytes) -> None:
    """Talk to a port as a stranger, until it is closed."""
    with ExitStack() as stack:
        stack.enter_context(suppress(ConnectionError, ssl.SSLError))
        wire: socket.socket = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
        if context is not None:
            wire = stack.enter_context(context.wrap_socket(wire))
        wire.sendall(data)
        while wire.recv(4096):
            pass


def stranger(certs: Path, name: str, believed: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(believed / f"{AUTHORITY}.crt")
    context.load_cert_chain(certs / f"{name}.crt", certs / f"{name}.key")
    return context


def refused(federation: Federation, site: Site) -> dict[str, int]:
    found = until(lambda: status(federation, site), f"an answer of {site.name}")
    return {event: count for event, count in found.links.items() if event.startswith("refused")}


@contextmanager
def running(federation: Federation) -> Iterator[dict[str, Site]]:
    """The processes by name, and at the end a look at what is left."""
    with federation:
        sites = {site.name: site for site in federation.sites}
        for site in federation.sites:
            until(lambda s=site: status(federation, s), f"an answer of {site.name}")
        yield sites
        assert federation.stop(SECONDS) == []
        assert {site.ended for site in federation.sites} == {0}
    for site in federation.sites:
        with pytest.raises(ProcessLookupError):
            os.kill(site.process.pid, 0)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", site.port)) != 0
        assert not (federation.folder / f"state-{site.name}" / "control").exists()


@pytest.mark.slow
def test_the_digits_are_learnt_whatever_happens(tmp_path: Path, proxied: Callable[[int], Proxy]) -> None:
    reference = bb.run(app.program, bindings=app.bindings, peers={"client": app.SITES}, rounds=ROUNDS)
    wanted = reference.metrics[-1]["metrics"]["correct"]

    federation = Federation(plan(app.program, 10**9), tmp_path)
    by_name = {site.name: site for site in federation.sites}
    wire = proxied(by_name["client-2"].port)
    settings = tmp_path / "coordinator.toml"
    text = settings.read_text()
    assert by_name["client-2"].address in text
    settings.write_text(text.replace(by_name["client-2"].address, f"/ip4/127.0.0.1/tcp/{wire.port}/tls"))

    with running(federation) as sites:
        coordinator = sites["coordinator"]
        play_on(federation, app.SITES)

        # Strangers, while the others train: each is refused, counted and logged, and no round is lost by it.
        certs, elsewhere = tmp_path / "certs", tmp_path / "elsewhere"
        make_authority(elsewhere)
        issue(elsewhere, "foreign")
        issue(certs, "expired", until=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        issue(certs, "member")
        for context, data, kind, word in (
            (None, b"GET / HTTP/1.1\r\n\r\n", "HandshakeRefused", "secured"),
            (None, os.urandom(4096), "HandshakeRefused", "secured"),
            (stranger(elsewhere, "foreign", certs), b"", "IdentityRefused", "issuer"),
            (stranger(certs, "expired", certs), b"", "IdentityRefused", "expired"),
            (stranger(certs, "member", certs), bytes(64), "HandshakeRefused", "began with"),
        ):
            before = refused(federation, coordinator).get(f"refused: {kind}", 0)
            knock(coordinator.port, context, data)
            until(lambda k=kind, b=before: refused(federation, coordinator).get(f"refused: {k}", 0) > b, kind)
            until(
                lambda w=word: any(w in e["message"] and "code" in e for e in logged(federation, coordinator)),
                f"a word of {word!r} in the log",
            )
        play_on(federation, app.SITES)

        # A client is killed: rounds end at their deadline without it, and with it when it is back.
        sites["client-1"].process.send_signal(signal.SIGKILL)
        play_on(federation, app.SITES - 1, 2)
        federation.start(sites["client-1"])
        play_on(federation, app.SITES)

        # The coordinator is killed: it goes on in the round in which it was, or plays that one again.
        coordinator.process.send_signal(signal.SIGKILL)
        coordinator.process.wait(SECONDS)
        last, accuracy = peers_of_last(federation)[0], played(federation)[-1]["outputs"]["metrics"]["correct"]
        federation.start(coordinator)
        until(lambda: peers_of_last(federation)[0] > last, "a round of the coordinator that was started again")
        first = next(r for r in played(federation) if r["round"] > last)
        assert first["round"] - last in (1, 2)  # the round may have ended, untold, when the process was killed
        assert first["outputs"]["metrics"]["correct"] > accuracy - 20  # what was learnt is there
        play_on(federation, app.SITES)

        # The network to one client is cut, without a word to anybody, for longer than a round may take.
        wire.passes.clear()
        play_on(federation, app.SITES - 1, 3)
        wire.passes.set()
        play_on(federation, app.SITES, ROUNDS)

    found = played(federation)
    numbers = [r["round"] for r in found]
    assert numbers == sorted(set(numbers))  # no round is told twice
    for r in found:
        training = r["outputs"]["training"]
        assert training["peers"] <= app.SITES  # and nobody is counted twice
        assert training["num_samples"] <= app.EXAMPLES
    assert found[-1]["outputs"]["metrics"]["correct"] >= wanted - 4  # of 360


def plain_toml(name: str, number: int, target: str, port: int, more: str) -> str:
    """A Node over plain TCP, whose peer id is its number in the simulation."""
    return f"""
artefact = "program.onnx"
targets = ["{target}"]
listen = ["/ip4/127.0.0.1/tcp/{port}"]
state = "state-{name}"
seed = 3
[identity]
peer = "{bb.PeerId.from_int(number)}"
[program]
file = "{APP}"
number = {max(number - 1, 0)}
{more}
"""


@pytest.mark.slow
def test_a_simulation_and_real_processes_learn_the_same(tmp_path: Path) -> None:
    """FedAvg with full participation, the same data, seed and peer ids: the parameters are equal to the last bit."""
    simulated = simulate(app.program, bindings=app.bindings, nodes=app.SITES, until="round=4", seed=3)
    own = bb.PeerId.from_int(0)
    wanted = simulated.nodes[own].component("model").parameters()

    federation = Federation(plan(app.program, 4, seed=3), tmp_path)
    clients = federation.sites[1:]
    peers = "".join(
        f'[[peers]]\nid = "{bb.PeerId.from_int(n)}"\naddresses = ["/ip4/127.0.0.1/tcp/{c.port}"]\n'
        'class = "client"\nconnect = true\n'
        for n, c in enumerate(clients, 1)
    )
    rounds = f'[rounds]\ntarget = "FederatedAveraging"\ncount = 4\npeers = {app.SITES}\nthen = "stay"\n'
    for number, site in enumerate(federation.sites):
        more = "" if number else rounds + peers
        text = plain_toml(site.name, number, site.member.target, site.port, more)
        (tmp_path / f"{site.name}.toml").write_text(text)
    with running(federation):
        until(lambda: len(played(federation)) == 4, "four rounds")

    artefact, config = federation.folder / "program.onnx", configurations(app.bindings, 0, 1)
    node = bb.install(own, [], artefact.read_bytes(), ["FederatedAveraging"], config, bb.NodeConfig(seed=3))
    journal = Journal(tmp_path / "state-coordinator")
    kept = journal.kept()
    journal.close()
    assert kept is not None
    node.resume(kept.log)
    assert node.component("model").parameters().tobytes() == wanted.tobytes()
    for line, r in zip(played(federation), simulated.rounds, strict=True):
        metrics = line["outputs"]["metrics"]
        assert metrics["correct"] / metrics["count"] == r.outputs["accuracy"]
