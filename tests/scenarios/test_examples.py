"""The examples of docs/examples, run as a user runs them."""

from __future__ import annotations

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


def test_the_page_names_every_example() -> None:
    page = (ROOT / "docs" / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"({p.name})" in page for p in (ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.parametrize(
    ("page", "least"), [("authoring.md", 10), ("protocols.md", 3), ("training.md", 4), ("recipes.md", 1)]
)
def test_every_block_of_the_guide_runs(page: str, least: int) -> None:
    """One after the other, as a reader would type them."""
    blocks = BLOCK.findall((GUIDE / page).read_text(encoding="utf-8"))
    assert len(blocks) >= least
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
