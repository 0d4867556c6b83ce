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
DOCS = ROOT / "docs"
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


WHOLE = {
    "guide/authoring.md": 10,
    "guide/protocols.md": 3,
    "guide/training.md": 4,
    "guide/recipes.md": 1,
    "explanation/api_design.md": 1,
    "explanation/roles.md": 2,
    "explanation/dispatch.md": 2,
    "explanation/dependencies.md": 1,
    "explanation/ir_and_dsl.md": 1,
    "explanation/engine.md": 1,
    "reference/types.md": 3,
    "reference/addressing.md": 2,
    "reference/wire.md": 1,
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


PARTS = {
    "guide/backends.md": """
import bb_core as bb
from tests.core.compiler.test_subgraphs import Dense
module = Dense()
""",
    "guide/running.md": """
import numpy as np
import bb_core as bb
from tests.support import AVERAGING, Averaging, peer
artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
node, data, now, peer = bb.install(peer(0), [], artefact, ["Averaging"]), b"rubbish", 0, peer(1)
""",
    "guide/simulating.md": """
from bb_plugins.hosts.simulator import simulate as simulate_many
from bb_plugins.recipes.gossip import GossipAveraging as program
bindings = {"peers": "bytesandbrains.ConstantView", "average": "bytesandbrains.GossipMean"}
program = program()
""",
    "guide/plugins.md": """
import sys, types
import bb_core as bb
from bb_plugins.aggregators.trimming import TrimmedMean
sys.modules["bb_trimmed"] = types.SimpleNamespace(Trimmed=TrimmedMean)
""",
}
"""Page whose blocks are parts -> what stands around them."""
ELSEWHERE = {
    "guide/comparing.md": "its lines are those of the recipe, below",
    "guide/deploying.md": "tests/plugins/hosts/test_guide.py types it",
    "guide/first_plugin.md": "test_extra_packages: its blocks are the package's",
    "examples/plugins/bb-hnsw/README.md": "test_extra_packages binds it so",
    "examples/plugins/bb-trimmed-mean/README.md": "test_extra_packages binds it so",
}


@pytest.mark.parametrize("page", PARTS)
def test_every_part_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bb_trimmed", None)  # it is taken back afterwards
    names: dict[str, object] = {"__name__": "guide"}
    exec(PARTS[page], names)
    for number, block in enumerate(BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))):
        whole = f"{block}\ndef test(check):\n    check()" if block.lstrip().startswith("@parametrize") else block
        exec(compile(whole.replace("nodes=1000", "nodes=20"), f"{page}, block {number}", "exec"), names)


def test_the_lines_of_the_page_on_compression_are_the_recipes() -> None:
    (block,) = BLOCK.findall((DOCS / "guide" / "comparing.md").read_text(encoding="utf-8"))
    recipe = (ROOT / "bb_plugins" / "recipes" / "compressed_averaging.py").read_text(encoding="utf-8")
    assert all(line.partition("  #")[0] in recipe for line in block.splitlines())


def test_every_page_with_python_in_it_is_run_somewhere() -> None:
    pages = {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md") if BLOCK.search(p.read_text(encoding="utf-8"))}
    made = {page for page in pages if page.startswith("errors/")}  # test_cases.py runs those
    assert pages - made == {*WHOLE, *PARTS, *ELSEWHERE}
