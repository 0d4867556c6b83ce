"""From callgrind's files to instructions of one unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bb_core.errors import RunFailed
from bb_plugins.bench.instructions import Counted, by_row, dumped, run

LISTED = (Counted("op", lambda n: lambda: None, few=100, many=1000), Counted("poll", lambda n: lambda: None, 1, 3))


@pytest.mark.parametrize("start_up", [[], [7], [7, 7, 7]])
def test_fixed_costs_drop_out_and_marks_of_start_up_are_ignored(start_up: list[int]) -> None:
    counts = [*start_up, 10**9, 50 + 1000 * 20, 50 + 100 * 20, 10**6, 8 + 3 * 5, 8 + 1 * 5]
    assert by_row(LISTED, counts) == {"op": 20, "poll": 5}


def test_too_few_counts_are_refused() -> None:
    with pytest.raises(RunFailed, match="6, three for each row"):
        by_row(LISTED, [1, 2, 3])


def test_files_are_read_in_order_of_their_number(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"out.{number}").write_text(f"version: 1\nevents: Ir\n\ntotals: {number}00\n", encoding="utf-8")
    (tmp_path / "out").write_text("totals: 5\n", encoding="utf-8")  # what came after the last mark
    assert dumped(tmp_path / "out") == [100, 200, 1000]


def test_a_file_without_totals_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.1").write_text("version: 1\n", encoding="utf-8")
    with pytest.raises(RunFailed, match="without totals"):
        dumped(tmp_path / "out")


def test_each_size_runs_once_between_two_marks_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []
    monkeypatch.setattr("bb_plugins.bench.instructions._mark", lambda: log.append("mark"))
    run([Counted("op", lambda n: lambda: log.append(n), few=1, many=2)])
    assert log[-5:] == ["mark", 2, "mark", 1, "mark"]
    assert log.count(2) == log.count(1) > 8
