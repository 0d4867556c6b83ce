"""Real processes, made by the commands as a user would: certificates, rounds, a kill, and an end in good order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.meta.sources import ROOT
from tests.plugins.hosts.support import artefact
from tests.plugins.hosts.test_tcp import free_port

CLIENTS = 4
SECONDS = 60


def bb(*arguments: str, cwd: Path) -> str:
    """Run a command to its end."""
    done = subprocess.run(
        [*command(), *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def command() -> list[str]:
    return [sys.executable, "-m", "bb_core.cli"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process for one Node, which is gone afterwards."""
    log = (file.parent / f"{file.stem}.log").open("a")
    process = subprocess.Popen(
        [*command(), "node", "run", file.name],
        cwd=file.parent, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        log.close()


def node_file(folder: Path, name: str, target: str, more: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f"""
artefact = "app.onnx"
targets = ["{target}"]
modules = ["tests.support"]
state = "state-{name}"
{more}
[identity]
certificate = "certs/{name}.crt"
key = "certs/{name}.key"
authority = "certs/authority.crt"
""",
        encoding="utf-8",
    )
    return path


def lines(process: subprocess.Popen[str], count: int) -> list[dict[str, object]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.mark.slow
def test_five_processes_with_tls_outlive_a_kill(tmp_path: Path) -> None:
    (tmp_path / "app.onnx").write_bytes(artefact(CLIENTS).SerializeToString())
    bb("certs", "init", cwd=tmp_path)
    ids = {name: bb("certs", "issue", name, cwd=tmp_path) for name in ("own", *(f"c{n}" for n in range(CLIENTS)))}
    ports = {name: free_port() for name in ids}
    files = {
        name: node_file(tmp_path, name, "Averaging@client", f'listen = ["/ip4/127.0.0.1/tcp/{ports[name]}/tls"]')
        for name in ids
        if name != "own"
    }
    own = node_file(tmp_path, "own", "Averaging", "")
    peers = "".join(
        f'[[peers]]\nid = "{ids[name]}"\naddresses = ["/ip4/127.0.0.1/tcp/{ports[name]}/tls"]\n'
        'class = "client"\nconnect = true\n'
        for name in files
    )
    own.write_text(own.read_text() + peers + f'[rounds]\ntarget = "Averaging"\ncount = 100000\npeers = {CLIENTS}\n')

    with running(files["c0"]) as a, running(files["c1"]) as b, running(files["c2"]) as c, running(files["c3"]) as d:
        with running(own) as coordinator:
            before = lines(coordinator, 5)
            coordinator.send_signal(signal.SIGKILL)
            coordinator.wait(SECONDS)
            before += [json.loads(line) for line in coordinator.stdout or () if line.endswith("\n")]
        with running(own) as coordinator:
            after = lines(coordinator, 3)
            coordinator.send_signal(signal.SIGTERM)
            assert coordinator.wait(SECONDS) == 0, (tmp_path / "own.log").read_text()
        for client in (a, b, c, d):
            client.send_signal(signal.SIGTERM)
        for client in (a, b, c, d):
            assert client.wait(SECONDS) == 0, (tmp_path / "c0.log").read_text()

    values = [float(line["outputs"]["params"][0]) for line in before]  # type: ignore[index]
    assert values == [float(n) for n in range(1, len(values) + 1)]
    again = [float(line["outputs"]["params"][0]) for line in after]  # type: ignore[index]
    assert again[0] > values[-1]  # what was learnt is there
    assert [b - a for a, b in pairwise(again)] == [1.0, 1.0]
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
