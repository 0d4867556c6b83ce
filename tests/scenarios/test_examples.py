"""The examples of docs/examples, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "docs" / "examples").glob("*.py") if p.stem != "federated_averaging")
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_ends_well(path: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == f"{path.stem}: ok"


def test_the_page_names_every_example() -> None:
    page = (ROOT / "docs" / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"({p.name})" in page for p in (ROOT / "docs" / "examples").glob("*.py"))


WHOLE = {
    "guide/authoring.md": 10,
    "guide/protocols.md": 3,
    "explanation/api_design.md": 1,
    "explanation/roles.md": 2,
    "explanation/dispatch.md": 2,
    "explanation/dependencies.md": 1,
    "explanation/ir_and_dsl.md": 1,
    "explanation/engine.md": 1,
    "reference/types.md": 3,
    "reference/addressing.md": 2,
}
"""Page -> how many blocks it has at least."""


@pytest.mark.parametrize(("page", "least"), WHOLE.items())
def test_every_block_of_a_page_runs(page: str, least: int) -> None:
    """One after the other, as a reader would type them."""
    blocks = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(blocks) >= least
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
