"""Every registered benchmark suite runs and fills its table; nothing here asserts a time."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bb_core.cli import application
from bb_core.errors import MissingExtra, UsageError
from bb_core.plugins import installed_plugins
from bb_plugins.bench import commands
from bb_plugins.bench.commands import run_suite
from bb_plugins.bench.harness import Row
from bb_plugins.bench.suites import dispatch

SUITES = sorted(installed_plugins().suites.modules.items())
TINY = """
from bb_plugins.bench.instructions import Counted

def loop(count):
    def run():
        for _ in range(count):
            pass
    return run

INSTRUCTIONS = (Counted("a loop", loop),)

def test_loop(row):
    row("a loop", loop(1000), per=1000)
    row("another", loop(1000), peer=("itself", loop(1000)), per=1000)
    row.memory("no memory", 0.0)

def test_with_a_stranger():
    import pytest
    pytest.importorskip("no_such_package", reason="no_such_package is not installed: pip install it")
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tiny_suite.py").write_text(TINY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return "tiny_suite"


def test_the_first_party_suites_are_registered() -> None:
    assert {"aggregate", "codec", "dispatch", "kernels", "nodes", "round"} <= {name for name, _ in SUITES}


def test_a_row_that_was_skipped_is_explained(tiny: str) -> None:
    found = run_suite("tiny", tiny, rounds=2)
    assert [row["name"] for row in found["rows"]] == ["a loop", "another", "no memory"]
    assert found["skipped"] == [
        {"name": "test_with_a_stranger", "reason": "no_such_package is not installed: pip install it"}
    ]


def test_without_onnxruntime_its_rows_are_skipped_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(pytest.skip.Exception, match=r'pip install "bytesandbrains\[bench\]"'):
        dispatch.test_native_op(None)  # type: ignore[arg-type]  # skipped before it measures


def test_instructions_without_valgrind_say_what_to_install(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtra, match=r"valgrind(.|\n)*install it"):
        run_suite("tiny", tiny, rounds=2, instructions=True)


def test_instructions_of_a_suite_that_counts_none_are_refused() -> None:
    with pytest.raises(UsageError, match="'codec' counts no instructions"):
        run_suite("codec", dict(SUITES)["codec"], rounds=2, instructions=True)


@pytest.mark.slow
@pytest.mark.bench
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_stand_beside_the_times_and_are_the_same_each_time(tiny: str) -> None:
    first, second = (run_suite("tiny", tiny, rounds=2, instructions=True)["rows"] for _ in range(2))
    counts = {row["name"]: row["instructions"] for row in first}
    assert 1 < counts["a loop"] < 1000
    assert counts["another"] is counts["no memory"] is None
    assert counts == {row["name"]: row["instructions"] for row in second}


def bb(*arguments: str) -> Any:
    return CliRunner().invoke(application(), ["bench", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def tiny_is_registered(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installed_plugins().suites.modules, "tiny", tiny)


@pytest.mark.usefixtures("tiny_is_registered")
def test_a_table_is_kept_drawn_and_compared(tmp_path: Path) -> None:
    kept, drawn = tmp_path / "before.json", tmp_path / "now.svg"
    first = bb("tiny", "--rounds", "2", "--save", str(kept), "--plot", str(drawn))
    assert first.exit_code == 0, first.output
    assert "another  / itself" in drawn.read_text(encoding="utf-8")
    before = json.loads(kept.read_text(encoding="utf-8"))
    for row in before["rows"]:
        row.update(ours_ns=row["ours_ns"] / 50, ratio=row["ratio"] and row["ratio"] / 50, spread=0.0)
    before["machine"]["cpu"] = "an abacus"
    kept.write_text(json.dumps(before), encoding="utf-8")
    second = bb("tiny", "--rounds", "2", "--compare", str(kept))
    assert second.exit_code == 0, second.output
    lines = [line for line in second.output.splitlines() if "worse" in line]
    assert [("time" in line, "itself" in line) for line in lines] == [(True, False), (False, True)]
    assert "cpu: an abacus before" in " ".join(second.output.split())


@pytest.mark.usefixtures("tiny_is_registered")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--compare", "nowhere.json"], "cannot be read"),
        (["--compare", "other.json"], "of the suite 'codec'"),
        (["--compare", "broken.json"], "no run of bb bench"),
        (["--compare", "list.json"], "no run of bb bench"),
        (["--save", "no/such/folder.json"], "there is no folder"),
        (["--plot", "no/such/folder.png"], "there is no folder"),
        (["--plot", "picture.doc"], ".png or .svg or .pdf"),
    ],
)
def test_files_that_will_not_do_are_refused_before_anything_is_measured(
    options: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "run_suite", None)
    Path("other.json").write_text('{"suite": "codec", "rows": []}', encoding="utf-8")
    Path("broken.json").write_text("{", encoding="utf-8")
    Path("list.json").write_text("[]", encoding="utf-8")
    found = bb("tiny", *options)
    assert isinstance(found.exception, UsageError)
    assert says in str(found.exception)


@pytest.mark.slow
@pytest.mark.bench
@pytest.mark.parametrize(("name", "module"), SUITES)
def test_a_suite_fills_its_table(name: str, module: str) -> None:
    found = run_suite(name, module, rounds=2)
    assert found["suite"] == name
    assert found["machine"]["cpu"]
    assert found["rows"]
    for row in found["rows"]:
        assert set(row) == set(Row.__dataclass_fields__)
        assert row["ours_ns"] > 0 or row["bytes"] is not None
        if row["peer"] is not None and row["bytes"] is None:
            assert row["peer_ns"] > 0
            assert row["ratio"] > 0
    counted = getattr(importlib.import_module(module), "INSTRUCTIONS", ())
    assert {each.row for each in counted} <= {row["name"] for row in found["rows"]}
