"""The pytest plugin behind `bb bench`: the fixture `row`, and the table that it fills.

Theory of operation. A machine's speed drifts by a factor of two within an hour, so a time alone says little. A row
measures ours, a named peer and a physical limit in turns, one batch of each in every round, and reports the median over
the rounds of the *ratio*. Beside wall time it takes CPU time: a round in which the two differ by more than 5 % was
disturbed (or had helpers on other cores), and is left out. The garbage collector is off for all sides alike.

What grows with a size is measured by `slope`: the difference of two sizes, from which every fixed cost drops out.
"""

from __future__ import annotations

import gc
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns, process_time_ns
from typing import Any

import pytest

Call = Callable[[], Any]

_BATCH_NS = 5_000_000  # a batch is long against the clock's grain and short against the machine's drift
_SLOPE_NS = 4 * _BATCH_NS  # a small difference of two times needs more of them
_DISTURBED = 0.05
_ENOUGH = 5  # with fewer undisturbed rounds than this, all rounds count and the row says so


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a suite's table. Times are nanoseconds for one call; ratios are ours divided by the other's.

    Attributes:
        peer: What ours is compared with; None when there is none.
        spread: Interquartile range of the ratio (of ours, without a peer), as a share of its median.
        limit: The physical limit; None when there is none.
        cpu_ns: CPU time of ours.
        disturbed: Share of rounds in which CPU and wall time differed by more than 5 %.
        bytes: For a row that measures memory instead of time; `ours_ns` is then 0.
        instructions: Instructions of ours, where `bb bench --instructions` has counted them.
        rate: What ours does in a nanosecond, in the `unit`; for a row of `kernel_benchmark`.
        limit_rate: The same for the limit.
        unit: `GB/s` or `GFLOP/s`.
    """

    name: str
    ours_ns: float
    peer: str | None
    peer_ns: float | None
    ratio: float | None
    spread: float
    limit: str | None
    limit_ratio: float | None
    cpu_ns: float = 0.0
    disturbed: float = 0.0
    bytes: float | None = None
    instructions: float | None = None
    rate: float | None = None
    limit_rate: float | None = None
    unit: str = ""


@dataclass(slots=True)
class _Lap:
    wall: float
    cpu: float

    @property
    def is_disturbed(self) -> bool:
        return abs(self.wall - self.cpu) > _DISTURBED * self.wall


class Measure:
    """The fixture `row`. Call it once or more in a test; each call adds a row."""

    def __init__(self, benchmark: Any, rows: list[Row], rounds: int) -> None:
        self._benchmark = benchmark
        self._rows = rows
        self._rounds = rounds

    def __call__(
        self,
        name: str,
        ours: Call,
        *,
        peer: tuple[str, Call] | None = None,
        limit: tuple[str, Call] | None = None,
        timed: bool = False,
        per: int = 1,
        rounds: int | None = None,
        limit_share: float = 1.0,
    ) -> Row:
        """Measure.

        Args:
            name: What is measured.
            ours: Does it once.
            peer: Who is compared with, and a callable that does the same once.
            limit: Which physical limit, and a callable that does only what cannot be avoided.
            timed: The callables return nanoseconds themselves (wall), for what cannot be timed from outside.
            per: How many units one call does; times are for one unit.
            rounds: Overrides `--rounds`.
            limit_share: How much of ours the limit's callable does; its times are divided by it.
        """
        sides = {"ours": ours} | ({"peer": peer[1]} if peer else {}) | ({"limit": limit[1]} if limit else {})
        parts = {side: per * limit_share if side == "limit" else per for side in sides}
        clocks = {side: (_told if timed else _timed)(call, parts[side]) for side, call in sides.items()}
        laps: dict[str, list[_Lap]] = {side: [] for side in sides}

        def others() -> None:
            for side in sides:
                if side != "ours":
                    laps[side].append(clocks[side]())

        def target() -> None:
            laps["ours"].append(clocks["ours"]())

        with _no_collections():
            if self._benchmark is None:
                for _ in range(rounds or self._rounds):
                    others()
                    target()
            else:
                self._benchmark.pedantic(target, setup=others, rounds=rounds or self._rounds, iterations=1)
                self._benchmark = None  # one test is one pytest-benchmark entry; its further rows are timed alike
        row = _summarise(name, laps, peer[0] if peer else None, limit[0] if limit else None)
        self._rows.append(row)
        return row

    def rate(self, row: Row, work: float, unit: str) -> Row:
        """Say in the row that was measured last how much it does in a nanosecond."""
        rate = work / row.ours_ns
        told = replace(row, rate=rate, limit_rate=rate * row.limit_ratio if row.limit_ratio else None, unit=unit)
        self._rows[-1] = told
        return told

    def memory(self, name: str, measured: float, *, peer: tuple[str, float] | None = None) -> Row:
        """Add a row of bytes instead of nanoseconds."""
        ratio = measured / peer[1] if peer else None
        row = Row(name, 0.0, peer[0] if peer else None, None, ratio, 0.0, None, None, bytes=measured)
        self._rows.append(row)
        return row


def slope(many: Call, few: Call, units: int) -> Call:
    """Return a call, for a row with `timed=True`, that tells the nanoseconds of one unit.

    Args:
        many: Does what is measured at the larger size.
        few: Does it at the smaller size; the two run in turns.
        units: By how many units the sizes differ.
    """
    many(), few()
    began = perf_counter_ns()
    many(), few()
    repeat = range(max(1, _SLOPE_NS // max(1, perf_counter_ns() - began)))

    def tell() -> float:
        differences = []
        for _ in repeat:
            began = perf_counter_ns()
            many()
            between = perf_counter_ns()
            few()
            differences.append(between - began - (perf_counter_ns() - between))
        return median(differences) / units

    return tell


@contextmanager
def _no_collections() -> Iterator[None]:
    """Leave the cyclic garbage collector out: it would run in whichever side happens to be its turn."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _timed(call: Call, per: float) -> Callable[[], _Lap]:
    """Time a batch of calls, as many as fill `_BATCH_NS`."""
    call()
    began = perf_counter_ns()
    call()
    count = max(1, _BATCH_NS // max(1, perf_counter_ns() - began))

    def lap() -> _Lap:
        repeat = range(count)
        cpu, wall = process_time_ns(), perf_counter_ns()
        for _ in repeat:
            call()
        wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
        return _Lap(wall / (count * per), cpu / (count * per))

    return lap


def _told(call: Call, per: float) -> Callable[[], _Lap]:
    """Take the time that a call tells; its CPU time is by the share that the whole call had."""
    call()

    def lap() -> _Lap:
        cpu, wall = process_time_ns(), perf_counter_ns()
        told = call() / per
        wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
        return _Lap(told, told * cpu / wall)

    return lap


def _summarise(name: str, laps: dict[str, list[_Lap]], peer: str | None, limit: str | None) -> Row:
    count = len(laps["ours"])
    calm = [i for i in range(count) if not any(side[i].is_disturbed for side in laps.values())]
    kept = calm if len(calm) >= min(_ENOUGH, count) else list(range(count))
    wall = {side: [lap[i].wall for i in kept] for side, lap in laps.items()}
    ratios = {
        side: [a / b for a, b in zip(wall["ours"], times, strict=True) if b > 0]
        for side, times in wall.items()
        if side != "ours"
    }
    compared = ratios.get("peer") or wall["ours"]
    return Row(
        name,
        median(wall["ours"]),
        peer,
        median(wall["peer"]) if peer else None,
        median(ratios["peer"]) if ratios.get("peer") else None,
        _spread(compared),
        limit,
        median(ratios["limit"]) if ratios.get("limit") else None,
        median(laps["ours"][i].cpu for i in kept),
        1 - len(calm) / count,
    )


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, middle, high = quantiles(values, n=4)
    return (high - low) / middle if middle else 0.0


def machine() -> dict[str, Any]:
    """Say on what was measured."""
    import numpy as np

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "threads": os.environ.get("OMP_NUM_THREADS", "unpinned"),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


# --- pytest hooks -----------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `bb bench` passes."""
    group = parser.getgroup("bb bench")
    group.addoption("--bb-rows", default=None, help="write the rows to this JSON file")
    group.addoption("--bb-rounds", type=int, default=21, help="rounds of each row")


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty table."""
    config.stash[_ROWS] = []
    config.stash[_SKIPPED] = []
    config.pluginmanager.register(_Skips(config.stash[_SKIPPED]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table."""
    path = session.config.getoption("--bb-rows")
    if path:
        rows = [asdict(row) for row in session.config.stash[_ROWS]]
        table = {"machine": machine(), "rows": rows, "skipped": session.config.stash[_SKIPPED]}
        Path(path).write_text(json.dumps(table), encoding="utf-8")


class _Skips:
    """Notes which tests were skipped and why, so that a row that is missing is explained."""

    def __init__(self, skipped: list[dict[str, str]]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            self._skipped.append({"name": report.nodeid.rpartition("::")[2], "reason": reason})


@pytest.fixture
def row(benchmark: Any, pytestconfig: pytest.Config) -> Measure:
    """Measure rows; see `Measure`."""
    return Measure(benchmark, pytestconfig.stash[_ROWS], pytestconfig.getoption("--bb-rounds"))


@pytest.fixture
def kernel_benchmark(row: Measure) -> Any:
    """Measure a kernel over shapes and element types, against the machine's own limit; see `KernelBenchmark`."""
    from bb_plugins.bench.rates import KernelBenchmark

    return KernelBenchmark(row)


_ROWS = pytest.StashKey[list[Row]]()
_SKIPPED = pytest.StashKey[list[dict[str, str]]]()
