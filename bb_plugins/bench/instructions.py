"""How many instructions a unit of work takes: what a shared machine's clock cannot blur.

Theory of operation. A suite lists what it wants counted, each thing at two sizes. One process runs the list under
callgrind; before and after each run it makes a call that nothing else makes, at which callgrind writes down what it has
counted since the last time. The difference of the two sizes, over the difference of the sizes, is the count for one
unit: start-up, warm-up and every fixed cost drop out.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bb_core.errors import MissingExtra, RunFailed, UsageError

_MARK: Final = "clock_getres*"
"""The C function that `_mark` calls, and nothing else in a run; with a wildcard for the symbol's version."""
_WARM_UP = 10  # CPython specialises a function after eight calls
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counted:
    """One thing to count; a suite lists them as its `INSTRUCTIONS`.

    Attributes:
        row: Name of the row of the suite's table that the count belongs to.
        make: Given a number of units, returns what does so many.
        few: The smaller size.
        many: The larger one.
    """

    row: str
    make: Callable[[int], Callable[[], Any]]
    few: int = 100
    many: int = 1000


def wanted(suite: str, module: str) -> Sequence[Counted]:
    """Return what a suite wants counted.

    Raises:
        UsageError: it counts nothing.
        MissingExtra: valgrind is not installed.
    """
    found: Sequence[Counted] = getattr(importlib.import_module(module), "INSTRUCTIONS", ())
    if not found:
        raise UsageError(f"the suite {suite!r} counts no instructions", hint="leave --instructions out")
    if shutil.which("valgrind") is None:
        raise MissingExtra(
            "--instructions counts with valgrind, which is not installed",
            hint="install it, as by `apt install valgrind`, or leave --instructions out",
        )
    return found


def count(suite: str, module: str, env: Mapping[str, str]) -> dict[str, float]:
    """Count the instructions of what a suite lists, by row.

    Raises:
        UsageError, MissingExtra: as `wanted`.
        RunFailed: the process failed; the end of its output is quoted.
    """
    listed = wanted(suite, module)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        done = subprocess.run(
            [*_command(out), sys.executable, "-m", __name__, module],
            cwd=scratch,
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RunFailed(f"the suite {suite!r} failed under valgrind", hint=(done.stdout + done.stderr)[-2000:])
        return by_row(listed, dumped(out))


def _command(out: Path) -> list[str]:
    return ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={_MARK}"]


def dumped(out: Path) -> list[int]:
    """Return what was counted up to each mark, in order; callgrind numbers its files from 1."""
    numbered = sorted((int(path.suffix[1:]), path) for path in out.parent.glob(f"{out.name}.*"))
    return [int(_total(path.read_text(encoding="utf-8"))) for _, path in numbered]


def _total(text: str) -> str:
    found = _TOTAL.search(text)
    if found is None:
        raise RunFailed("callgrind has written a file without totals", hint="this needs valgrind 3.15 or later")
    return found[1]


def by_row(listed: Sequence[Counted], counts: Sequence[int]) -> dict[str, float]:
    """Turn counts, three for each thing (what went before, many, few), into instructions of one unit.

    Counts that start-up has added in front are ignored.
    """
    if len(counts) < 3 * len(listed):
        raise RunFailed(
            f"callgrind has written {len(counts)} counts", expected=f"{3 * len(listed)}, three for each row"
        )
    own = counts[len(counts) - 3 * len(listed) :]
    return {each.row: (own[3 * i + 1] - own[3 * i + 2]) / (each.many - each.few) for i, each in enumerate(listed)}


# --- inside the counted process ---------------------------------------------------------------------------------------


def run(listed: Sequence[Counted]) -> None:
    """Run what is listed, with a mark before, between and after its two sizes."""
    gc.disable()  # a collection would be counted in whichever run it happens in
    for each in listed:
        many, few = each.make(each.many), each.make(each.few)
        for _ in range(_WARM_UP):
            many(), few()
        _mark()
        many()
        _mark()
        few()
        _mark()


def _mark() -> None:
    time.clock_getres(time.CLOCK_MONOTONIC)


if __name__ == "__main__":
    run(importlib.import_module(sys.argv[1]).INSTRUCTIONS)
