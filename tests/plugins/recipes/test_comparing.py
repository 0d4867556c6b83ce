"""`bb compare`: what the tables of the guide say, on fewer seeds, and what the command refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bb_core.cli import application
from bb_core.errors import UsageError
from bb_plugins.recipes import comparing, comparison
from bb_plugins.recipes.comparing import Arm, Comparison, compare
from bb_plugins.recipes.experiment import Experiment

SMALL = ("--clients", "11", "--rounds", "10", "--epochs", "1", "--seeds", "2")


def bb(*arguments: str) -> Any:
    return CliRunner().invoke(application(), ["compare", *arguments], env={"COLUMNS": "160"})


@pytest.fixture
def few_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {kind: make(20) for kind, make in comparing.KINDS.items()}
    monkeypatch.setattr(comparing, "KINDS", {kind: lambda n, a=made: [a[0], a[3]] for kind, made in arms.items()})


@pytest.mark.usefixtures("few_arms")
def test_the_command_prints_a_table_and_draws(tmp_path: Path) -> None:
    drawn = tmp_path / "codecs.svg"
    found = bb("codecs", *SMALL, "--plot", str(drawn))
    assert found.exit_code == 0, found.output
    assert "TopK 5%, feedback" in found.output
    assert "over 2 seeds" in found.output
    assert "What compression costs" in drawn.read_text(encoding="utf-8")


@pytest.mark.usefixtures("few_arms")
def test_json_has_the_curves_and_what_the_table_is_made_of() -> None:
    found = json.loads(bb("codecs", *SMALL, "--json").output)
    plain, cut = found["lines"]
    assert (np.shape(plain["curves"]), plain["points"], plain["update_share"]) == ((2, 10), 0.0, 1.0)
    assert plain["accuracy"] == pytest.approx(np.mean(plain["curves"]))
    assert cut["update_bytes"] == 8 * 481 + 8  # a twentieth of 9610 elements, of 8 bytes each, and the shape
    assert cut["wire_bytes"] < plain["wire_bytes"]
    assert cut["squared_error"] > 0 == plain["squared_error"]


@pytest.mark.usefixtures("few_arms")
def test_equal_seeds_give_equal_curves() -> None:
    small = Experiment(clients=11, rounds=10, epochs=1)
    first, second = (compare("codecs", small, 1) for _ in range(2))
    assert [line.curves for line in first.lines] == [line.curves for line in second.lines]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("codex",), "did you mean 'codecs'"),
        (("codecs", "--rounds", "9"), "at least 10"),
        (("codecs", "--seeds", "0"), "seeds is 0"),
        (("aggregators", "--clients", "10"), "at least 11, of whom 4 lie"),
        (("codecs", "--plot", "no/such/folder.png"), "no directory"),
        (("codecs", "--plot", "table.txt"), ".png or .svg or .pdf"),
        (("codecs", "--alpha", "-1"), "alpha is -1"),
    ],
)
def test_misuse_is_refused_by_name(arguments: tuple[str, ...], says: str) -> None:
    found = bb(*arguments)
    assert isinstance(found.exception, UsageError)
    assert says in str(found.exception)


def test_the_picture_names_every_line(tmp_path: Path) -> None:
    arms = [arm for make in comparing.KINDS.values() for arm in make(20)]
    lines = [comparing.Line(arm, curves=[[0.5] * 10, [0.7] * 10]) for arm in arms]
    from bb_plugins.recipes.plot import draw_comparison

    path = tmp_path / "all.svg"
    draw_comparison(Comparison("codecs", Experiment(), 2, lines[:7]), path)
    assert all(f"{arm.name}: 60.0 %" in path.read_text(encoding="utf-8") for arm in arms[:7])
    draw_comparison(Comparison("aggregators", Experiment(), 2, lines[7:]), path)
    assert all(f"{arm.name}: 60.0 %" in path.read_text(encoding="utf-8") for arm in arms[7:])


def points(kind: str, wanted: set[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def chosen(clients: int) -> list[Arm]:
        return [arm for arm in make(clients) if arm.name in wanted or arm.is_reference]

    make = comparing.KINDS[kind]
    monkeypatch.setitem(comparing.KINDS, kind, chosen)
    found = compare(kind, Experiment(), 2)
    return {line.arm.name: (found.points(line), line.update_bytes / line.whole_bytes) for line in found.lines}


@pytest.mark.slow
def test_compression_costs_less_than_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    found = points("codecs", {"Int8Affine", "TopK 5%, feedback", "TopK 5%, without"}, monkeypatch)
    cost, share = found["Int8Affine"]
    assert cost > -0.5
    assert share < 0.26
    cost, share = found["TopK 5%, feedback"]
    assert cost > -1
    assert share < 0.11
    assert found["TopK 5%, without"][0] < cost - 0.5


@pytest.mark.slow
def test_liars_ruin_an_average_and_hardly_touch_what_is_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    robust = {"CoordinateMedian", "TrimmedMean", "MultiKrum"}
    found = points("aggregators", {"FedAvg", *robust}, monkeypatch)
    assert found["FedAvg"][0] < -60
    assert {name: cost for name, (cost, _) in found.items() if name in robust and cost < -3} == {}


def test_the_command_is_what_the_guide_says() -> None:
    assert comparison.LIARS == 4
    assert comparison.FACTOR == -5
