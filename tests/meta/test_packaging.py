"""What is built is whole: sdist, then a wheel from it alone, then a fresh environment that runs a round."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.meta.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

GENERATED = (
    ".git",
    ".venv",
    ".ci",
    "build",
    "dist",
    "*.egg-info",
    "*.so",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".benchmarks",
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the source tree; its output is the failure's message."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([str(c) for c in command], check=False, cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_entry_points_are_the_plugin_files() -> None:
    listed = set(PROJECT["entry-points"]["bytesandbrains"].items())
    on_disk = {(p.parent.name, f"bb_plugins.{p.parent.name}.plugin") for p in (ROOT / "bb_plugins").glob("*/plugin.py")}
    assert listed == on_disk


def test_extras_name_only_extras_that_exist() -> None:
    extras = PROJECT["optional-dependencies"]
    for requirements in extras.values():
        for requirement in requirements:
            named = re.fullmatch(r"bytesandbrains\[(\w+)\]", requirement)
            assert named is None or named[1] in extras


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of a copy of the tree (no old file list, nothing compiled), and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*GENERATED))
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "source", cwd=folder)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def _files(folder: str) -> list[Path]:
    """All of a folder but what caches hold, kernels' sources among it."""
    return [p for p in (ROOT / folder).rglob("*") if "__pycache__" not in p.parts]


@pytest.mark.slow
def test_sdist_holds_what_a_build_and_the_tests_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    wanted = {"LICENSE", "Makefile", "README.md", "docs/errors/index.md", "docs/make_reference.py", "tests/conftest.py"}
    for folder in ("bb_core", "bb_plugins", "csrc", "tests"):
        paths = [p for p in _files(folder) if p.suffix in {".c", ".h", ".py", ".pyi", ".pyx", ".pxd", ".proto"}]
        wanted |= {p.relative_to(ROOT).as_posix() for p in paths}
    assert wanted - names == set()
    assert [n for n in names if n.endswith((".so", ".pyc")) or n.startswith("build/")] == []


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    packages = {n for n in names if not n.partition("/")[0].endswith(".dist-info")}
    assert {n.partition("/")[0] for n in packages} == {"bb_core", "bb_plugins"}
    sources = [p for folder in ("bb_core", "bb_plugins") for p in _files(folder) if p.suffix == ".py"]
    assert {p.relative_to(ROOT).as_posix() for p in sources} <= packages
    assert {n.rpartition(".")[2] for n in packages} <= {"py", "pyi", "pxd", "proto", "so", "typed"}
    for stem in ("bb_core/engine/_dispatch", "bb_core/wire/_codec", "bb_plugins/backends/cpu/plans/_machine"):
        assert [n for n in packages if n.startswith(f"{stem}.") and n.endswith(".so")]
        assert {f"{stem}.pxd", f"{stem}.pyi"} <= packages
    assert "bb_core/py.typed" in packages
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


@pytest.mark.slow
def test_wheel_runs_a_round_in_a_fresh_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = python_of(tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", built[1], cwd=tmp_path)
    shutil.copy(ROOT / "tests" / "meta" / "smoke_round.py", tmp_path)
    peers, count, where = run(python, "smoke_round.py", cwd=tmp_path).split()
    assert (int(peers), int(count)) == (2, 4)
    assert Path(where).is_relative_to(tmp_path / "venv")
    listed = json.loads(run(python, "-m", "bb_core.cli", "plugins", "--json", cwd=tmp_path))["plugins"]
    assert {p["entry_point"]: p["error"] for p in listed} == dict.fromkeys(
        PROJECT["entry-points"]["bytesandbrains"], ""
    )
    assert run(python.with_name("bb"), "version", cwd=tmp_path).split()[0] == PROJECT["name"]
