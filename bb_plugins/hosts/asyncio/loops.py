"""Which event loop a process runs in, and what else ends it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

from bb_core.errors import MissingExtra, UsageError


def run_in_loop(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run a coroutine to its end.

    Args:
        main: What is run.
        loop: `asyncio`, `uvloop`, or `auto`: uvloop where it is installed.

    Raises:
        MissingExtra: uvloop is asked for, and not installed.
    """
    factory = None
    if loop != "asyncio":
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ImportError as error:
            if loop == "uvloop":
                main.close()
                raise MissingExtra("uvloop is not installed", hint='pip install "bytesandbrains[uvloop]"') from error
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def standard_input_is_closed() -> None:
    """Wait until nobody holds the other end of standard input any more: who has started this process has ended."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    handle = sys.stdin.fileno()

    def read() -> None:
        if not os.read(handle, 4096):
            loop.remove_reader(handle)
            closed.set()

    os.set_blocking(handle, False)
    try:
        loop.add_reader(handle, read)
    except PermissionError as error:  # a file, or /dev/null: it has no other end
        raise UsageError("--while-stdin: standard input is no pipe", hint="leave the option out") from error
    await closed.wait()
