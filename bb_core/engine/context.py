"""The one `Context` of a Node; its fields change from op to op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from bb_core.engine.answers import Promised
from bb_core.engine.requests import RESPONSE
from bb_core.errors import RoleError, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.roles.context import Context

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Frame, Handler
    from bb_core.engine.engine import Engine


class OpContext:
    """What a Concrete's method is given; see `bb_core.roles.Context` for what each member promises."""

    __slots__ = ("_engine", "frame", "handler", "op")

    frame: Frame
    handler: Handler
    op: int

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def enter(self, frame: Frame, op: int, handler: Handler) -> None:
        """Turn to another op."""
        self.frame = frame
        self.op = op
        self.handler = handler

    @property
    def peer_id(self) -> PeerId:
        return self._engine.peer_id

    @property
    def source(self) -> PeerId:
        inbound = self.frame.inbound
        return self._engine.peer_id if inbound is None else inbound.source

    @property
    def request(self) -> int:
        inbound = self.frame.inbound
        return 0 if inbound is None else inbound.request

    @property
    def is_response(self) -> bool:
        inbound = self.frame.inbound
        return inbound is not None and inbound.kind == RESPONSE

    @property
    def requests(self) -> Sequence[int]:
        return tuple(self.frame.requests)

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
            found = frame.generators[key] = generator(self._engine.seed, self.peer_id, key, frame.origin)
        return found

    def publish(self, kind: str) -> None:
        self._engine.publish(kind)

    def dependency(self, slot: str) -> Any:
        paths = self._engine.dependencies[self.slot]
        if slot not in paths:
            raise RoleError(
                f"{self.handler.info.title} asks for the dependency {slot!r}, which it does not declare",
                hint=f"decorate the class: @bb.depends(...={slot!r}); {did_you_mean(slot, paths)}",
            )
        return self._engine.components[paths[slot]]

    def peers(self, peer_class: str | None = None) -> Sequence[PeerId]:
        return self._engine.address_book.peers(peer_class)

    def later(
        self,
        deadline: int | None = None,
        on_deadline: Callable[[Context], None] | None = None,
        missing: Callable[[], Iterable[PeerId]] | None = None,
    ) -> Promised:
        info = self.handler.info
        promised = Promised(self._engine.post, self.frame, self.op, info.waits_for_others, on_deadline, missing)
        self._engine.promises.add(promised)
        wait = info.deadline_ns if deadline is None else deadline
        if wait is not None:
            self._engine.arm(promised, self._engine.now + wait, info.title)
        return promised

    def close(self, requests: Sequence[int]) -> None:
        for number in requests:
            self._engine.requests.close(number)


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
