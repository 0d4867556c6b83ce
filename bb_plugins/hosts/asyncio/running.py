"""A process for one Node, as `node.toml` says: up, rounds if it begins any, and down in good order."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_core.errors import LoadError, RunFailed
from bb_core.steps import AppEvent, Step
from bb_core.values import Record
from bb_plugins.hosts.asyncio.control import Control
from bb_plugins.hosts.asyncio.host import AsyncioHost, HostConfig
from bb_plugins.hosts.asyncio.journal import write_whole
from bb_plugins.hosts.asyncio.monitor import Monitor
from bb_plugins.hosts.asyncio.settings import Program, Rounds, Settings
from bb_plugins.hosts.asyncio.status import Progress, Status, explanation_of, status_of

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LARGEST_SHOWN: Final = 16  # values of a tensor


async def run_node(
    settings: Settings, show: Callable[[str], None], until: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run until the rounds are done, or SIGTERM or Ctrl-C has come; a second signal ends it at once.

    Args:
        settings: What the file says.
        show: Is given the outputs of each round, as one line of JSON.
        until: Ends the run too, when it returns.

    Raises:
        BBError: the artefact, a Concrete or the file is wrong; or a round gave nothing.
    """
    node = install_node(settings)
    config = settings.host
    host = AsyncioHost(
        node,
        credentials=settings.credentials,
        protocols=settings.protocols,
        state=settings.state_path,
        config=HostConfig(
            workers=config.workers, snapshot_seconds=config.snapshot_seconds, drain_seconds=config.drain_seconds
        ),
    )
    begun: dict[str, Any] = {}
    if settings.rounds is not None:
        _collect(host, settings.rounds.target, begun)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with host, AsyncExitStack() as told:
            progress = Progress(host.now())
            host.on_step(progress.take)
            control = await _tell(host, settings, progress, stopped.set, told)
            tasks = {loop.create_task(_work(host, settings, show, begun, progress)), loop.create_task(stopped.wait())}
            if until is not None:
                tasks.add(loop.create_task(_ended(until)))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                _end_at_once_next_time(loop)
                for task in done:
                    task.result()
                progress.is_ending = True
                _log.info("going down")
                drained = await host.drain()
                if control is not None:
                    control.is_drained = drained
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _ended(until: Callable[[], Awaitable[None]]) -> None:
    await until()


async def _tell(
    host: AsyncioHost, settings: Settings, progress: Progress, stop: Callable[[], None], told: AsyncExitStack
) -> Control | None:
    """Open what the process can be asked by: the control socket, and health and metrics."""

    def status() -> Status:
        return status_of(host, progress)

    if settings.metrics.listen:
        await told.enter_async_context(Monitor(settings.metrics.listen, status))
    if settings.state_path is None:
        return None
    answers = {"status": status, "explain": lambda: explanation_of(host)}
    return await told.enter_async_context(Control(settings.state_path, answers, stop))


def _collect(host: AsyncioHost, target: str, into: dict[str, Any]) -> None:
    """Keep the outputs of what nobody waits for: a round that an earlier process has begun."""

    def take(step: Step) -> None:
        if isinstance(step, AppEvent) and step.target == target:
            into[step.port] = step.value

    host.on_step(take)


def _end_at_once_next_time(loop: asyncio.AbstractEventLoop) -> None:
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def install_node(settings: Settings) -> bb.Node:
    """Install the Node that a file describes.

    Raises:
        BBError: the artefact cannot be read or installed, or a module of the site cannot be imported.
    """
    peer_id = settings.peer_id
    for name in settings.modules:
        _import(name, settings.path(""))
    path = settings.path(settings.artefact)
    try:
        artefact = path.read_bytes()
    except OSError as error:
        raise LoadError(
            f"the artefact {path} cannot be read: {error.strerror}", expected="what bb compile has written"
        ) from error
    announced = settings.announce or [a for a in settings.listen if not _is_anywhere(a)]
    return bb.install(
        peer_id,
        announced,
        artefact,
        settings.targets,
        {**_configured(settings.program, settings.path("")), **bb.read_site({"slots": settings.slots})},
        bb.NodeConfig(seed=settings.seed),
    )


