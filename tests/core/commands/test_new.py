"""`bb new` writes packages that install, pass and run as they are."""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bb_core.commands.new import new, package_of
from bb_core.errors import UsageError
from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES
from tests.environments import Environment

ROOT = Path(__file__).parents[3]
EIGHT = [
    "backend", "model", "index", "aggregator", "codec", "data_source", "peer_selector", "protocol",
]  # fmt: skip


def write(*arguments: str, into: Path) -> str:
    done = CliRunner().invoke(new, [*arguments, "--into", str(into)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def pretend_installed(folder: Path, package: str) -> None:
    """What pip would leave beside a package: its name, version and entry points."""
    info = folder / f"{package}-0.1.0.dist-info"
    info.mkdir()
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    (door,) = [line for line in text.splitlines() if line.endswith('.plugin"')]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[bytesandbrains]\n{door.replace(chr(34), '')}\n", encoding="utf-8")


@pytest.fixture
def fresh_plugins() -> Iterator[None]:
    """Plugins are looked for anew in the test, and again after it."""
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("role", EIGHT)
def test_a_new_plugin_is_found_and_keeps_its_promises(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"bb-made-{role.replace('_', '-')}"
    package = package_of(name)
    assert f"wrote {tmp_path / name}" in write("plugin", name, "--role", role, into=tmp_path)
    folder = tmp_path / name
    pretend_installed(folder, package)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    found = installed_plugins()
    (status,) = [s for s in found.statuses if s.distribution == package]
    assert status.error == ""
    (entry,) = [e for e in found.registry if e.owner == status.title]
    assert (entry.role, entry.name.partition(".")[0]) == (role, package)
    assert found.suites.modules[package.removeprefix("bb_")] == f"{package}.bench"
    conformance = runpy.run_path(str(folder / "tests" / "test_conformance.py"))["test_conformance"]
    (mark,) = conformance.pytestmark
    results = [check.result() for check in mark.args[1]]
    assert [(r.name, r.reason) for r in results if r.status not in ("passed", "skipped")] == []
    for call in calls_in(folder / "tests" / f"test_{role}.py"):
        call()
    lines = (folder / "tests" / "test_conformance.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line]) == 5


def calls_in(path: Path) -> list[Any]:
    found = runpy.run_path(str(path))
    return [call for name, call in found.items() if name.startswith("test_")]


def test_there_is_something_to_start_from_for_each_role() -> None:
    sketches = {p.stem for p in (ROOT / "bb_core/commands/scaffold/sketches").glob("*.py")} - {"__init__"}
    assert set(EIGHT) == sketches <= ROLES.keys()


def test_a_new_app_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("app", "made-study", into=tmp_path)
    folder = tmp_path / "made-study"
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    for call in calls_in(folder / "tests" / "test_program.py"):
        call()
    done = bb("inspect", "made_study/program.py:MadeStudy", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "MadeStudy@client" in done.stdout


@pytest.mark.parametrize(
    "name",
    ["", "Bb-Trimmed", "1st", "bb--x", "bb-x-", "x.y", "../x", "json", "class", "bb-core", "bytesandbrains", "ß"],
)
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot name a package|is taken"):
        write("app", name, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "bb-mine").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        write("plugin", "bb-mine", "--role", "codec", into=tmp_path)
    assert list((tmp_path / "bb-mine").iterdir()) == []
    with pytest.raises(UsageError, match="there is no folder"):
        write("plugin", "bb-mine", "--role", "codec", into=tmp_path / "nowhere")


def test_an_unknown_role_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'aggregator'"):
        write("plugin", "bb-mine", "--role", "agregator", into=tmp_path)


def bb(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "bb_core.cli", *arguments, cwd=cwd, PYTHONPATH=str(ROOT))


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment
    )


@pytest.mark.slow
@pytest.mark.parametrize("role", ["aggregator", "protocol"])
def test_a_new_plugin_installs_and_passes_in_an_environment_of_its_own(role: str, tmp_path: Path) -> None:
    write("plugin", "bb-made", "--role", role, into=tmp_path)
    own = Environment(tmp_path / "venv")
    own.install(tmp_path / "bb-made")
    own.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "bb-made")
    assert "bb-made" in own.bb("plugins", cwd=tmp_path)
    own.bb("bench", "made", "--rounds", "3", cwd=tmp_path)
