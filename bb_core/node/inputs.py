"""What a host may tell a Node, in one table by kind: how each is taken in. Snapshots and recordings hold the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bb_core.engine.address_book import Origin
from bb_core.engine.backpressure import Cause
from bb_core.engine.engine import Engine
from bb_core.engine.sending import send_notice
from bb_core.ids import ExecId, PeerId
from bb_core.steps import Backpressure, Dropped, PeerBlocked, PeerResolveFailed, PeerSilenced

BLOCKED: Final = "blocked"
"""Why an Envelope is dropped whose sender is blocked, or not among those that are allowed."""

Input = tuple[int, str, tuple[Any, ...]]
"""When it came in nanoseconds, its kind, and what came with it."""


def _receive(engine: Engine, data: Any, source: PeerId, observed: bytes | None, size: int) -> None:
    if observed is not None:
        engine.address_book.learn(source, (observed,), Origin.OBSERVED, engine.now)
    engine.receive(data, source)


def _drop(engine: Engine, source: PeerId, reason: str, count: int) -> None:
    engine.steps.append(PeerBlocked(source, count) if reason == BLOCKED else Dropped(source, reason, count))


def _notify(engine: Engine, source: PeerId, wait: int, cause: str, silent_until: int | None) -> None:
    send_notice(engine, source, wait, Cause(cause))
    if silent_until is not None:
        engine.steps.append(PeerSilenced(source, silent_until))


def _bootstrap(engine: Engine, target: str, exec_id: int, inputs: Mapping[str, Any]) -> None:
    engine.bootstraps.begin(target, ExecId(exec_id), inputs)


def _sent(engine: Engine, step_id: int, ok: bool, address: bytes) -> None:
    handed = engine.outbox.take(step_id)
    if handed is None:
        return
    engine.address_book.reached(handed.peer, (address or handed.address) if ok else b"", ok)
    if not ok and not handed.address:
        engine.steps.append(PeerResolveFailed(handed.peer))
    until = engine.governor.sent(handed.peer, ok, engine.now)
    if until:
        engine.steps.append(Backpressure(handed.peer, until))


def _allow_only(engine: Engine, peers: Sequence[PeerId] | None) -> None:
    engine.governor.allow_only(peers)


def unpacked(now: int, kind: str, arguments: Sequence[Any]) -> Input:
    """Return an input as it was before it was packed: names are a tuple again.

    Raises:
        ValueError: its kind is not one that this release knows.
    """
    if kind not in TAKE:
        raise ValueError(f"there is no input of the kind {kind!r}")
    if kind == "invoke":
        target, key, exec_id, values = arguments
        return now, kind, (target, tuple(key), exec_id, values)
    return now, kind, tuple(arguments)


TAKE: Final[dict[str, Callable[..., None]]] = {
    "receive": _receive,
    "drop": _drop,
    "notify": _notify,
    "invoke": lambda engine, *what: engine.dispatcher.begin_invoke(*what),
    "bootstrap": _bootstrap,
    "lifecycle": Engine.fire_lifecycle,
    "publish": Engine.publish,
    "cancel": Engine.cancel,
    "sent": _sent,
    "add_peer": lambda engine, peer, addresses, name: engine.address_book.add(peer, addresses, name),
    "drop_peer": lambda engine, peer: engine.address_book.forget(peer),
    "block": lambda engine, peer: engine.governor.block(peer),
    "unblock": lambda engine, peer: engine.governor.unblock(peer),
    "allow_only": _allow_only,
}
