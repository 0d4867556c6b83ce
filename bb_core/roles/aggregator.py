"""Aggregator: makes one update of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, final

import numpy as np

from bb_core import keys
from bb_core.errors import ContributionRefused, QuorumNotReached, SnapshotUnsupported
from bb_core.ids import PeerId
from bb_core.ops.spec import Answer
from bb_core.roles.context import Context, Later, State
from bb_core.roles.contract import Count, Duration, Role, op
from bb_core.values import PeerList, Record, Tensor

_WAITING: Final = 16  # how many requests' contributions may wait for their collection


@dataclass(frozen=True, slots=True)
class Contribution:
    """One peer's update, as it came."""

    source: PeerId
    update: Tensor
    stats: Record


@dataclass(slots=True)
class _Round:
    """An open collection."""

    requests: frozenset[int]
    cohort: frozenset[PeerId]
    quorum: int
    minimum: int
    later: Later | None = None
    gathered: dict[PeerId, Contribution] = field(default_factory=dict)
    answered: int = 0
    """How many of the cohort are among those gathered; a Node's own contribution (request 0) comes on top."""

    def takes(self, request: int, source: PeerId) -> bool:
        """Whether a contribution belongs to this round."""
        return request == 0 or (request in self.requests and source in self.cohort)

    def add(self, contribution: Contribution) -> None:
        """Take a contribution in; one of a peer that has contributed before replaces that."""
        self.answered += contribution.source in self.cohort and contribution.source not in self.gathered
        self.gathered[contribution.source] = contribution

    @property
    def is_full(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.answered >= self.quorum


class Aggregator(Role):
    """Gather the updates of a cohort, then combine them.

    The base class does the gathering, which is the same for every rule: a Concrete overrides `combine`, and `accept`
    when it wants to refuse more than what is malformed. A contribution is keyed by request and source: one that comes
    twice replaces the first, and the order in which they come does not matter, for `combine` gets them in order of peer
    id.

    Lifecycle: contribute* · collect (one at a time; contributions may come before it) · aggregate · the next round.

    Shape:
        update (d,) of every contribution alike   d = parameters
    """

    role: ClassVar[str] = keys.AGGREGATOR

    @dataclass(frozen=True, slots=True)
    class Config:
        """How many contributions a round needs, unless `collect` says otherwise."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 1
        """Fewer than this at the deadline is a missed quorum."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._waiting: dict[int, dict[PeerId, Contribution]] = {}
        self._round: _Round | None = None
        self._closed: list[Contribution] = []

    # --- ops ----------------------------------------------------------------------------------------------------------

    @op("Contribute", answer=Answer.NOW)
    def contribute(self, ctx: Context, update: Tensor, stats: Record) -> None:
        """Add one peer's update to its round; a duplicate replaces, a malformed or non-finite one is refused."""
        if ctx.request and not ctx.is_response:
            raise ContributionRefused(
                f"nobody has asked {ctx.source} for an update",
                expected="an answer to a request of this Node, or a contribution of its own",
                hint="answer what came from the coordinator: g.send(update, to=received.sender)",
            )
        contribution = Contribution(ctx.source, update, stats)
        self.accept(ctx, contribution)
        open_round = self._round
        if open_round is None or not open_round.takes(ctx.request, ctx.source):
            self._keep(ctx.request, contribution)
            return
        open_round.add(contribution)
        if open_round.is_full:
            self._close(ctx, open_round)
            if open_round.later is not None:
                open_round.later.complete()

    @op("Collect", answer=Answer.NETWORK)
    def collect(
        self,
        ctx: Context,
        cohort: PeerList,
        quorum: Count | None = None,
        minimum: Count | None = None,
        deadline: Duration | None = None,
    ) -> None:
        """Answer when the cohort, the quorum or the deadline is in; fewer than `minimum` is a missed quorum."""
        if self._round is not None:
            raise ContributionRefused(
                "a collection is open on this Aggregator already",
                expected="one round at a time",
                hint="give each concurrent round its own Aggregator slot",
            )
        config = self.config
        wanted = config.quorum if quorum is None else int(quorum)
        open_round = _Round(
            frozenset(ctx.requests),
            frozenset(cohort),
            len(cohort) if wanted is None else min(wanted, len(cohort)),
            config.minimum if minimum is None else int(minimum),
        )
        numbers = (*ctx.requests, 0)
        for request in numbers:
            for contribution in self._waiting.get(request, {}).values():
                open_round.add(contribution)
        if not open_round.is_full:
            close = ctx.close  # it does the same whatever op runs, so it may be kept for `on_cancel`
            open_round.later = ctx.later(  # it may be refused: nothing has changed until here
                None if deadline is None else int(deadline),
                self._close_at_deadline,
                lambda: open_round.cohort - open_round.gathered.keys(),
                lambda: self._give_up(open_round, close),
            )
        for request in numbers:
            self._waiting.pop(request, None)
        if open_round.is_full:
            self._close(ctx, open_round)
            return None
        self._round = open_round
        return open_round.later  # type: ignore[return-value]  # a Later stands for the promised output

    @op("Aggregate", outputs="params stats", answer=Answer.LATER)
    def aggregate(self, ctx: Context) -> tuple[Tensor, Record]:
        """Combine what the last closed collection gathered."""
        if not self._closed:
            raise ContributionRefused(
                "there is nothing to aggregate", expected="a collection that has closed", hint="wire after=collect(...)"
            )
        gathered, self._closed = self._closed, []
        return self.combine(ctx, gathered)

    @op("Reset", answer=Answer.NOW)
    def reset(self, ctx: Context) -> None:
        """Forget every contribution; an open collection fails."""
        self._waiting.clear()
        self._closed = []
        if self._round is not None and self._round.later is not None:
            self._round.later.fail(QuorumNotReached("the Aggregator was reset while it collected"))
        self._round = None

    # --- as it was ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> State:
        """Return what has been contributed. Those of an open collection stand as if it had not begun: it begins again.

        A Concrete with fields of its own adds them: `{**super().snapshot(), "velocity": ...}`.
        """
        more = sorted(vars(self).keys() - {"config", "_waiting", "_round", "_closed"})
        if more and type(self).snapshot is Aggregator.snapshot:
            raise SnapshotUnsupported(
                f"{type(self).__name__} holds {', '.join(more)}, which the Aggregator's snapshot does not have",
                hint='override both: `return {**super().snapshot(), "...": ...}`, and `restore`',
            )
        waiting = {request: dict(kept) for request, kept in self._waiting.items()}
        if self._round is not None:
            request = min(self._round.requests, default=0)
            waiting[request] = {**waiting.get(request, {}), **self._round.gathered}
        return {
            "waiting": [[request, [_fields(c) for c in kept.values()]] for request, kept in waiting.items()],
            "closed": [_fields(c) for c in self._closed],
        }

    def restore(self, state: State) -> None:
        """Take over what had been contributed."""
        for request, kept in state["waiting"]:
            self._waiting[request] = {source: Contribution(source, *rest) for source, *rest in kept}
        self._closed = [Contribution(*fields) for fields in state["closed"]]

    # --- for a Concrete to override -----------------------------------------------------------------------------------

    def combine(self, ctx: Context, contributions: list[Contribution]) -> tuple[Tensor, Record]:
        """Make one update of many; `contributions` is never empty and in order of peer id."""
        raise NotImplementedError

    def accept(self, ctx: Context, contribution: Contribution) -> None:
        """Raise `ContributionRefused` for an update that must not count. The base refuses what is not finite."""
        update = contribution.update
        if not np.issubdtype(update.dtype, np.floating):
            raise ContributionRefused(f"an update has elements of type {update.dtype}", expected="floating point")
        first = next(iter(self._round.gathered.values()), None) if self._round is not None else None
        if first is not None and first.update.shape != update.shape:
            raise ContributionRefused(
                f"an update of shape {update.shape} came into a round of shape {first.update.shape}",
                source=contribution.source,
            )
        if not is_finite(update):
            raise ContributionRefused(f"an update from {contribution.source} holds NaN or infinity")

    # --- the round ----------------------------------------------------------------------------------------------------

    def _keep(self, request: int, contribution: Contribution) -> None:
        """Keep what came before its collection; what is never collected makes place for newer requests."""
        self._waiting.setdefault(request, {})[contribution.source] = contribution
        if len(self._waiting) > _WAITING:
            del self._waiting[next(iter(self._waiting))]

    @final
    def _close_at_deadline(self, ctx: Context) -> None:
        open_round = self._round
        if open_round is None or open_round.later is None:
            return
        self._close(ctx, open_round)
        if open_round.answered >= open_round.minimum:
            open_round.later.complete()
            return
        open_round.later.fail(
            QuorumNotReached(
                f"{open_round.answered} of {len(open_round.cohort)} peers had answered at the deadline",
                expected=f"at least {open_round.minimum}",
                hint="raise the deadline, or lower `minimum`",
                received=open_round.answered,
                cohort=len(open_round.cohort),
            )
        )

    def _give_up(self, open_round: _Round, close: Callable[[Sequence[int]], None]) -> None:
        """Nobody waits for a round any more: forget what it has gathered, and make place for the next."""
        if self._round is open_round:
            self._round = None
        close(tuple(open_round.requests))

    def _close(self, ctx: Context, open_round: _Round) -> None:
        self._closed = [open_round.gathered[source] for source in sorted(open_round.gathered)]
        open_round.gathered = {}  # what waits for the round may outlive it, and the updates are large
        self._round = None
        ctx.close(tuple(open_round.requests))


def _fields(contribution: Contribution) -> list[Any]:
    return [contribution.source, contribution.update, contribution.stats]


def is_finite(array: Tensor) -> bool:
    """Whether no element is NaN or infinite.

    One pass without a temporary: a sum of squares is finite exactly when no element is NaN or infinite, unless it
    overflows; only then the elements are looked at one by one.
    """
    flat = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(flat, flat))
    return bool(np.isfinite(total)) or bool(np.isfinite(flat).all())
