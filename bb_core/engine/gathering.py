"""The bodies of `Gather.Contribute` and `Gather.Collect`: the answers of many peers as lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.program import OpInfo
from bb_core.errors import ContributionRefused, QuorumNotReached
from bb_core.ids import PeerId
from bb_core.values import Composite, PeerList, RequestId

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine

_WAITING: Final = 1024  # how many requests' answers may wait for their collection


@dataclass(slots=True)
class _Collection:
    """The answers to one request, and how to answer whoever waits for them."""

    answers: dict[PeerId, tuple[Any, ...]] = field(default_factory=dict)
    peers: frozenset[PeerId] = frozenset()
    wanted: int = 0
    close: Callable[[], None] | None = None
    """Answers whoever waits; None until somebody does."""

    def result(self, count: int) -> tuple[Any, ...]:
        """The op's outputs: senders, then a list for each value, in order of peer id."""
        senders = sorted(self.answers)
        return PeerList(senders), *(Composite(self.answers[p][i] for p in senders) for i in range(count))


class Gatherings:
    """The open collections of one Node, by Gather and request."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], _Collection] = {}

    def state(self) -> list[list[Any]]:
        """Return the answers that came, by Gather and request; who waits for them is in the Laters."""
        return [
            [name, request, [[peer.raw, list(values)] for peer, values in collection.answers.items()]]
            for (name, request), collection in self.open.items()
        ]

    def load(self, state: list[list[Any]]) -> None:
        """Take over a state."""
        for name, request, answers in state:
            self.of(name, request).answers = {PeerId(raw): tuple(values) for raw, values in answers}

    def of(self, name: str, request: int) -> _Collection:
        """Return a collection, beginning it if need be; the oldest that nobody collects makes room."""
        key = (name, request)
        if key not in self.open and len(self.open) >= _WAITING:
            oldest = next((k for k, c in self.open.items() if c.close is None), None)
            if oldest is not None:
                del self.open[oldest]
        return self.open.setdefault(key, _Collection())


def bind_contribute(engine: Engine, info: OpInfo) -> Callable[..., None]:
    """Return the callable of one Gather.Contribute."""
    name = info.attributes[keys.GATHER]

    def contribute(ctx: OpContext, *values: Any) -> None:
        if not ctx.is_response:
            raise ContributionRefused(f"{ctx.source} sent what nobody had asked for", expected="an answer to a request")
        collection = engine.gatherings.of(name, ctx.request)
        if collection.close is not None and ctx.source not in collection.peers:
            raise ContributionRefused(f"{ctx.source} is not among those that were asked")
        collection.answers[ctx.source] = values
        if collection.close is not None and len(collection.answers) >= collection.wanted:
            collection.close()

    return contribute


def bind_collect(engine: Engine, info: OpInfo) -> Callable[..., Any]:
    """Return the callable of one Gather.Collect."""
    name, n = info.attributes[keys.GATHER], info.attributes.get("n", 0)
    minimum, count = info.attributes.get("minimum", 1), info.attributes[keys.COUNT]

    def collect(ctx: OpContext, peers: Any, request: RequestId) -> Any:
        asked = frozenset((peers,) if isinstance(peers, PeerId) else peers)
        key = (name, int(request))
        collection = engine.gatherings.of(*key)
        collection.answers = {p: v for p, v in collection.answers.items() if p in asked}
        collection.peers, collection.wanted = asked, min(n, len(asked)) if n else len(asked)

        def end() -> None:
            engine.gatherings.open.pop(key, None)
            engine.requests.close(key[1], engine.now)

        def outputs() -> tuple[Any, ...]:
            end()
            if len(collection.answers) < minimum:
                raise QuorumNotReached(
                    f"{info.title} has {len(collection.answers)} answers of {len(asked)} peers",
                    expected=f"at least {minimum}",
                    received=len(collection.answers),
                    cohort=len(asked),
                )
            return collection.result(count)

        if len(collection.answers) >= collection.wanted:
            return outputs()
        promised = ctx.later(
            on_deadline=lambda _: close(), missing=lambda: asked - collection.answers.keys(), on_cancel=end
        )

        def close() -> None:
            try:
                promised.complete(*outputs())
            except QuorumNotReached as error:
                promised.fail(error)

        collection.close = close
        return promised

    return collect
