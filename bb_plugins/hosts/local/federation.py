"""A federation of real processes on this machine: its files, its processes, and their end.

Theory of operation. Everything stands in one folder: the artefact, an authority and certificates, and for each Node a
`node.toml`, a state directory and its output. The processes are those of `bb node run`, each in a session of its own,
so that a Ctrl-C reaches the parent alone, which then ends them in good order. They read a pipe that the parent holds:
when it is killed, they end by themselves.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import bb_core as bb
from bb_core.errors import NotRunning, RunFailed, UsageError
from bb_core.testing import Member, Population
from bb_plugins.hosts.asyncio.control import Asking
from bb_plugins.hosts.asyncio.status import Status
from bb_plugins.transports.certificates import issue, make_authority

_LOCAL: Final = "127.0.0.1"
_ARTEFACT: Final = "program.onnx"
_DAYS: Final = 7
_ASK_SECONDS: Final = 5.0
_POOLS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_DRAIN_SECONDS: Final = 2.0
"""How long a Node may go on with what is open: a program that begins by itself always has something."""
_QUOTED: Final = 12
"""Lines of a log that are shown of a process that has failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        population: The program, compiled, and who takes part.
        source: `app.py:Module`, with an absolute path: whose `bindings` configure the Nodes. None: nobody's.
        rounds: How many rounds the Nodes of the program's own class play; None: the program begins by itself.
        seed: Of every random number.
        bind: As `--bind`.
        set: As `--set`.
    """

    population: Population
    source: str | None
    rounds: int | None = None
    seed: int = 0
    bind: Sequence[str] = ()
    set: Sequence[str] = ()


@dataclass(slots=True)
class Site:
    """One Node's process.

    Attributes:
        name: Of its files.
        member: Which part it plays.
        is_driver: Whether it plays rounds.
        peer: Who it is.
        port: Where it listens.
        status: What it has said last; None before it has said anything.
        asked: When that was.
    """

    name: str
    member: Member
    is_driver: bool
    peer: bb.PeerId
    port: int
    status: Status | None = None
    asked: float = 0.0
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"/ip4/{_LOCAL}/tcp/{self.port}/tls"

    @property
    def ended(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self.process.poll()


class Federation:
    """The processes. Use it as `with Federation(plan, folder) as federation:`; at the end none is left.

    Args:
        plan: What is to run.
        folder: Where all files go; empty.

    Raises:
        MissingExtra: `cryptography` is not installed.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.folder = folder
        self.sites: list[Site] = []
        self._plan = plan
        self._looked = monotonic()
        self._askers = ThreadPoolExecutor(max(1, min(16, len(plan.population.peers))))
        certs = folder / "certs"
        make_authority(certs, _DAYS)
        members = list(plan.population.peers.values())
        for member, port in zip(members, _free_ports(len(members)), strict=True):
            name = _name(member, plan.population)
            is_driver = plan.rounds is not None and member.target == plan.population.target
            self.sites.append(Site(name, member, is_driver, issue(certs, name, _DAYS), port))
        (folder / _ARTEFACT).write_bytes(plan.population.artefact.SerializeToString())
        for site in self.sites:
            (folder / f"{site.name}.toml").write_text(self._settings(site), encoding="utf-8")

    # --- files --------------------------------------------------------------------------------------------------------

    def _settings(self, site: Site) -> str:
        plan, name = self._plan, site.name
        tables: list[tuple[str, Mapping[str, Any]]] = [
            (
                "",
                {
                    "artefact": _ARTEFACT,
                    "targets": [site.member.target],
                    "listen": [site.address],
                    "state": f"state-{name}",
                    "seed": plan.seed,
                },
            ),
            ("[host]", {"drain_seconds": _DRAIN_SECONDS}),
            (
                "[identity]",
                {"certificate": f"certs/{name}.crt", "key": f"certs/{name}.key", "authority": "certs/authority.crt"},
            ),
        ]
        if plan.source is not None:
            of = sum(other.member.peer_class == site.member.peer_class for other in self.sites)
            program = {"file": plan.source, "number": site.member.index, "of": of}
            tables.append(("[program]", program | {"bind": list(plan.bind), "set": list(plan.set)}))
        known = self._known_to(site)
        if site.is_driver:
            rounds = {"target": site.member.target, "count": plan.rounds, "then": "stay"}
            tables.append(("[rounds]", rounds | {"at_first": len(known), "peers": min(1, len(known))}))
        for other in known:
            peer = {"id": str(other.peer), "addresses": [other.address], "class": other.member.peer_class}
            tables.append(("[[peers]]", peer | {"connect": site.is_driver}))
        return "\n".join(line for title, table in tables for line in (*_table(title, table), ""))

    def _known_to(self, site: Site) -> list[Site]:
        """Whom a Node knows from the start: an equal all others, and the own class those of the other classes."""
        if self._plan.population.of_equals:
            return [other for other in self.sites if other is not site]
        if site.member.peer_class:
            return []
        return [other for other in self.sites if other.member.peer_class]

    # --- processes ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Federation:
        try:
            for site in self.sites:
                self.start(site)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, site: Site) -> None:
        """Start a Node's process, or start it again when it has ended: it goes on from its state directory."""
        with (self.folder / f"{site.name}.out").open("ab") as out, (self.folder / f"{site.name}.log").open("ab") as log:
            if hasattr(site, "process"):
                _end(site.process)
            site.status = None
            site.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "bb_core.cli", "node", "run", str(self.folder / f"{site.name}.toml")),
                    *("--log", "json", "--while-stdin"),
                ],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
                env=dict.fromkeys(_POOLS, "1") | dict(os.environ),
                start_new_session=True,
            )

    def look(self) -> None:
        """Ask every process how it is.

        Raises:
            RunFailed: one has ended before it could be asked, or one that plays rounds has ended.
        """
        for site in self.sites:
            if site.ended is not None and (site.status is None or site.is_driver):
                raise RunFailed(f"{site.name} {how_ended(site.ended)}", hint=self._last_words(site))
        for site, status in zip(self.sites, self._askers.map(self._ask, self.sites), strict=True):
            if status is not None:
                site.status, site.asked = status, monotonic()
        self._looked = monotonic()

    def _ask(self, site: Site) -> Status | None:
        if site.ended is not None:
            return None
        try:
            with Asking(self.folder / f"state-{site.name}", _ASK_SECONDS) as asking:
                return asking.ask("status", Status)
        except NotRunning:  # not yet, or it computes
            return None

    @property
    def is_done(self) -> bool:
        """Whether every Node that plays rounds has played all."""
        drivers = [site.status for site in self.sites if site.is_driver]
        return bool(drivers) and all(s is not None and (s.rounds_done or 0) >= (s.rounds or 0) for s in drivers)

    def last_seen(self, site: Site) -> float | None:
        """How many seconds before the last look another Node has heard of one; None: never."""
        found = [
            peer.seen_s + self._looked - other.asked
            for other in self.sites
            if other.status is not None
            for peer in other.status.peers
            if peer.id == str(site.peer) and peer.seen_s is not None
        ]
        return min(found, default=None)

    def _last_words(self, site: Site) -> str:
        lines = (self.folder / f"{site.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(_message(line) for line in lines[-_QUOTED:])

    def stop(self, seconds: float) -> list[Site]:
        """End the processes in good order; returns those that had to be killed."""
        running = [site for site in self.sites if hasattr(site, "process") and site.ended is None]
        for site in running:
            site.process.send_signal(signal.SIGTERM)
        end, late = monotonic() + seconds, []
        for site in running:
            try:
                site.process.wait(max(0.0, end - monotonic()))
            except subprocess.TimeoutExpired:
                late.append(site)
                site.process.kill()
        return late

    def __exit__(self, *_: object) -> None:
        for site in self.sites:
            if hasattr(site, "process"):
                _end(site.process)
        self._askers.shutdown(cancel_futures=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process if it runs, and let go of it."""
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def how_ended(code: int) -> str:
    """Say how a process has ended."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"has ended with status {code}"


def _name(member: Member, population: Population) -> str:
    if member.peer_class:
        return f"{member.peer_class}-{member.index}"
    return f"node-{member.index}" if population.of_equals else "coordinator"


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody listens at; all are held until all are found."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((_LOCAL, 0))
        return [probe.getsockname()[1] for probe in probes]


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    """Write a table of TOML; its strings, numbers and lists are written as JSON writes them."""
    return [*([title] if title else []), *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in values.items())]


def _message(line: str) -> str:
    """Return what a line of a log says, of one in JSON its message."""
    try:
        found = json.loads(line)
        return f"{found['level']}: {found['message']}"
    except (ValueError, KeyError, TypeError):
        return line


def folder_for(keep: Path | None, scratch: str) -> Path:
    """Return the folder of a federation: the one to be kept, made if it is not there, or a scratch one.

    Raises:
        UsageError: it is not empty.
    """
    folder = Path(scratch) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"--keep {folder}: it is not empty", hint="name a new folder")
    return folder.resolve()
