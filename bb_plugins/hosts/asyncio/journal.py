"""A Node on disk: what it was at some time, and all that it has taken in since.

Theory of operation. A journal is a recording (`Node.record`): it begins with a snapshot, and every input, every answer
of a Later and every poll follows. Before the host does what a poll asks for, the journal is on disk as far as that
poll. So nobody has ever seen anything of the Node that its journal does not lead to: after `kill -9`, `Node.resume`
runs the inputs again and stands where it stood, a contribution that it has acknowledged included. What stood only in
memory has had no effect outside.

On a schedule a new journal is begun with a new snapshot. It is written beside the old one, brought to disk, and only
then renamed; at every moment one whole journal is there.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import bb_core as bb
from bb_core.errors import BBError, StateInUse, UsageError

_NAME: Final = re.compile(r"node-(\d{12})\.bblog")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a state directory holds.

    Attributes:
        number: Of the journal; journals of one directory count up.
        log: Its bytes.
        written: When it was last written, nanoseconds since 1970.
    """

    number: int
    log: bytes
    written: int


class Journal:
    """The state directory of one Node; one process at a time.

    Raises:
        StateInUse: another process has it.
        UsageError: it cannot be made, or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size = 0
        """Bytes of the present journal."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("ab")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot keep a Node: {error.strerror}", expected="a directory that can be written to"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StateInUse(f"{folder} is in use", hint="stop the other process, or name another directory") from error
        for left in folder.glob("*.new"):
            left.unlink()
        self._number = max((number for number, _ in self._journals()), default=0)
        self._file: FileIO | None = None
        self._pending: list[bytes] = []

    def kept(self) -> Kept | None:
        """Return the newest journal; None when the Node has never been here."""
        for number, path in sorted(self._journals(), reverse=True)[:1]:
            return Kept(number, path.read_bytes(), path.stat().st_mtime_ns)
        return None

    def begin(self, node: bb.Node) -> None:
        """Begin a new journal with what the Node is now, then remove the old one.

        Raises:
            SnapshotError, SnapshotUnsupported: a snapshot cannot be taken; the old journal goes on.
            OSError: it cannot be written. The old journal is whole and stays; what is taken in from now on is kept
                nowhere, so the Node may not go on.
        """
        before, old_size, pending = self._file, self.size, self._pending
        number = self._number + 1
        path = self.folder / f"node-{number:012}.bblog"
        fresh = FileIO(path.with_suffix(".new"), "wb")
        self._file, self.size, self._pending = fresh, 0, []
        try:
            node.record(self.write)
        except BBError:
            self._file, self.size, self._pending = before, old_size, pending
            fresh.close()
            path.with_suffix(".new").unlink()
            raise
        try:
            self.sync()
            path.with_suffix(".new").rename(path)
            self._sync_folder()
        finally:
            if before is not None:
                before.close()
        for other, old in self._journals():
            if other < number:
                old.unlink()
        self._number = number

    def write(self, data: bytes) -> None:
        """Add to the journal; it is safe after `sync`."""
        self._pending.append(data)
        self.size += len(data)

    def sync(self) -> None:
        """Bring what was written to disk, all of it at once."""
        if self._pending and self._file is not None:
            left = memoryview(b"".join(self._pending))
            self._pending.clear()
            while left:
                left = left[self._file.write(left) :]
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Let go of the directory; what is not on disk is lost, as nobody has seen anything of it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.close()

    def _journals(self) -> list[tuple[int, Path]]:
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [(int(name[1]), path) for name, path in found if name is not None]

    def _sync_folder(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Replace a small file, so that after a crash either the old or the new one is there."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
