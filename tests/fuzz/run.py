"""Fuzz one target: `python -m tests.fuzz.run TARGET SECONDS FOUND [libFuzzer's options]`.

With atheris, coverage-guided: what reaches new code is kept in the folder FOUND. Without it, mutants of the corpus
until the time is over. `make fuzz` runs all targets on a build with sanitizers.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic

from tests.fuzz.mutate import LONGEST, folders, mutants, seeds


def main(target: str, seconds: int, found: str, *more: str) -> None:
    """Fuzz until the time is over, or an input breaks a promise."""
    # gcc's sanitizers bring hooks for coverage of their own, which do nothing and hide those of libFuzzer.
    if find_spec("atheris") and "libasan" not in os.environ.get("LD_PRELOAD", ""):
        _guided(target, seconds, found, *more)
    else:
        _blind(target, seconds, next((m.partition("=")[2] for m in more if m.startswith("-artifact_prefix=")), ""))


def _guided(target: str, seconds: int, found: str, *more: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["bb_core.wire", "bb_core.ids", "bb_core.values"]):
        from tests.fuzz.targets import TARGETS
    given = [*more, found, *map(str, folders(target))]
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-rss_limit_mb=2048", "-malloc_limit_mb=64"]
    atheris.Setup([sys.argv[0], *limits, *given], TARGETS[target])
    atheris.Fuzz()


def _blind(target: str, seconds: int, prefix: str) -> None:
    from tests.fuzz.targets import TARGETS

    run, known, seed = TARGETS[target], seeds(target), Random().getrandbits(32)
    print(f"{target}: not guided: mutants of {len(known)} inputs, seed {seed}")
    until = monotonic() + seconds
    for number, mutant in zip(count(), mutants(known, Random(seed)), strict=False):
        if monotonic() > until:
            print(f"{target}: {number} inputs, nothing found")
            return
        try:
            run(mutant)
        except BaseException:
            crash = Path(f"{prefix}{target}-{seed}-{number}")
            crash.write_bytes(mutant)
            print(f"{target}: input {number}, kept as {crash}, is {mutant.hex()}")
            raise


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
