"""The examples of docs/examples, run as a user runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "docs" / "examples").glob("*.py") if p.stem != "federated_averaging")
GUIDE = ROOT / "docs" / "guide"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_ends_well(path: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == f"{path.stem}: ok"


COUNTED = """
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except SystemExit as end:
    assert not end.code
jit = sys.modules.get("bb_plugins.backends.cpu.kernels._jit")
print("compiled:", len(jit.COMPILED) if jit else 0)
"""


@pytest.mark.slow
def test_a_second_run_of_any_example_compiles_nothing(tmp_path: Path) -> None:
    """A run counts what it compiles; the first ones fill a cache of their own."""
    counts = []
    for path in EXAMPLES * 2:
        done = subprocess.run(
            [sys.executable, "-c", COUNTED, str(path)],
            cwd=tmp_path,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        counts.append((path.stem, int(done.stdout.rpartition("compiled: ")[2])))
    first, second = counts[: len(EXAMPLES)], counts[len(EXAMPLES) :]
    assert sum(count for _, count in first) > 0
    assert [name for name, count in second if count] == []


def test_the_page_names_every_example() -> None:
    page = (ROOT / "docs" / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"({p.name})" in page for p in (ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.parametrize(("page", "least"), [("authoring.md", 10), ("protocols.md", 3)])
def test_every_block_of_the_guide_runs(page: str, least: int) -> None:
    """One after the other, as a reader would type them."""
    blocks = BLOCK.findall((GUIDE / page).read_text(encoding="utf-8"))
    assert len(blocks) >= least
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
