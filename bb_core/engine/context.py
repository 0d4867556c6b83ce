"""The one `Context` of a Node; its fields change from op to op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from bb_core.engine.answers import Promised
from bb_core.engine.dispatch import Current
from bb_core.engine.requests import RESPONSE
from bb_core.errors import RoleError, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.roles.context import Context
from bb_core.steps import AppEvent
from bb_core.wire.address import Address

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Frame, Handler
    from bb_core.engine.engine import Engine
    from bb_core.engine.timers import Timer


class Book:
    """What a Concrete may do with the address book; see `bb_core.roles.Book`."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, peer: PeerId, addresses: Sequence[bytes]) -> None:
        known = tuple(Address.from_bytes(raw).to_bytes() for raw in addresses)
        self._engine.address_book.insert(peer, known, self._engine.now)

    def addresses(self, peer: PeerId) -> Sequence[bytes]:
        return self._engine.address_book.addresses(peer, self._engine.now)

    def withdraw(self, peer: PeerId) -> None:
        self._engine.address_book.withdraw(peer)


class OpContext(Current):
    """What a Concrete's method is given; see `bb_core.roles.Context` for what each member promises."""

    __slots__ = ("_book", "_engine")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._book = Book(engine)

    @property
    def peer_id(self) -> PeerId:
        return self._engine.peer_id

    @property
    def addresses(self) -> Sequence[bytes]:
        return self._engine.addresses

    @property
    def source(self) -> PeerId:
        inbound = self.frame.inbound
        return self._engine.peer_id if inbound is None else inbound.source

    @property
    def request(self) -> int:
        inbound = self.frame.inbound
        return 0 if inbound is None else inbound.request

    @property
    def deadline(self) -> int | None:
        inbound = self.frame.inbound
        return None if inbound is None else inbound.deadline

    @property
    def is_response(self) -> bool:
        inbound = self.frame.inbound
        return inbound is not None and inbound.kind == RESPONSE

    @property
    def requests(self) -> Sequence[int]:
        return tuple(self.frame.requests or ())

    @property
    def exec_id(self) -> ExecId:
        return ExecId(self.frame.exec_id)

    @property
    def slot(self) -> str:
        return str(self.handler.info.slot)

    @property
    def now(self) -> int:
        return self._engine.now

    @property
    def rng(self) -> np.random.Generator:
        return self.generator(self.slot)

    def generator(self, key: str) -> np.random.Generator:
        """Return the random numbers of a slot or op in this Frame."""
        frame = self.frame
        if frame.generators is None:
            frame.generators = {}
        found = frame.generators.get(key)
        if found is None:
            made = generator(self._engine.seed, self.peer_id, key, origin_digest(*frame.origin))
            found = frame.generators[key] = Drawn(made, self.op, None)
        elif found.op != self.op:
            found.op, found.before = self.op, found.generator.bit_generator.state
        return found.generator

    def revive_generator(self, frame: Frame, key: str, origin: bytes, state: dict[str, Any]) -> None:
        """Set the random numbers of a slot in a Frame to where they were."""
        made = generator(self._engine.seed, self.peer_id, key, origin)
        made.bit_generator.state = state
        if frame.generators is None:
            frame.generators = {}
        frame.generators[key] = Drawn(made, -1, None)

    def dispatch_again(self, frame: Frame, op: int, timer: Timer | None) -> None:
        """Run an op of a snapshot that had not answered; its Later gets the deadline that it had."""
        engine, handler = self._engine, frame.handlers[op]
        self.enter(frame, op)
        engine.laters.saved = timer
        frame.waiting += 1  # for what is no Later; parking counts anew
        try:
            result = call_again(handler, self, frame.inputs(op))
            if type(result) is Promised:
                result.park(frame, op)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a Concrete may raise anything
            engine.failed(frame, op, handler, error)
            engine.dispatcher.abandon(frame, op, False)
        else:
            if type(result) is Promised:
                frame.waiting -= 1
            else:
                engine.dispatcher.answer(frame, op, result, False)
        engine.laters.saved = None

    def publish(self, kind: str) -> None:
        self._engine.publish(kind)

    def emit(self, topic: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        self._engine.steps.append(AppEvent(self.frame.table.name, topic, value, self.exec_id))

    def send(
        self,
        peer: PeerId,
        op: str,
        payload: Any,
        *,
        component: int | None = None,
        answer: bool = False,
        deadline: int | None = None,
    ) -> int:
        return self._engine.control.send(self, peer, op, payload, component, answer, deadline)

    def after(self, delay: int, tag: str) -> None:
        self._engine.alarms.set(self.slot, delay, tag)

    def cancel_timer(self, tag: str) -> None:
        self._engine.alarms.cancel(self.slot, tag)

    @property
    def book(self) -> Book:
        return self._book

    def is_allowed(self, peer: PeerId) -> bool:
        return self._engine.governor.is_allowed(peer)

    def dependency(self, slot: str) -> Any:
        paths = self._engine.dependencies[self.slot]
        if slot not in paths:
            raise RoleError(
                f"{self.handler.info.title} asks for the dependency {slot!r}, which it does not declare",
                hint=f"decorate the class: @bb.depends(...={slot!r}); {did_you_mean(slot, paths)}",
            )
        return self._engine.components[paths[slot]]

    def peers(self, peer_class: str | None = None) -> Sequence[PeerId]:
        engine, own = self._engine, self._engine.peer_id
        found = engine.address_book.peers(peer_class, engine.now)
        if engine.governor.allows_everyone and own not in engine.address_book:
            return found
        return tuple(p for p in found if p != own and engine.governor.is_allowed(p))

    def later(
        self,
        deadline: int | None = None,
        on_deadline: Callable[[Context], None] | None = None,
        missing: Callable[[], Iterable[PeerId]] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> Promised:
        info, laters = self.handler.info, self._engine.laters
        promised = Promised(laters, self.frame, self.op, info.waits_for_others, on_deadline, missing, on_cancel)
        return laters.promise(promised, info.deadline_ns if deadline is None else deadline, info.title)

    def offload(self, work: Callable[[], Any]) -> Any:
        laters = self._engine.laters
        if laters.executor is None:
            return work()
        promised = self.later()
        if laters.is_replaying:
            with suppress(Exception):  # the recording holds the answer, or the op is dispatched again
                work()
        else:
            laters.executor(partial(_answer, promised, work))
        return promised

    def close(self, requests: Sequence[int]) -> None:
        for number in requests:
            self._engine.requests.close(number, self._engine.now)


@dataclass(slots=True)
class Drawn:
    """The random numbers of a slot in a Frame, the op that has drawn last, and how they were before it."""

    generator: np.random.Generator
    op: int
    before: Any


def _answer(promised: Promised, work: Callable[[], Any]) -> None:
    """Do an op's work on another thread and answer with it, unless nobody waits for it any more."""
    if not promised.is_open:
        return
    try:
        result = work()
    except BaseException as error:  # a Concrete may raise anything
        promised.fail(error)
    else:
        promised.complete(*result) if isinstance(result, tuple) else promised.complete(result)


def call_again(handler: Handler, context: OpContext, inputs: tuple[Any, ...]) -> Any:
    """Call what an op calls, as the dispatch loop does."""
    keywords = dict(zip(handler.keyword_names or (), handler.keyword_values, strict=True))
    given = (context, *handler.leading, *inputs) if handler.takes_context else (*handler.leading, *inputs)
    return handler.call(*given, **keywords)


def origin_digest(what: bytes, name: str, number: int) -> bytes:
    """Name what began a Frame, as 16 bytes; part of the key of its random numbers."""
    return blake2b(what + b"\0" + name.encode() + b"\0" + number.to_bytes(8, "big"), digest_size=16).digest()


def generator(seed: int, peer_id: PeerId, slot: str, origin: bytes) -> np.random.Generator:
    """Make the random numbers of one slot in one Frame: Philox keyed by BLAKE2b of (seed, peer, slot, origin)."""
    state = blake2b(digest_size=16)
    for part in (str(seed).encode(), peer_id.raw, slot.encode(), origin):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    key: Any = _Key(state.digest())  # numpy takes any ISeedSequence; its stubs say SeedSequence
    return np.random.Generator(np.random.Philox(key))


class _Key(ISeedSequence):
    """A Philox key as it is. `Philox(key=...)` would give the same, and ask the operating system for entropy first."""

    __slots__ = ("_digest",)

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        """Return the digest's two words, the last eight bytes first, as an int's words are."""
        return np.frombuffer(self._digest[::-1], "<u8")