def _configured(program: Program | None, folder: Path) -> dict[str, Any]:
    """Return what the file of a program configures for this peer."""
    if program is None:
        return {}
    from bb_core.commands.loading import bindings_for, load
    from bb_core.testing import configurations

    place, colon, name = program.file.rpartition(":")
    found = load(f"{folder / place}:{name}" if colon and place.endswith(".py") else program.file)
    return configurations(bindings_for(found, program.bind, program.set), program.number, program.of)


def _is_anywhere(address: str) -> bool:
    """Whether an address says where to listen and not where to reach the Node."""
    parsed = bb.Address.parse(address)
    return parsed.host in ("0.0.0.0", "::") or parsed.port == 0


def _import(name: str, folder: Path) -> None:
    """Import a file of the site, or a module, for the Concretes that it declares."""
    try:
        if not name.endswith(".py"):
            importlib.import_module(name)
            return
        path = folder / name
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except Exception as error:  # the site's file may raise anything
        raise LoadError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


async def _work(
    host: AsyncioHost,
    settings: Settings,
    show: Callable[[str], None],
    begun: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Listen, make the peers known, and play the rounds; without rounds, go on for ever."""
    for address in settings.listen:
        await host.listen(address)
    for peer in settings.peers:
        host.add_peer(bb.PeerId.parse(peer.id), peer.addresses, peer_class=peer.peer_class, connect=peer.connect)
    if settings.rounds is not None:
        await _rounds(host, settings.rounds, settings.state_path, show, begun, progress)
    if settings.rounds is None or settings.rounds.then == "stay":
        await host.until(lambda: False)  # it raises when the Node has stopped


async def _rounds(
    host: AsyncioHost,
    rounds: Rounds,
    state: Path | None,
    show: Callable[[str], None],
    begun: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Run the rounds that have not been run yet."""

    def tell(done: int, outputs: Mapping[str, Any]) -> None:
        progress.done = done
        _log.info("round %d of %d is done", done, rounds.count, extra={"round": done})
        show(json.dumps({"round": done, "outputs": {port: _plain(value) for port, value in outputs.items()}}))

    kept = None if state is None else state / "rounds.json"
    done = 0 if kept is None else _rounds_done(kept)
    progress.done, progress.rounds = done, rounds.count
    if host.is_resumed and not host.node.is_idle:
        _log.info("round %d goes on where it was", done + 1)
        await host.until(lambda: host.node.is_idle)
        if begun:
            done = _keep(kept, done + 1)
            tell(done, begun)
        else:  # answers that the kernel had taken for the process that was killed are lost
            _log.warning("round %d gave no output, and is begun again", done + 1)
    needed, failed = max(rounds.at_first, rounds.peers), 0
    while done < rounds.count and not progress.is_ending:
        await _connected(host, needed)
        needed = rounds.peers
        name = rounds.input or _only_input(host.node, rounds.target)
        try:
            outputs = await host.run(rounds.target, {name: bb.TRIGGER})
        except RunFailed as error:
            failed += 1
            if host.failure is not None or failed >= rounds.attempts:
                raise
            _log.warning("round %d is begun again, attempt %d: %s", done + 1, failed + 1, error.message)
            continue
        done, failed = _keep(kept, done + 1), 0
        tell(done, outputs)


async def _connected(host: AsyncioHost, peers: int) -> None:
    await host.until(lambda: len(host.links.connected) >= peers)


def _rounds_done(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["done"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(
            f"{path} cannot be read: {error}",
            expected='{"done": 5}',
            hint="write the rounds that are done into it",
        ) from error


def _keep(path: Path | None, done: int) -> int:
    if path is not None:
        write_whole(path, json.dumps({"done": done}))
    return done


def _only_input(node: bb.Node, target: str) -> str:
    names = node.inputs(target)
    if len(names) != 1:
        raise LoadError(f"{target} has the inputs {', '.join(names)}", hint='name the Trigger: [rounds] input = "..."')
    return next(iter(names))


def _plain(value: Any) -> Any:
    """A value as JSON shows it; of a large tensor its type, its size and a hash of its bytes."""
    if isinstance(value, Record):
        return {name: _plain(item) for name, item in dict(value).items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist() if value.size <= _LARGEST_SHOWN else _in_brief(np.asarray(value))
    if isinstance(value, bool | int | float | str | None):
        return value
    return str(value)


def _in_brief(value: np.ndarray[Any, Any]) -> str:
    return f"{value.dtype}{list(value.shape)} sha256:{hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
