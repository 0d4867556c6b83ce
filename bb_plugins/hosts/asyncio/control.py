"""The control socket: how a command asks the process that runs a Node, on the same machine.

A unix socket, `control`, in the state directory, which only the user who runs the Node can open. Both sides write one
JSON object in a line: `{"do": "status"}`, then the answer, or `{"error": {"code": ..., "message": ...}}`. After `stop`
the connection stays open until the Node is down; its last line says whether all that was open has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from bb_core.errors import BBError, NotRunning, RunFailed, UsageError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_NAME: Final = "control"
_LINE: Final = 64 * 1024
_ANSWER: Final = 64 * 2**20
_ASKERS: Final = 16
_IDLE_SECONDS: Final = 10.0
_LONGEST: Final = 100
"""Bytes of the longest path that a unix socket can have everywhere (108 on Linux, 104 on BSD, both with a zero)."""


class Control:
    """The socket, while a Node runs. Use it as `async with`.

    Args:
        folder: The state directory, which this process has locked.
        answers: What can be asked, by name.
        stop: Begins the end of the process.
    """

    def __init__(self, folder: Path, answers: Mapping[str, Callable[[], Any]], stop: Callable[[], None]) -> None:
        self.is_drained = False
        """Whether all that was open has ended; set before the socket is closed."""
        self._folder = folder
        self._answers = answers
        self._stop = stop
        self._waiting: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        path = self._folder / _NAME
        path.unlink(
            missing_ok=True
        )  # the lock of the directory is ours: what stands there is of a process that is gone
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _short(path) as short:
                listening.bind(short)
            path.chmod(0o600)  # nobody can connect before it listens
        except OSError as error:
            listening.close()
            raise UsageError(f"{path} cannot be made: {error.strerror}", expected="a folder of this machine") from error
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=_LINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        (self._folder / _NAME).unlink(missing_ok=True)
        for writer in self._waiting:
            writer.write(msgspec.json.encode({"drained": self.is_drained}) + b"\n")
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= _ASKERS:
                with suppress(ConnectionError, TimeoutError, ValueError):  # ValueError: the line is too long
                    async with asyncio.timeout(_IDLE_SECONDS):
                        line = await reader.readline()
                    await self._reply(line, writer)
        finally:
            self._tasks.discard(task)
            if writer not in self._waiting:
                writer.close()

    async def _reply(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            asked = msgspec.json.decode(line, type=_Asked).do
            if asked == "stop":
                answer: Any = {"stopping": True}
                self._waiting.add(writer)
            elif asked in self._answers:
                answer = self._answers[asked]()
            else:
                raise UsageError(f"{asked!r} cannot be asked", expected=", ".join([*self._answers, "stop"]))
        except msgspec.DecodeError as error:
            answer = {"error": {"code": UsageError.code, "message": f"no question: {error}"}}
        except BBError as error:
            answer = {"error": {"code": error.code, "message": error.message}}
        writer.write(msgspec.json.encode(answer) + b"\n")
        await writer.drain()
        if writer in self._waiting:
            self._stop()


class _Asked(msgspec.Struct, frozen=True):
    do: str


class Asking:
    """A connection to the process of a Node, for a command. Use it as `with Asking(folder) as asking:`.

    Args:
        folder: The state directory.
        seconds: How long an answer may take.

    Raises:
        NotRunning: nobody answers there.
    """

    def __init__(self, folder: Path, seconds: float = 10.0) -> None:
        path = folder / _NAME
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            with _short(path) as short:
                self._socket.connect(short)
        except OSError as error:
            self._socket.close()
            raise _not_running(folder, error) from error
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, what: str, type_: type[_T]) -> _T:
        """Ask, and wait for the answer.

        Raises:
            NotRunning: the process has ended meanwhile, or does not answer in time.
            RunFailed: it refuses.
        """
        try:
            self._socket.sendall(msgspec.json.encode({"do": what}) + b"\n")
        except OSError as error:
            raise _not_running(self._folder, error) from error
        return self.next(type_)

    def next(self, type_: type[_T]) -> _T:
        """Wait for one more line.

        Raises:
            NotRunning: the process has ended meanwhile, or does not answer in time.
            RunFailed: it refuses.
        """
        try:
            line = self._file.readline(_ANSWER)
        except OSError as error:
            raise _not_running(self._folder, error) from error
        if not line:
            raise _not_running(self._folder, ConnectionResetError("it has ended"))
        refused = msgspec.json.decode(line, type=_Refused).error
        if refused is not None:
            raise RunFailed(f"the Node refuses: {refused.get('message')}")
        return msgspec.json.decode(line, type=type_)


class _Refused(msgspec.Struct, frozen=True):
    error: dict[str, str] | None = None


def _not_running(folder: Path, error: OSError) -> NotRunning:
    if isinstance(error, TimeoutError):
        return NotRunning(
            f"the process that runs the Node of {folder} does not answer",
            hint="an op may keep it: wait, or py-spy dump",
        )
    why = error.strerror or str(error)
    hint = "bb node run starts it" if folder.is_dir() else f"there is no directory {folder}: was it ever started?"
    return NotRunning(f"no process runs the Node of {folder}: {why}", hint=hint)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a path that is short enough for a unix socket: a long one by way of its opened folder."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST or not Path("/proc/self/fd").is_dir():
        yield text
        return
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)
