"""A process for one Node, as `node.toml` says: up, rounds if it begins any, and down in good order."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_core.errors import LoadError, RunFailed
from bb_core.steps import AppEvent, Step
from bb_core.values import Record
from bb_plugins.hosts.asyncio.host import AsyncioHost, HostConfig
from bb_plugins.hosts.asyncio.journal import write_whole
from bb_plugins.hosts.asyncio.settings import Rounds, Settings

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LARGEST_SHOWN: Final = 16  # values of a tensor


async def run_node(settings: Settings, show: Callable[[str], None]) -> None:
    """Run until the rounds are done, or SIGTERM or Ctrl-C has come; a second signal ends it at once.

    Args:
        settings: What the file says.
        show: Is given the outputs of each round, as one line of JSON.

    Raises:
        BBError: the artefact, a Concrete or the file is wrong; or a round gave nothing.
    """
    node = install_node(settings)
    config = settings.host
    host = AsyncioHost(
        node,
        credentials=settings.credentials,
        state=settings.path(settings.state) if settings.state else None,
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
        async with host:
            work = loop.create_task(_work(host, settings, show, begun))
            stop = loop.create_task(stopped.wait())
            try:
                await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
                _end_at_once_next_time(loop)
                if work.done():
                    work.result()
                _log.info("going down")
                await host.drain()
            finally:
                work.cancel()
                stop.cancel()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


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
        bb.read_site({"slots": settings.slots}),
        bb.NodeConfig(seed=settings.seed),
    )


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


async def _work(host: AsyncioHost, settings: Settings, show: Callable[[str], None], begun: Mapping[str, Any]) -> None:
    """Listen, make the peers known, and begin the rounds; without rounds, go on for ever."""
    for address in settings.listen:
        await host.listen(address)
    for peer in settings.peers:
        host.add_peer(bb.PeerId.parse(peer.id), peer.addresses, peer_class=peer.peer_class, connect=peer.connect)
    if settings.rounds is None:
        await host.until(lambda: False)  # it raises when the Node has stopped
    else:
        await _rounds(host, settings.rounds, settings.path(settings.state) if settings.state else None, show, begun)


async def _rounds(
    host: AsyncioHost, rounds: Rounds, state: Path | None, show: Callable[[str], None], begun: Mapping[str, Any]
) -> None:
    """Run the rounds that have not been run yet."""

    def tell(done: int, outputs: Mapping[str, Any]) -> None:
        _log.info("round %d of %d is done", done, rounds.count, extra={"round": done})
        show(json.dumps({"round": done, "outputs": {port: _plain(value) for port, value in outputs.items()}}))

    kept = None if state is None else state / "rounds.json"
    done = 0 if kept is None else _rounds_done(kept)
    if host.is_resumed and not host.node.is_idle:
        _log.info("round %d goes on where it was", done + 1)
        await host.until(lambda: host.node.is_idle)
        if not begun:
            raise RunFailed(f"round {done + 1} gave no output", hint="start the Node again, and it is played again")
        done = _keep(kept, done + 1)
        tell(done, begun)
    while done < rounds.count:
        await host.until(lambda: len(host.links.connected) >= rounds.peers)
        name = rounds.input or _only_input(host.node, rounds.target)
        outputs = await host.run(rounds.target, {name: bb.TRIGGER})
        done = _keep(kept, done + 1)
        tell(done, outputs)


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
    """A value as JSON shows it; of a large tensor, only its type and size."""
    if isinstance(value, Record):
        return {name: _plain(item) for name, item in dict(value).items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist() if value.size <= _LARGEST_SHOWN else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, bool | int | float | str | None):
        return value
    return str(value)
