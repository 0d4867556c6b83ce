"""The packages of docs/examples/plugins, installed, checked, measured and used as a stranger would; and gone again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.environments import ROOT, Environment

PACKAGES = ROOT / "docs" / "examples" / "plugins"
PROGRAM = """
import sys
import numpy as np
import bb_core as bb
from bb_plugins.recipes.comparing import CompressedAveraging, AsItIs, bindings
from bb_plugins.recipes.experiment import Experiment

class Search(bb.Module):
    index = bb.IndexSlot()

    def body(self, g):
        vectors = g.input("vectors", bb.f32["N", 8])
        ids, _ = self.index.search(g, vectors, k=1, after=self.index.add(g, vectors))
        g.output("ids", ids)

if sys.argv[1] == "compile":
    bound = {"index": bb.use("bb_hnsw.Hnsw", dim=8, background=False)}
    open("search.onnx", "wb").write(bb.Compiler().bind(bound).compile(Search()).SerializeToString())
    experiment = Experiment(clients=5, rounds=3)
    result = bb.run(
        CompressedAveraging(5, 2),
        bindings=bindings(experiment)
        | {"codec": AsItIs, "aggregator": bb.use("bb_trimmed_mean.TrimmedMean", trim=0.2)},
        peers={"client": 5},
        rounds=3,
    )
    print("dropped", result.metrics[-1]["training"]["dropped"])
else:
    import onnx
    artefact = onnx.load("search.onnx")
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Search"])
    node.invoke("Search", {"vectors": np.eye(8, dtype=np.float32)}, 0)
    print([step.value.reshape(-1).tolist() for step in node.poll(0).steps if hasattr(step, "port")])
"""


BLOCK = re.compile(r"<!-- from (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_tutorial_shows_what_the_package_holds() -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "guide" / "first_plugin.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 5
    for file, block in blocks:
        assert block.rstrip() in (PACKAGES / "bb-trimmed-mean" / file).read_text(encoding="utf-8"), file


@pytest.mark.slow
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    """What it tells the reader to do, done: `bb new`, then one block after the other, each where it says."""
    own = Environment(tmp_path / "venv")
    own.bb("new", "plugin", "bb-trimmed-mean", "--role", "aggregator", cwd=tmp_path)
    folder = tmp_path / "bb-trimmed-mean"
    blocks = dict(BLOCK.findall((ROOT / "docs" / "guide" / "first_plugin.md").read_text(encoding="utf-8")))

    def write(file: str, before: str) -> None:
        (folder / file).write_text(before + blocks[file], encoding="utf-8")

    write("bb_trimmed_mean/kernel.py", "import numba\nimport numpy as np\n\n\n")
    aggregator = (folder / "bb_trimmed_mean" / "aggregator.py").read_text(encoding="utf-8")
    write("bb_trimmed_mean/aggregator.py", aggregator.partition("    def combine")[0])
    head = "import numpy as np\nimport pytest\nimport bb_core as bb\nfrom bb_core.testing import FakeContext\n"
    write("tests/test_aggregator.py", f"{head}from bb_trimmed_mean import TrimmedMean\n")
    head = "from typing import Any\nimport numpy as np\nfrom bb_trimmed_mean.kernel import trimmed_mean\nTRIM = 2\n"
    write("bb_trimmed_mean/bench.py", head)
    own.install(folder)
    own.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    before = tmp_path / "before.json"
    own.bb("bench", "trimmed_mean", "--rounds", "2", "--save", str(before), cwd=tmp_path)
    assert "Since the table that was kept" in own.bb(
        "bench", "trimmed_mean", "--rounds", "2", "--compare", str(before), cwd=tmp_path
    )


@pytest.mark.slow
def test_strangers_packages_are_found_checked_measured_used_and_missed(tmp_path: Path) -> None:
    own = Environment(tmp_path / "venv")
    for name in ("bb-hnsw", "bb-trimmed-mean"):
        folder = tmp_path / name
        shutil.copytree(PACKAGES / name, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
        own.install(folder)
        own.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    listed = json.loads(own.bb("plugins", "--json", cwd=tmp_path))["plugins"]
    errors = {p["entry_point"]: p["error"] for p in listed if p["distribution"] in ("bb-hnsw", "bb-trimmed-mean")}
    assert errors == {"hnsw": "", "trimmed_mean": ""}
    rows = {s: json.loads(own.bb("bench", s, "--rounds", "2", "--json", cwd=tmp_path))["rows"] for s in errors}
    assert [row["peer"] for row in rows["hnsw"]] == ["FlatIndex"] * 2
    assert [row["unit"] for row in rows["trimmed_mean"]] == ["GB/s"] * 3

    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    assert "dropped 1" in own.run("program.py", "compile", cwd=tmp_path)
    assert "[[0, 1, 2, 3, 4, 5, 6, 7]]" in own.run("program.py", "install", cwd=tmp_path)
    own.uninstall("bb-hnsw")
    assert "pip install bb-hnsw==0.1.0" in own.run("program.py", "install", cwd=tmp_path, fails=True)
