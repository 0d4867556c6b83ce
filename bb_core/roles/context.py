"""What a Concrete's method is given beside its inputs: `Context`, and `Later` for an answer that comes afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from bb_core.ids import ExecId, PeerId


class Later(Protocol):
    """An answer that has not come yet. Complete or fail it once, from any thread; a second call is ignored."""

    @property
    def is_open(self) -> bool:
        """Whether neither `complete` nor `fail` has been called."""

    def complete(self, *outputs: Any) -> None:
        """Give the op's outputs, in the order of its declaration."""

    def fail(self, error: BaseException) -> None:
        """End the op's branch; the Node reports the error as a Step."""


class Book(Protocol):
    """What a Concrete may do with the Node's address book. Addresses are in their binary form."""

    def add(self, peer: PeerId, addresses: Sequence[bytes]) -> None:
        """Add addresses of a peer.

        Raises:
            RoleError: the book is full, or the peer has too many addresses.
            AddressError: one is none.
        """

    def addresses(self, peer: PeerId) -> Sequence[bytes]:
        """Return where a peer can be reached, the best first; empty when that is not known."""

    def withdraw(self, peer: PeerId) -> None:
        """Take back what programs and components have added of a peer; a peer of which nothing else is known is gone.

        What the host has said of it stays, and what was learnt of it for as long as that is believed.
        """


class Context(Protocol):
    """The circumstances of one op. It is reused for the next one: never keep it."""

    @property
    def peer_id(self) -> PeerId:
        """This Node."""

    @property
    def addresses(self) -> Sequence[bytes]:
        """Where this Node can be reached, in binary form, as it was told at install."""

    @property
    def source(self) -> PeerId:
        """Who sent the Envelope that began this Frame; this Node itself when none did."""

    @property
    def request(self) -> int:
        """Request id of the Envelope that began this Frame; 0 when there is none."""

    @property
    def deadline(self) -> int | None:
        """Until when the sender of that Envelope waits for an answer, in nanoseconds; None when it has not said."""

    @property
    def is_response(self) -> bool:
        """Whether that Envelope answers a request of this Node."""

    @property
    def requests(self) -> Sequence[int]:
        """Ids of the requests that this Frame has sent and that are still open."""

    @property
    def exec_id(self) -> ExecId:
        """This Frame."""

    @property
    def slot(self) -> str:
        """Path of the slot that serves this op."""

    @property
    def now(self) -> int:
        """The Node's time in nanoseconds, as given to `poll`."""

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers keyed by seed, peer, slot and what began the Frame: equal on every run and machine."""

    def dependency(self, slot: str) -> Any:
        """Return the Concrete bound to a slot declared with `@bb.depends`."""

    def peers(self, peer_class: str | None = None) -> Sequence[PeerId]:
        """Peers in the address book that are not refused, in order of id, never this Node; of one class when named."""

    @property
    def book(self) -> Book:
        """The Node's address book, as far as a Concrete may use it."""

    def is_allowed(self, peer: PeerId) -> bool:
        """Whether this Node deals with a peer: it is not blocked, nor left out by an allow list."""

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
        """Call an inbound op of a peer. Only a Protocol may.

        Args:
            peer: Whom.
            op: Name of its op.
            payload: Bytes go as they are, without a type; any other value goes with its type.
            component: Id of the peer's component; None: this one's own, which a peer of the same artefact has too.
            answer: Whether an answer is wanted: then it comes to `on_reply`, until the deadline.
            deadline: Nanoseconds for which there is use for it; the receiver is told. None: 30 s, and it is not.

        Returns:
            The request's id, when an answer is wanted and something was sent; else 0. To a peer that is blocked or
            cools down nothing is sent, and there is a Step.

        Raises:
            RoleError: the payload is larger than one Envelope takes, or this is no Protocol.
        """

    def after(self, delay: int, tag: str) -> None:
        """Call `on_timer(ctx, tag)` of this component once so many nanoseconds have passed.

        A component has one timer of each tag: setting it again moves it. Timers are kept in snapshots.

        Raises:
            RoleError: the class has no `on_timer`, or too many timers are set.
        """

    def cancel_timer(self, tag: str) -> None:
        """Take a timer back; one that is not set is no error."""

    def emit(self, topic: str, value: Any) -> None:
        """Give the host a value, as an AppEvent whose port is `topic`."""

    def later(
        self,
        deadline: int | None = None,
        on_deadline: Callable[[Context], None] | None = None,
        missing: Callable[[], Iterable[PeerId]] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> Later:
        """Promise to answer later.

        Args:
            deadline: Nanoseconds from now. When it passes, `on_deadline` is called if given (it completes or fails the
                Later); otherwise the op fails with `DeadlinePassed`. None: the op's own deadline, if it has one.
            on_deadline: Called inside `poll` with this op's context, at most once.
            missing: Says which peers have not answered yet; asked by `Node.explain`.
            on_cancel: Called inside `poll` when nobody waits any more: the deadline has passed, or the host has
                cancelled the Frame. A worker may also look at `is_open`.

        Make it before the method changes anything: a snapshot that is taken while it is open holds what the slots that
        the Frame has for itself were at this moment, and dispatches the op again when it is restored.

        Raises:
            Overloaded: so many ops of this Node have not answered yet that another is refused.
        """

    def offload(self, work: Callable[[], Any]) -> Any:
        """Run a long computation where the host wants it, and answer with what it returns: `return ctx.offload(work)`.

        A host with workers (`NodeConfig.executor`) runs it on another thread, and the Node goes on meanwhile; without,
        it runs at once. It returns what the method would: a value, or a tuple of several. Take all that you need of
        `ctx` before. It may change what an exclusive slot holds, since its Frame has the slot to itself.
        """

    def publish(self, kind: str) -> None:
        """Publish an event on this Node: it begins the Frames of `bb.syscalls.event_source(g, kind=...)`."""

    def close(self, requests: Sequence[int]) -> None:
        """Close requests: a response that comes afterwards is refused with a Step."""


State = Mapping[str, Any]
"""Named fields of a component, encodable on the wire; never pickle."""
