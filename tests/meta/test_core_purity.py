"""The core reads no clock, opens no socket, starts no thread and draws no unseeded number; importing it is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.sources import ROOT, imports, sources

IMPURE = {
    "asyncio",
    "concurrent",
    "datetime",
    "multiprocessing",
    "pickle",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib",
    "uuid",
}
"""What the core may not import: it would bring IO, time, threads, chance, or code out of bytes."""

HEAVY = {"asyncio", "bb_plugins", "matplotlib", "numba", "rich", "scipy", "sklearn", "torch", "typer"}
"""What neither `import bb_core` nor any of its names loads."""

LATER = {"onnx", "socket", "threading"}
"""What `import bb_core` alone does not load either; onnx does, and is loaded when a model is built or installed."""

EXEMPT = ("bb_core/cli.py", "bb_core/commands/", "bb_core/testing/")
CORE = [p for p in sources("bb_core") if not p.relative_to(ROOT).as_posix().startswith(EXEMPT)]


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_imports_nothing_impure(path: Path) -> None:
    assert [(line, m) for line, m, _ in imports(path) if m.partition(".")[0] in IMPURE | HEAVY] == []


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_uses_numpys_global_generator_nowhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "np.random.seed" not in text
    assert "default_rng()" not in text


def loaded_by(statements: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after these statements."""
    program = f"import sys\n{statements}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_core_is_light() -> None:
    assert loaded_by("import bb_core") & (HEAVY | LATER) == set()


def test_no_public_name_loads_a_heavy_package() -> None:
    assert loaded_by("import bb_core\nfor name in bb_core.__all__: getattr(bb_core, name)") & HEAVY == set()


def test_every_public_name_exists_and_is_listed_once() -> None:
    import bb_core

    assert len(set(bb_core.__all__)) == len(bb_core.__all__)
    assert [n for n in bb_core.__all__ if not hasattr(bb_core, n)] == []
    assert set(bb_core._LAZY) - {"steps"} <= set(bb_core.__all__)
