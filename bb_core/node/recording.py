"""Recordings: all that a Node was told, and what it gave, so that it can be run again.

A recording is a sequence of entries. Before each stand its length and a CRC-32 of these four bytes, after it a CRC-32
of the entry, all little-endian. So one which a crash has cut is good up to its last whole entry, and a length that has
changed is not taken for a cut, which would lose all that follows. Nothing but zeros at the end is a cut too: a file
system that loses its power leaves them. An entry is a MessagePack array (see `packing`)
that begins with its kind:

| kind | then |
|---|---|
| `begin` | format, release, op budget, a snapshot |
| `blob` | digest, content: a large content, once, before the first entry that names it |
| `in` | time, kind and arguments of an input (`inputs.TAKE`) |
| `answers` | time, [Frame, op, outputs, error] of each Later that was answered from outside |
| `poll` | time, [kind, title, digest] of each Step |
| `lost` | why an input could not be kept; a replay ends here |
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from bb_core.engine.laters import Answer
from bb_core.errors import RecordingError, SnapshotError
from bb_core.node.inputs import Input
from bb_core.node.packing import Packer, unpack
from bb_core.steps import AppEvent, OpFailed, SendEnvelope, Step
from bb_core.version import __version__

FORMAT: Final = 3
_HEAD: Final = struct.Struct("<II")
"""The length of an entry, and the checksum of the length."""
_TAIL: Final = 4


class Recorder:
    """Writes a recording."""

    def __init__(self, write: Callable[[bytes], Any], snapshot: bytes, op_budget: int) -> None:
        self._write = write
        self._packer = Packer()
        self._known: set[bytes] = set()
        self._op_budget = op_budget
        self.begun(snapshot)

    def begun(self, snapshot: bytes) -> None:
        """Write from what the Node goes on."""
        self._put(["begin", FORMAT, __version__, self._op_budget, snapshot])

    def taken_in(self, taken_in: Input) -> None:
        """Write an input."""
        now, kind, arguments = taken_in
        self._put(["in", now, kind, arguments])

    def answered(self, now: int, answers: Sequence[Answer]) -> None:
        """Write what Laters were answered from outside."""
        if answers:
            listed = [[promised.frame.exec_id, promised.op, result, error] for promised, result, error in answers]
            self._put(["answers", now, listed])

    def polled(self, now: int, steps: Sequence[Step]) -> None:
        """Write what a poll has given."""
        self._put(["poll", now, [[type(s).__name__, title(s), digest(s)] for s in steps]])

    def _put(self, entry: list[Any]) -> None:
        try:
            raw = self._packer.pack(entry)
        except SnapshotError as error:
            raw = self._packer.pack(["lost", error.message])
        for key, content in self._packer.blobs.items():
            if key not in self._known:
                self._known.add(key)
                self._frame(msgspec.msgpack.encode(["blob", key, content]))
        self._packer.blobs.clear()
        self._frame(raw)

    def _frame(self, raw: bytes) -> None:
        length = len(raw).to_bytes(4, "little")
        checks = (zlib.crc32(each).to_bytes(4, "little") for each in (length, raw))
        self._write(b"".join((length, next(checks), raw, next(checks))))


def entries(log: bytes) -> Iterator[list[Any]]:
    """Read a recording, without its blobs; an entry that is cut short ends it.

    Raises:
        RecordingError: an entry has changed since it was written, or the bytes are no recording.
    """
    view, at, number = memoryview(log), 0, 0
    blobs: dict[bytes, bytes] = {}
    while len(view) - at >= _HEAD.size:
        length, check = _HEAD.unpack_from(view, at)
        if zlib.crc32(view[at : at + 4]) != check:
            if not any(view[at:]):
                break
            raise RecordingError(f"entry {number + 1} has changed since it was written", where=f"byte {at}")
        start, end = at + _HEAD.size, at + _HEAD.size + length
        if end + _TAIL > len(view):
            break
        raw = bytes(view[start:end])
        number += 1
        if zlib.crc32(raw) != int.from_bytes(view[end : end + _TAIL], "little"):
            raise RecordingError(f"entry {number} has changed since it was written", where=f"byte {at}")
        at = end + _TAIL
        entry = _entry(raw, blobs, number)
        if entry[0] == "blob":
            blobs[entry[1]] = entry[2]
        else:
            yield entry
    if number == 0:
        raise RecordingError("the bytes are no recording", expected="what Node.record has written")


def first_snapshot(log: bytes) -> bytes:
    """Return the snapshot with which a recording begins.

    Raises:
        RecordingError: as `entries`; or it is cut short within its first entry.
    """
    for entry in entries(log):
        if entry[0] == "begin":
            snapshot: bytes = entry[4]
            return snapshot
    raise RecordingError("the recording is cut short before its first entry ends")


def _entry(raw: bytes, blobs: dict[bytes, bytes], number: int) -> list[Any]:
    try:
        entry = unpack(raw, blobs)
        if not isinstance(entry, list) or not entry:
            raise ValueError("it is no entry")
    except ValueError as error:
        raise RecordingError(f"entry {number} cannot be read: {error}") from error
    if number == 1 and (entry[0] not in ("begin", "blob")):
        raise RecordingError("the bytes are no recording", expected="what Node.record has written")
    return entry


def title(step: Step) -> str:
    """Say in a few words what a Step is about."""
    if isinstance(step, AppEvent):
        return f"{step.port} of {step.target}, Frame {step.exec_id}"
    if isinstance(step, SendEnvelope):
        return f"{len(step.data)} bytes to {step.peer}"
    if isinstance(step, OpFailed):
        return f"{step.slot + '.' if step.slot else ''}{step.op} of Frame {step.exec_id}: {step.error.message}"
    return ", ".join(str(getattr(step, name)) for name in step.__struct_fields__ if name not in ("error", "where"))[
        :120
    ]


def digest(step: Step) -> bytes:
    """Return eight bytes that differ when a Step does. A value without a wire type counts by its class alone.

    Places in the author's files are left out: the artefact's digest does not cover them either.
    """
    packer = Packer()
    found = blake2b(type(step).__name__.encode(), digest_size=8)
    for name in step.__struct_fields__:
        value = getattr(step, name)
        if name == "where":
            continue
        if name == "error":
            found.update(f"{value.code} {value.message}".encode())
            continue
        try:
            found.update(packer.pack(value))
        except SnapshotError:
            found.update(type(value).__name__.encode())
    return found.digest()
