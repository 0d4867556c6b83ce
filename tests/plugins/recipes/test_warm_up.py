"""`bb warmup` compiles every kernel once in a machine's life, and what runs afterwards compiles nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bb_plugins.aggregators.reductions import coordinate_median, squared_distances, weighted_mean
from bb_plugins.backends.cpu import backend
from bb_plugins.backends.cpu.kernels._jit import COMPILED
from bb_plugins.backends.cpu.kernels.elements import ELEMENTS
from bb_plugins.backends.cpu.ops import elementwise
from bb_plugins.recipes.experiment import Experiment, run_experiment
from bb_plugins.recipes.warm_up import AVERAGING, ELSEWHERE, TRIALS, every_kernel, kernel_named, warm_up

ROOT = Path(__file__).parents[3]
KERNELS = ROOT / "bb_plugins" / "backends" / "cpu" / "kernels"
FILES = [*KERNELS.glob("*.py"), *(ROOT / "bb_plugins").glob("*/kernels.py")]


def run(*arguments: str, cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def jitted() -> set[str]:
    """All functions that `_jit` decorates, read from the sources."""
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names |= {node.name for d in node.decorator_list if isinstance(d, ast.Name) and d.id in _DECORATORS}
    return names


_DECORATORS = {"inlined", "kernel", "loop", "native", "reduction"}


def test_every_registered_kernel_has_a_trial() -> None:
    assert TRIALS.keys() == backend._PRIMITIVES.keys() | ELSEWHERE.keys()
    assert all(kernel_named(name).__name__ == name for name in TRIALS)
    assert set(AVERAGING) <= TRIALS.keys()


def test_kernels_are_jitted_in_one_place_and_only_there() -> None:
    assert TRIALS.keys() <= jitted()
    for path in (ROOT / "bb_plugins").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "_jit.py" or "njit" not in text, path
        assert path.name == "_jit.py" or "fastmath=" not in text, path


@pytest.mark.slow
def test_the_second_warm_up_compiles_nothing(tmp_path: Path) -> None:
    first, second = (json.loads(run("-m", "bb_core.cli", "warmup", "--json", cache=tmp_path)) for _ in range(2))
    assert set(first["compiled"]) == jitted() | {f"each_{name}" for name in ELEMENTS}
    assert second["compiled"] == {}
    for told in (first, second):
        assert told["kernels"] == len(every_kernel())
        assert all(Path(folder).is_relative_to(tmp_path) for folder in told["cache"])
        assert told["cache_bytes"] > 100_000
    assert second["cache_bytes"] == first["cache_bytes"]
    assert "0 functions compiled" in run("-m", "bb_core.cli", "warmup", cache=tmp_path)


@pytest.mark.slow
def test_importing_the_kernels_compiles_nothing(tmp_path: Path) -> None:
    modules = ", ".join(f"{name}" for name in sorted(p.stem for p in KERNELS.glob("[a-z]*.py")))
    script = f"from bb_plugins.backends.cpu.kernels import {modules}, _jit\nprint(len(_jit.COMPILED))"
    assert run("-c", script, cache=tmp_path).split() == ["0"]
    assert not list(tmp_path.rglob("*.nbi"))


def test_what_runs_after_a_warm_up_compiles_nothing() -> None:
    told: list[Any] = []
    warm_up(every_kernel(), lambda done, total, name: told.append((done, total, name)))
    assert [name for *_, name in told] == [*every_kernel(), "ready"]
    before = list(COMPILED)
    many = [np.ones(700, np.float32)] * 6
    for reduce in (coordinate_median, squared_distances, lambda given: weighted_mean(iter(given), [1] * 6)):
        reduce(many)
    large = np.ones(100_000, np.float32)
    frozen = large.view()
    frozen.flags.writeable = False
    for x in (large, frozen):
        elementwise.erf(x)
        elementwise.compiled("gelu", x)
    run_experiment(Experiment(clients=5, rounds=1, epochs=1, alpha=None, seed=0))
    assert before == COMPILED


@pytest.mark.slow
def test_a_compilation_on_first_use_is_logged(tmp_path: Path) -> None:
    script = """
import logging
import numpy as np
from bb_plugins.aggregators.reductions import weighted_mean
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", force=True)
import sys
logging.getLogger().handlers[0].setStream(sys.stdout)
weighted_mean([np.ones(3, np.float32)], [1])
"""
    logged = run("-c", script, cache=tmp_path)
    assert "bb_plugins.backends.cpu.kernels._jit compiled add_scaled in" in logged
    assert "bb warmup" in logged
    assert run("-c", script, cache=tmp_path) == ""
