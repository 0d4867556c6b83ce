"""Assemblies: values that arrive in chunks, until all chunks of a Send are there.

Chunks come in any order, and again. The bytes of a value are taken when its first chunk comes, after it was seen that
its site is exported and that its type is the declared one, and out of a budget of their own; they are zero until they
are filled. An assembly that nothing new has come for in a minute is dropped. One peer has at most `MOST_EACH` open, in
half of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from bb_core.engine.program import Export
from bb_core.errors import CapExceeded, Overfull, PayloadError
from bb_core.ids import PeerId
from bb_core.steps import Dropped
from bb_core.wire.chunks import AHEAD, Chunk
from bb_core.wire.codec import address_of
from bb_core.wire.tensors import ALIGNMENT

if TYPE_CHECKING:
    from bb_core.engine.engine import Engine
    from bb_core.engine.receiving import Inbound
    from bb_core.engine.timers import Timer

IDLE_NS: Final = 60 * 10**9
"""How long an assembly waits for the next chunk."""
_ASIDE: Final = 1 << 17  # bytes of one value's flags, and of what stands before its data
MOST_EACH: Final = 16
"""How many assemblies one peer may have open."""
OVERHEAD: Final = 2048
"""Bytes that an assembly takes besides its values and its flags: of many small ones, these are the most."""

Key = tuple[bytes, int, int, str, str]
"""Source, kind, request, function and edge."""


@dataclass(slots=True)
class Part:
    """One value."""

    export: Export
    type_hash: int
    data: npt.NDArray[np.uint8]
    filled: int = 0


@dataclass(slots=True)
class Assembly:
    """What has come of one Send of one peer.

    Attributes:
        flags: A byte for each chunk, 1 when it is there.
        upto: So many are there without a gap.
        came: How many are there.
        held: Bytes that it holds.
        touched: When something new last came.
    """

    number: int
    key: Key
    flags: bytearray
    touched: int
    parts: dict[int, Part] = field(default_factory=dict)
    """By index of the value in the function."""
    upto: int = 0
    came: int = 0
    held: int = 0
    timer: Timer | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every chunk is there."""
        return self.came == len(self.flags)

    def more(self) -> bytes:
        """Which chunks beyond those without a gap are there, as a receipt says it."""
        flags = np.frombuffer(self.flags, np.uint8)[self.upto : self.upto + AHEAD]
        return np.packbits(flags, bitorder="little").tobytes().rstrip(b"\0")


