"""Keep what fuzzing has found for good: `python -m tests.fuzz.keep TARGET FOUND`.

Of the corpus and the folder FOUND, the smallest inputs first, those stay that take a step from one line to another
which none before them has taken, in the readers or in their oracles.
"""

from __future__ import annotations

import sys
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutate import CORPUS, LONGEST
from tests.fuzz.targets import TARGETS
from tests.golden.load import envelopes

WATCHED = ("bb_core/wire/", "bb_core/ids.py", "bb_core/values.py", "bb_core/inspection/", "tests/oracles/")

Step = tuple[str, int, int]


def steps(target: str, data: bytes) -> set[Step]:
    """Run one input and return the steps that it takes."""
    found: set[Step] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if event == "call":
            return trace if any(part in name for part in WATCHED) else None
        found.add((name, last.get(frame, 0), frame.f_lineno))
        last[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        TARGETS[target](data)
    finally:
        sys.settrace(None)
    return found


def keep(target: str, found: Path) -> None:
    """Write what stays into the corpus, and take the rest out of it."""
    folder = CORPUS / target
    known = {path.read_bytes() for place in (folder, found) for path in place.iterdir()}
    always = set(envelopes().values()) if target == "envelope" else set()
    seen: set[Step] = set()
    kept = []
    for data in sorted((d for d in known if len(d) <= LONGEST), key=lambda d: (d not in always, len(d), d)):
        new = steps(target, data) - seen
        if new or data in always:
            seen |= new
            kept.append(data)
    for path in folder.iterdir():
        path.unlink()
    for data in kept:
        (folder / sha1(data).hexdigest()).write_bytes(data)
    print(f"{target}: {len(kept)} of {len(known)} inputs, {sum(map(len, kept))} bytes, {len(seen)} steps")


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]))
