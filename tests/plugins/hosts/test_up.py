"""`bb up`: real processes come up with certificates, and whatever ends it, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bb_core.cli import application
from bb_core.errors import UsageError
from bb_plugins.hosts.local.federation import folder_for
from tests.meta.sources import ROOT
from tests.scenarios.test_real_processes import APP, until

SECONDS = 60
GOSSIP = f"{ROOT}/docs/examples/gossip_averaging.py:GossipAveraging"


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `bb up`, which makes its files in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "bb_core.cli", "up", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
    )  # fmt: skip


def processes_of(folder: Path) -> list[int]:
    """The processes that run a Node whose files are in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"{folder}/".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_up(folder: Path, nodes: int) -> bool:
    return len(list(folder.glob("bb-up-*/state-*/control"))) == nodes


@pytest.mark.slow
def test_rounds_are_played_and_nothing_is_left(tmp_path: Path) -> None:
    process = begin(tmp_path, APP, "--nodes", "4", "--until", "round=5", "--json")
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out
    told = json.loads(out)
    assert [n["name"] for n in told["nodes"]] == ["coordinator", *(f"client-{n}" for n in range(4))]
    assert {n["exit"] for n in told["nodes"]} == {0}
    own, *clients = told["nodes"]
    assert own["rounds"] == 5
    assert own["values"]["accuracy"] > 0.8
    assert [c["executions"] for c in clients] == [5] * 4
    assert own["sent_bytes"] == sum(c["received_bytes"] for c in clients)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_ends_the_processes(tmp_path: Path, number: signal.Signals) -> None:
    process = begin(tmp_path, GOSSIP, "--nodes", "3")
    try:
        until(lambda: is_up(tmp_path, 3), "the processes")
        assert len(processes_of(tmp_path)) == 3
        process.send_signal(number)
        out, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    if number is signal.SIGKILL:  # only the files are left, which nobody was there to remove
        until(lambda: processes_of(tmp_path) == [], "the end of the processes")
        return
    assert process.returncode == 0, out
    assert "GossipAveraging, 3 processes" in out
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_node_that_cannot_be_installed_is_told_with_its_own_words(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import bb_core as bb\n"
        "from tests.scenarios.digits_app import bindings as usual, program\n"
        "wrong = bb.each('bytesandbrains.ArrayDataSource', lambda number: {'inputs': number})\n"
        "bindings = usual | {'data': wrong}\n"
    )
    process = begin(tmp_path, f"{app}:program")
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "client-0 has ended with status 2" in out
    assert "ArrayDataSource refuses its configuration" in out
    assert processes_of(tmp_path) == []
    assert [p for p in tmp_path.iterdir() if p.name.startswith("bb-up-")] == []


def test_what_cannot_be_run_is_refused_before_a_process_is_started(tmp_path: Path) -> None:
    app = application()
    for arguments, word in (
        ([GOSSIP, "--until", "round=5"], "no rounds"),
        ([GOSSIP, "--until", "soon"], "until is"),
        ([GOSSIP, "--seed", "-1"], "--seed -1"),
        ([GOSSIP, "--nodes", "many"], "--nodes many"),
        ([GOSSIP, "--nodes", "0"], "at least 1"),
    ):
        done = CliRunner().invoke(app, ["up", *arguments])
        assert isinstance(done.exception, UsageError), done.output
        assert word in str(done.exception)
    (tmp_path / "there").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        folder_for(tmp_path, "")
