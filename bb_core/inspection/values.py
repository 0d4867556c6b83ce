"""Values in short form, for one line each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from bb_core.ids import PeerId
from bb_core.values import Composite, Record, RequestId, Trigger
from bb_core.wire.address import Address
from bb_core.wire.chunks import Chunk
from bb_core.wire.wire_types import find

MOST: Final = 8
"""Items and elements that are shown of a value."""
LONGEST: Final = 120
"""Characters of one text."""


def tell_value(value: Any) -> tuple[str, list[tuple[str, str]]]:
    """Return a value in short form, and of a Record or a Composite what it holds, as names and short forms."""
    if isinstance(value, Record):
        return f"Record of {len(value)}", [(printable(name), brief(value[name])) for name in value]
    if isinstance(value, Composite):
        return f"Composite of {len(value)}", [(str(i), brief(child)) for i, child in enumerate(value)]
    return brief(value), []


def brief(value: Any) -> str:
    """Write a value in short form, in which no character of a peer's can steer a terminal."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {_listed((str(v) for v in value.flat), value.size, ' ')}".rstrip()
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:24]!r}" + ("..." if len(value) > 24 else "")
    if isinstance(value, Record):
        return f"Record({_listed((f'{printable(k)}={brief(v)}' for k, v in value.items()), len(value))})"
    if isinstance(value, PeerId | Address):
        return printable(str(value)) or "(empty)"
    if isinstance(value, tuple):  # lists of peers and addresses, and Composites
        return f"{type(value).__name__}({_listed(map(brief, value), len(value))})"
    if isinstance(value, Chunk):
        known = find(value.type_hash)
        name = known.name if known else "a value of no known wire type"
        size = memoryview(value.data).nbytes
        where = f"bytes {value.offset} to {value.offset + size} of {value.total}"
        return f"chunk {value.index + 1} of {value.count}: {where} of {name}"
    if isinstance(value, RequestId):
        return f"request {int(value)}"
    return "trigger" if isinstance(value, Trigger) else printable(repr(value))


def _listed(items: Iterable[str], count: int, between: str = ", ") -> str:
    """Join the first items, and say how many more there are."""
    shown = [item for _, item in zip(range(MOST), items, strict=False)]
    return between.join(shown + ([f"... {count - MOST} more"] if count > MOST else []))


def printable(text: str) -> str:
    """Escape what is not printable, and cut what is long."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:LONGEST])
    return plain + "..." if len(text) > LONGEST else plain
