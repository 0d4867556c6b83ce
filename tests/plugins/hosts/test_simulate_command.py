"""`bb simulate` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = f"{ROOT}/docs/examples/gossip_averaging.py:GossipAveraging"
SMALL = ("--nodes", "12", "--until", "time=4s")
SCENARIO = """
[link]
latency = { kind = "uniform", low = "5ms", high = "80ms" }
loss = 0.05
[nodes]
start = "1s"
[churn]
up = "3s"
down = "1s"
"""


def simulate(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (cwd / "wan.toml").write_text(SCENARIO, encoding="utf-8")
    command = [sys.executable, "-m", "bb_core.cli", "simulate", PROGRAM, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)


def test_equal_seeds_give_equal_json_whatever_the_hash_seed(tmp_path: Path) -> None:
    first, second, other = (
        simulate(*SMALL, "--scenario", "wan.toml", "--seed", seed, "--json", cwd=tmp_path, PYTHONHASHSEED=hashes)
        for seed, hashes in (("7", "1"), ("7", "2"), ("8", "1"))
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout != other.stdout
    told = json.loads(first.stdout)
    assert told["peers"] == 12
    assert told["scenario"] == "wan"
    assert [s["second"] for s in told["seconds"]] == [1, 2, 3, 4]
    assert sum(s["envelopes"] for s in told["seconds"]) <= told["envelopes"]


def test_for_people_it_prints_a_table_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = simulate(*SMALL, "--plot", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("GossipAveraging", "Envelopes sent", "estimate", "out.png"):
        assert text in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--nodes", "many"), "client=1000"),
        (("--nodes", "robot=3"), "robot"),
        (("--until", "soon"), "round=50"),
        (("--until", "round=5"), "begins by itself"),
        (("--scenario", "no.toml"), "no.toml"),
        (("--plot", "out.txt"), ".png"),
        (("--set", "average.start=1"), "peer by peer"),
        (("--seed", "-1"), "0 or more"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_do(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = simulate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