class Assemblies:
    """The open assemblies of one Node.

    Args:
        engine: Whose timers and Steps are used.
        most_bytes: What all of them, and the values of open Frames that were assembled, may hold; but twice what a
            value may have, as one peer gets no more than half.
        most_value: Bytes of one value.
    """

    def __init__(self, engine: Engine, most_bytes: int, most_value: int) -> None:
        self._engine = engine
        self._most_bytes = max(most_bytes, 2 * most_value) + 4 * _ASIDE  # half of it has room for any one value
        self.most_value = most_value + _ASIDE
        """Bytes of a payload: those of the value, and what stands before them."""
        self._count = 0
        self._held = 0
        self._open: dict[Key, Assembly] = {}
        self._numbered: dict[int, Assembly] = {}
        self._mine: dict[bytes, dict[int, Assembly]] = {}
        """Those of each peer."""

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def held(self) -> int:
        """Bytes that they hold."""
        return self._held

    def take(self, export: Export, inbound: Inbound, chunk: Chunk) -> tuple[Assembly, bool]:
        """Take in a chunk whose site and type have been checked. Returns what it belongs to, and whether it is new.

        Raises:
            CapExceeded: the value is larger than one may be.
            Overfull: there is no room for it now; it may be sent again.
            PayloadError: it does not fit to the chunks before it.
        """
        if chunk.total > self.most_value:
            raise CapExceeded(
                f"a value has {chunk.total} bytes", expected=f"about {self.most_value} at the most",
                hint="see NodeConfig(max_value_bytes=...)",
            )  # fmt: skip
        key = (inbound.source.raw, inbound.kind, inbound.request, export.function, export.edge)
        found = self._open.get(key) or self._begin(key, chunk)
        if len(found.flags) != chunk.count:
            raise PayloadError(f"a chunk is of {chunk.count}, those before it of {len(found.flags)}")
        if found.flags[chunk.index]:
            return found, False
        found.touched = self._engine.now  # a duplicate brings nothing, and keeps nothing open
        part = found.parts.get(export.value) or self._make_room(found, export, chunk)
        if part.type_hash != chunk.type_hash or part.data.nbytes != chunk.total:
            raise PayloadError("a chunk says another type or size of its value than those before it")
        size = chunk.data.nbytes
        part.data[chunk.offset : chunk.offset + size] = np.frombuffer(chunk.data, np.uint8)
        part.filled += size
        found.flags[chunk.index] = 1
        found.came += 1
        while found.upto < len(found.flags) and found.flags[found.upto]:
            found.upto += 1
        return found, True

    def _begin(self, key: Key, chunk: Chunk) -> Assembly:
        if len(self._mine.get(key[0], ())) >= MOST_EACH:
            raise Overfull(f"the peer has {MOST_EACH} values under way", expected="no more than that")
        size = OVERHEAD + chunk.count
        self._reserve(size)
        self._count += 1
        found = Assembly(self._count, key, bytearray(chunk.count), self._engine.now)
        found.held = size
        self._add(found)
        self._look_later(found)
        return found

    def _add(self, found: Assembly) -> None:
        self._open[found.key] = self._numbered[found.number] = found
        self._mine.setdefault(found.key[0], {})[found.number] = found

    def _make_room(self, found: Assembly, export: Export, chunk: Chunk) -> Part:
        self._share(found, chunk.total)
        self._reserve(chunk.total)
        found.held += chunk.total
        part = found.parts[export.value] = Part(export, chunk.type_hash, _aligned(chunk.total))
        return part

    def _share(self, found: Assembly, size: int) -> None:
        """Refuse a peer more than half of the room: what it only declares costs it nothing."""
        holder = self._engine.dispatcher.holders.get(PeerId(found.key[0]))
        held = sum(each.held for each in self._mine[found.key[0]].values())
        held += 0 if holder is None else holder.assembled
        if held + size > self._most_bytes // 2:
            raise Overfull(
                f"the peer's values in chunks hold {held} bytes, and {size} more are to come",
                expected=f"at most {self._most_bytes // 2} of one peer",
            )

    def _reserve(self, size: int) -> None:
        used = self._held + self._engine.dispatcher.assembled
        if used + size > self._most_bytes:
            raise Overfull(
                f"{used} bytes of values in chunks are held, and {size} more are to come",
                expected=f"at most {self._most_bytes} in all",
            )
        self._held += size

    def close(self, found: Assembly) -> None:
        """Forget an assembly, and hold its bytes no longer."""
        del self._open[found.key], self._numbered[found.number]
        mine = self._mine[found.key[0]]
        del mine[found.number]
        if not mine:
            del self._mine[found.key[0]]
        self._held -= found.held
        if found.timer is not None:
            self._engine.timers.cancel(found.timer)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _look_later(self, found: Assembly) -> None:
        title = "a value in chunks is given up"
        found.timer = self._engine.timers.set(found.touched + IDLE_NS, "assembly", found.number, title)

    def due(self, number: int) -> None:
        """Drop an assembly that nothing has come for."""
        found = self._numbered.get(number)
        if found is None:
            return
        found.timer = None
        if found.touched + IDLE_NS > self._engine.now:
            self._look_later(found)
            return
        self.close(found)
        self._engine.steps.append(Dropped(PeerId(found.key[0]), "abandoned", found.came))

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "count": self._count,
            "open": [
                [
                    a.number, [*a.key[:2], a.key[2].to_bytes(8, "big"), *a.key[3:]],
                    bytes(a.flags), a.touched, a.upto, a.came, a.held,
                    [[p.export.site.to_bytes(8, "big"), p.type_hash.to_bytes(8, "big"), p.data, p.filled]
                     for p in a.parts.values()],
                ]
                for a in self._open.values()
            ],
        }  # fmt: skip

    def load(self, state: dict[str, Any], timers: dict[int, Timer]) -> None:
        """Take over a state; the timers are those of the assemblies, by number."""
        self._count = state["count"]
        for number, key, flags, touched, upto, came, held, parts in state["open"]:
            source, kind, request, function, edge = key
            found = Assembly(
                number, (source, kind, int.from_bytes(request, "big"), function, edge),
                bytearray(flags), touched, {}, upto, came, held, timers.get(number),
            )  # fmt: skip
            for site, type_hash, data, filled in parts:
                export = self._engine.exports[int.from_bytes(site, "big")]
                mine = _aligned(len(data))
                mine[:] = data
                found.parts[export.value] = Part(export, int.from_bytes(type_hash, "big"), mine, filled)
            self._add(found)
            self._held += held


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    """Return so many zeros at an aligned address; the system gives them as they are touched."""
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -address_of(block) % ALIGNMENT
    return block[start : start + size]
