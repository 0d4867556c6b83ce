"""`node.toml`: what it may hold, and what is said when it holds something else."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from bb_core.errors import BBError, ConfigError, LoadError
from bb_plugins.hosts.asyncio.logs import JsonLines
from bb_plugins.hosts.asyncio.running import install_node, run_node
from bb_plugins.hosts.asyncio.settings import read_settings
from tests.plugins.hosts.support import SECONDS, artefact, in_loop, node
from tests.plugins.hosts.test_tcp import free_port
from tests.support import peer

PLAIN = """
artefact = "app.onnx"
targets = ["Averaging@client"]
modules = ["tests.support"]
{more}
[identity]
peer = "{peer}"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "app.onnx").write_bytes(artefact(1).SerializeToString())
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def plain(folder: Path, more: str = "", after: str = "", number: int = 1) -> Path:
    return written(folder, PLAIN.format(peer=peer(number), more=more) + after)


def test_a_node_is_installed_as_the_file_says(tmp_path: Path) -> None:
    path = plain(tmp_path, 'listen = ["/ip4/0.0.0.0/tcp/4001"]\nannounce = ["/dns/example.org/tcp/4001"]', """
[slots.data]
config = { numbers = [2.0, 3.0] }
""")  # fmt: skip
    settings = read_settings(path)
    made = install_node(settings)
    assert made.peer_id == peer(1)
    assert made.targets == ("Averaging@client",)
    assert made.digest == node(1, 1).digest
    assert made.component("data").config.numbers == (2.0, 3.0)
    assert settings.credentials is None


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("artefact = 1", ConfigError, "artefact"),
        ("artefact =", ConfigError, "node.toml"),
        ('artefact = "a"\ntargets = []\nspeed = 3\n[identity]\n', ConfigError, "speed"),
        ('artefact = "a"\ntargets = ["x"]\n[identity]\n', ConfigError, "says nothing"),
        ('artefact = "a"\ntargets = ["x"]\n[identity]\nkey = "k"\n', ConfigError, "not whole"),
        ('artefact = "missing"\ntargets = ["x"]\n[identity]\npeer = "16uZAbWC1AJvK"\n', LoadError, "missing"),
        ('artefact = "app.onnx"\ntargets = ["x"]\nmodules = ["no.such"]\n[identity]\npeer = "16uZAbWC1AJvK"\n',
         LoadError, "cannot be imported"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, kind: type[BBError], said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(kind, match=said):
        install_node(read_settings(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"none\.toml"):
        read_settings(tmp_path / "none.toml")


def test_rounds_are_run_and_counted_over_restarts(tmp_path: Path) -> None:
    client_port = free_port()
    own, other = tmp_path / "own", tmp_path / "client"
    for folder in (own, other):
        folder.mkdir()
    more = """
[[peers]]
id = "{peer}"
addresses = ["/ip4/127.0.0.1/tcp/{port}"]
class = "client"
connect = true
[rounds]
target = "Averaging"
count = {count}
peers = 1
"""
    shown: list[str] = []

    def file(count: int) -> Path:
        return written(
            own,
            PLAIN.format(peer=peer(0), more='state = "state"').replace("@client", "")
            + more.format(peer=peer(1), port=client_port, count=count),
        )

    client = plain(other, f'listen = ["/ip4/127.0.0.1/tcp/{client_port}"]')

    @in_loop
    async def test() -> None:
        import asyncio

        running = asyncio.create_task(run_node(read_settings(client), shown.append))
        for count in (2, 3, 3):
            async with asyncio.timeout(SECONDS):
                await run_node(read_settings(file(count)), shown.append)
        running.cancel()
        await asyncio.wait([running])

    test()
    lines = [json.loads(line) for line in shown]
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert [line["outputs"]["params"] for line in lines] == [[1.0], [2.0], [3.0]]


def test_logs_are_lines_of_json() -> None:
    record = logging.makeLogRecord({"msg": "refused %s", "args": ("x",), "levelname": "WARNING", "name": "bb"})
    record.peer, record.code = peer(1), "BB-R014"
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "refused x"
    assert line["level"] == "warning"
    assert line["peer"] == str(peer(1))
    assert line["code"] == "BB-R014"
