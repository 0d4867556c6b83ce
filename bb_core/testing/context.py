"""`FakeContext`: what a Concrete's method is given, without a Node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bb_core.errors import DeadlinePassed, RoleError, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.testing.clock import FakeClock


class FakeLater:
    """A promised answer that a test can look at.

    Attributes:
        outputs: What it was completed with.
        error: What it was failed with, or `DeadlinePassed`.
        is_cancelled: Nobody waits for it any more.
    """

    def __init__(self, on_cancel: Callable[[], None] | None, missing: Callable[[], Iterable[PeerId]] | None) -> None:
        self.is_open = True
        self.is_cancelled = False
        self.outputs: tuple[Any, ...] | None = None
        self.error: BaseException | None = None
        self.missing = missing
        self.answers = 0
        """How often it was completed or failed; all but the first are ignored."""
        self._on_cancel = on_cancel

    def complete(self, *outputs: Any) -> None:
        """Give the op's outputs."""
        self.answers += 1
        if self.is_open:
            self.is_open, self.outputs = False, outputs

    def fail(self, error: BaseException) -> None:
        """End the op."""
        self.answers += 1
        if self.is_open:
            self.is_open, self.error = False, error

    def cancel(self) -> None:
        """Stop waiting for it, as a Node does when its host cancels the Frame."""
        if self.is_open:
            self.is_open, self.is_cancelled = False, True
            self.told()

    def told(self) -> None:
        """Tell whoever works on the answer that nobody waits for it."""
        if self._on_cancel is not None:
            self._on_cancel()


class FakeBook:
    """An address book of a test: `known` has the addresses by peer."""

    def __init__(self) -> None:
        self.known: dict[PeerId, tuple[bytes, ...]] = {}

    def add(self, peer: PeerId, addresses: Sequence[bytes]) -> None:
        """Add addresses of a peer."""
        self.known[peer] = (*self.known.get(peer, ()), *addresses)

    def addresses(self, peer: PeerId) -> Sequence[bytes]:
        """Return those of a peer."""
        return self.known.get(peer, ())

    def withdraw(self, peer: PeerId) -> None:
        """Take them back."""
        self.known.pop(peer, None)


@dataclass(frozen=True, slots=True)
class Sent:
    """What `ctx.send` was given."""

    peer: PeerId
    op: str
    payload: Any
    component: int | None
    answer: bool
    deadline: int | None


class FakeContext:
    """A `bb.Context` whose fields a test sets: `ctx.source`, `ctx.request`, `ctx.requests`, `ctx.is_response`.

    Args:
        seed: Of `rng`.
        peers: How many peers the address book has, of the ids 1 and up (this Node is 0), or their ids.
        dependencies: What `dependency` returns, by slot name.
        clock: The time; deadlines of Laters come when it advances.

    Attributes:
        laters: All that `later` has made.
        closed: The requests that `close` was given.
        published: The events that were published.
        emitted: What was given to the host: (topic, value).
        sent: What was sent to peers.
        timers: When each timer that is set comes, by tag; the test calls `on_timer`.
        refused: Peers that this Node does not deal with.
        asked_for: The slots that `dependency` was asked for.
    """

    def __init__(
        self,
        seed: int = 0,
        peers: int | Sequence[PeerId] = 0,
        dependencies: Mapping[str, Any] | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.peer_id = PeerId.from_int(0)
        self.source = self.peer_id
        self.request = 0
        self.deadline: int | None = None
        self.is_response = False
        self.requests: Sequence[int] = ()
        self.exec_id = ExecId(1)
        self.slot = "slot"
        self.rng: np.random.Generator = np.random.Generator(np.random.Philox(seed))
        self.laters: list[FakeLater] = []
        self.closed: list[int] = []
        self.published: list[str] = []
        self.emitted: list[tuple[str, Any]] = []
        self.sent: list[Sent] = []
        self.timers: dict[str, int] = {}
        self.refused: set[PeerId] = set()
        self.addresses: Sequence[bytes] = ()
        self.book = FakeBook()
        self.asked_for: list[str] = []
        self._peers = [PeerId.from_int(n) for n in range(1, peers + 1)] if isinstance(peers, int) else list(peers)
        self._dependencies = dict(dependencies or {})
        self.close = self.closed.extend
        """Close requests. It does not hold this context, so that a Concrete may keep it for `on_cancel`."""

    @property
    def now(self) -> int:
        """The clock's time."""
        return self.clock.now

    def dependency(self, slot: str) -> Any:
        """Return what was given for a slot."""
        self.asked_for.append(slot)
        if slot not in self._dependencies:
            raise RoleError(
                f"the dependency {slot!r} is asked for, which the Concrete does not declare",
                hint=f"decorate the class: @bb.depends(...={slot!r}); {did_you_mean(slot, self._dependencies)}",
            )
        return self._dependencies[slot]

    def peers(self, peer_class: str | None = None) -> Sequence[PeerId]:
        """Return the peers, in order of id, never this Node."""
        return tuple(sorted(p for p in self._peers if p != self.peer_id and p not in self.refused))

    def is_allowed(self, peer: PeerId) -> bool:
        """Whether a peer is not among the refused."""
        return peer not in self.refused

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
        """Note what is sent; returns a request's id when an answer is wanted."""
        self.sent.append(Sent(peer, op, payload, component, answer, deadline))
        return len(self.sent) if answer else 0

    def after(self, delay: int, tag: str) -> None:
        """Note a timer."""
        self.timers[tag] = self.now + delay

    def cancel_timer(self, tag: str) -> None:
        """Take a timer back."""
        self.timers.pop(tag, None)

    def emit(self, topic: str, value: Any) -> None:
        """Note a value for the host."""
        self.emitted.append((topic, value))

    def offload(self, work: Callable[[], Any]) -> Any:
        """Do the work at once, as a host without workers does."""
        return work()

    def publish(self, kind: str) -> None:
        """Note an event."""
        self.published.append(kind)

    def later(
        self,
        deadline: int | None = None,
        on_deadline: Callable[[Any], None] | None = None,
        missing: Callable[[], Iterable[PeerId]] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> FakeLater:
        """Promise an answer; the deadline comes when the clock advances."""
        later = FakeLater(on_cancel, missing)
        self.laters.append(later)
        if deadline is not None:
            again = type(self).like(self)
            self.clock.at(self.clock.now + deadline, lambda: _pass(later, on_deadline, again))
        return later

    def like(self) -> FakeContext:
        """Return another context of the same fields, as the Node gives it to a deadline."""
        other = object.__new__(FakeContext)
        other.__dict__.update(self.__dict__)
        return other


def _pass(later: FakeLater, on_deadline: Callable[[Any], None] | None, ctx: FakeContext) -> None:
    if not later.is_open:
        return
    if on_deadline is not None:
        on_deadline(ctx)
    if later.is_open:
        later.fail(DeadlinePassed("an op did not answer by its deadline"))
        later.told()
