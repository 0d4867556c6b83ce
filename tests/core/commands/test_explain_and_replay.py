"""`bb explain` and `bb replay`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import bb_core as bb
from bb_core import errors
from bb_core.cli import application
from bb_core.errors import LoadError, RecordingError, SnapshotDamaged
from bb_core.steps import SendEnvelope
from tests.support import AVERAGING, Averaging, peer

ARTEFACT = bb.Compiler().bind(AVERAGING).compile(Averaging())

MAKE = """
import bb_core as bb
from tests.core.commands.test_explain_and_replay import coordinator

def make():
    return coordinator()

def nothing():
    return None
"""


def coordinator() -> bb.Node:
    node = bb.install(peer(0), [], ARTEFACT, ["Averaging"], options=bb.NodeConfig(seed=3))
    for n in (1, 2):
        node.add_peer(peer(n), peer_class="client")
    return node


def recorded() -> tuple[bytes, bytes]:
    """A log of two rounds with two clients; and a snapshot from the middle of the first."""
    log = bytearray()
    node = coordinator()
    clients = {peer(n): bb.install(peer(n), [], ARTEFACT, ["Averaging@client"]) for n in (1, 2)}
    node.record(log.extend)
    middle = b""
    for now in (5, 11):
        node.invoke("Averaging", {"round": bb.TRIGGER}, now)
        sent = [s for s in node.poll(now).steps if isinstance(s, SendEnvelope)]
        middle = middle or node.snapshot()
        for step in sent:
            client = clients[step.peer]
            client.receive(step.data, now, source=node.peer_id)
            for back in client.poll(now).steps:
                if isinstance(back, SendEnvelope):
                    node.receive(back.data, now + 1, source=step.peer)
        node.poll(now + 1)
    node.record(None)
    return bytes(log), middle


LOG, MIDDLE = recorded()


def bb_command(*arguments: str) -> Result:
    return CliRunner().invoke(application(), arguments, catch_exceptions=True)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log, a snapshot and the artefact."""
    (tmp_path / "round.bblog").write_bytes(LOG)
    (tmp_path / "node.bbsnap").write_bytes(MIDDLE)
    (tmp_path / "artefact.onnx").write_bytes(ARTEFACT.SerializeToString())
    (tmp_path / "site.py").write_text(MAKE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_explain_says_whom_the_node_of_a_snapshot_waits_for(there: Path) -> None:
    told = bb_command("explain", "node.bbsnap")
    assert told.exit_code == 0, told.output
    assert "aggregator.Collect waits for answers of" in told.output
    assert str(peer(1)) in told.output
    assert "support.py:" in told.output
    data = json.loads(bb_command("explain", "node.bbsnap", "--json").output)
    assert data["targets"] == ["Averaging"]
    assert len(data["waiting"]) == 1


def test_replay_verifies_every_step(there: Path) -> None:
    told = bb_command("replay", "round.bblog", "artefact.onnx")
    assert told.exit_code == 0, told.output
    data = json.loads(bb_command("replay", "round.bblog", "site.py:make", "--json").output)
    assert data["divergence"] is None
    assert f"{data['steps']} Steps in {data['polls']} polls are as recorded" in told.output
    assert data["polls"] == 4
    assert data["steps"] >= 6


def test_replay_stops_after_a_step_or_before_an_op(there: Path) -> None:
    data = json.loads(bb_command("replay", "round.bblog", "artefact.onnx", "--until", "1", "--json").output)
    assert data["polls"] == 1
    assert len(data["waiting"]) == 1
    told = bb_command("replay", "round.bblog", "artefact.onnx", "--break", "aggregator.Contribute")
    assert "stopped before" in told.output, told.output
    assert "float32" in told.output
    assert (
        "no op 'Nothing' has run" in bb_command("replay", "round.bblog", "artefact.onnx", "--break", "Nothing").output
    )


def test_the_first_divergence_is_named_with_its_op_and_line(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = AVERAGING["aggregator"]
    before = kind.combine

    def changed(self: Any, ctx: Any, contributions: Any) -> Any:
        update, stats = before(self, ctx, contributions)
        return update + 1, stats

    monkeypatch.setattr(kind, "combine", changed)
    told = bb_command("replay", "round.bblog", "artefact.onnx")
    assert told.exit_code == 1
    assert "Step 3 differs, at 6 ns" in told.output
    assert "AppEvent params of Averaging, Frame 1, with other contents" in told.output
    assert "by Output of Averaging, Frame 1" in told.output
    assert "support.py:" in told.output
    data = json.loads(bb_command("replay", "round.bblog", "artefact.onnx", "--json").output)
    assert data["divergence"]["number"] == 3
    assert data["divergence"]["run"]["op"] == "Output"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("explain", "nothing.bbsnap"), LoadError),
        (("explain", "artefact.onnx"), SnapshotDamaged),
        (("replay", "nothing.bblog", "artefact.onnx"), LoadError),
        (("replay", "artefact.onnx", "artefact.onnx"), RecordingError),
        (("replay", "round.bblog", "nothing.onnx"), LoadError),
        (("replay", "round.bblog", "site.py:absent"), LoadError),
        (("replay", "round.bblog", "site.py:nothing"), LoadError),
        (("replay", "round.bblog", "artefact.onnx", "--until", "0"), errors.UsageError),
    ],
)
def test_misuse_is_named(there: Path, arguments: tuple[str, ...], kind: type[Exception]) -> None:
    told = bb_command(*arguments)
    assert isinstance(told.exception, kind), told.output


@pytest.mark.parametrize("length", range(0, len(LOG), 97))
def test_a_log_that_a_crash_has_cut_is_good_up_to_its_last_whole_entry(there: Path, length: int) -> None:
    (there / "cut.bblog").write_bytes(LOG[:length])
    told = bb_command("replay", "cut.bblog", "artefact.onnx")
    if told.exit_code != 0:
        assert isinstance(told.exception, RecordingError), told.output


def test_a_log_that_was_changed_is_refused(there: Path) -> None:
    for at in range(10, len(LOG), 211):
        damaged = bytearray(LOG)
        damaged[at] ^= 1
        (there / "changed.bblog").write_bytes(damaged)
        told = bb_command("replay", "changed.bblog", "artefact.onnx")
        if told.exit_code == 0:  # a length that now points past the end cuts the log there
            data = json.loads(bb_command("replay", "changed.bblog", "artefact.onnx", "--json").output)
            assert data["polls"] < 4
        else:
            assert isinstance(told.exception, errors.BBError), told.output
