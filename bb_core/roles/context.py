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


class Context(Protocol):
    """The circumstances of one op. It is reused for the next one: never keep it."""

    @property
    def peer_id(self) -> PeerId:
        """This Node."""

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

    def publish(self, kind: str) -> None:
        """Publish an event on this Node: it begins the Frames of `bb.syscalls.event_source(g, kind=...)`."""

    def close(self, requests: Sequence[int]) -> None:
        """Close requests: a response that comes afterwards is refused with a Step."""


State = Mapping[str, Any]
"""Named fields of a component, encodable on the wire; never pickle."""
