"""What has changed since a run of `bb bench` that was kept by `--save`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bb_core.errors import UsageError

_MEASURES: Final = ("ratio", "limit_ratio", "bytes", "ours_ns")
"""What is compared, the first that both runs have: a ratio says more than a time, for the machine's speed drifts."""
_SAME_MACHINE: Final = ("cpu", "cores", "system")


@dataclass(frozen=True, slots=True)
class Change:
    """One row, now and before.

    Attributes:
        measure: What is compared: a field of `Row`.
        change: Now, divided by before; below 1 is better.
        is_noise: The change is no larger than the spreads of both runs together.
    """

    name: str
    peer: str | None
    measure: str
    before: float
    now: float
    change: float
    is_noise: bool


def save(found: dict[str, Any], path: Path) -> None:
    """Keep a table."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read(path: Path, suite: str) -> dict[str, Any]:
    """Read a table of a suite that was kept.

    Raises:
        UsageError: there is none, or it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found["suite"], str):
            raise ValueError("it has no suite")
        rows = {(row["name"], row["peer"]) for row in found["rows"]}
        if not all(isinstance(part, str | None) for row in rows for part in row):
            raise ValueError("a row has no name")
    except OSError as error:
        raise UsageError(f"--compare: {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--compare: {str(path)!r} is no run of bb bench: {error}", hint="bb bench SUITE --save FILE writes one"
        ) from error
    if found["suite"] != suite:
        raise UsageError(f"--compare: the file is of the suite {found['suite']!r}", expected=f"one of {suite!r}")
    return found


def changes(found: dict[str, Any], before: dict[str, Any]) -> list[Change]:
    """Compare the rows that two runs of one suite have in common.

    Raises:
        UsageError: the runs have no row in common.
    """
    earlier = {(row["name"], row["peer"]): row for row in before["rows"]}
    compared = []
    for row in found["rows"]:
        old = earlier.get((row["name"], row["peer"]))
        measure = next((m for m in _MEASURES if old and row.get(m) and old.get(m)), None)
        if old is not None and measure is not None:
            change = row[measure] / old[measure]
            spread = 1 + row["spread"] + (old.get("spread") or 0)
            is_noise = 1 / spread <= change <= spread
            compared.append(Change(row["name"], row["peer"], measure, old[measure], row[measure], change, is_noise))
    if not compared:
        raise UsageError("--compare: the two runs have no row in common")
    return compared


def other_machine(found: dict[str, Any], before: dict[str, Any]) -> str:
    """Say how the machines of two runs differ; empty when they do not."""
    now, then = found.get("machine", {}), before.get("machine", {})
    return "; ".join(
        f"{name}: {then.get(name)} before, {now.get(name)} now"
        for name in (*_SAME_MACHINE, "python", "numpy")
        if now.get(name) != then.get(name)
    )
