"""`GossipMean`: a Node's own estimate of the mean over all Nodes, moved half-way at each exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_core.errors import ContributionRefused, QuorumNotReached

_OPEN: Final = 64  # exchanges that were begun here and whose half nobody has fetched


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What this Node has asked, and has not been answered."""

    requests: tuple[int, ...]
    waiting: set[bb.PeerId]
    later: bb.Later


@bb.concrete("bytesandbrains.GossipMean")
class GossipMean(bb.roles.Aggregator):
    """Average without a server, by push and pull (Jelasity, Montresor & Babaoglu 2005, section 3).

    Who is asked moves half-way to the value that came, and answers with that move; who has asked makes the opposite
    move. What one gains the other loses, whatever else has moved them in between, so the mean over all Nodes stays: in
    f32, but for one rounding of each element at each move. An answer that is lost changes it by the move divided by the
    number of Nodes.

    What an op does depends on what began its Frame:

    * `contribute` of a request moves half-way to the update; of an answer, by the opposite of the update;
    * `aggregate` gives the estimate; after a contribution of a request, that contribution's move;
    * `collect` answers when all have answered. Exchanges of one Node may overlap, so many may be open.

    Shape:
        update (d,) f32 · stats: `exchanges`, how many this Node has taken part in
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """Where a Node begins."""

        start: Any = 0.0
        """Its own value: a number, or a vector."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.estimate: bb.Tensor = np.atleast_1d(np.array(config.start, np.float32))
        """What this Node believes the mean to be."""
        self._exchanges = 0
        self._moves: dict[int, bb.Tensor] = {}
        self._asked: dict[int, _Exchange] = {}

    def contribute(self, ctx: bb.Context, update: bb.Tensor, stats: bb.Record) -> None:
        """Move towards a peer that asks, or by what a peer has answered."""
        self.accept(ctx, bb.roles.Contribution(ctx.source, update, stats))
        if update.shape != self.estimate.shape:
            raise ContributionRefused(
                f"{ctx.source} has sent a value of shape {update.shape}", expected=f"shape {self.estimate.shape}"
            )
        self._exchanges += 1
        if ctx.is_response:
            self.estimate = self.estimate - update
            exchange = self._asked.get(ctx.request)
            if exchange is not None:
                exchange.waiting.discard(ctx.source)
                if not exchange.waiting:
                    self._end(exchange, ctx.close)
                    exchange.later.complete()
            return
        move = (update - self.estimate) * np.float32(0.5)
        self.estimate = self.estimate + move
        self._moves[ctx.exec_id] = move
        if len(self._moves) > _OPEN:
            del self._moves[next(iter(self._moves))]

    def collect(
        self,
        ctx: bb.Context,
        cohort: bb.PeerList,
        quorum: bb.roles.Count | None = None,
        minimum: bb.roles.Count | None = None,
        deadline: bb.roles.Duration | None = None,
    ) -> None:
        """Answer when all peers of an exchange have; at the deadline it has failed. There is no quorum."""
        if not cohort:
            raise QuorumNotReached("there is nobody to ask", hint="does the Node know a peer?", received=0, cohort=0)
        waiting = set(cohort)
        close = ctx.close
        exchange: _Exchange
        later = ctx.later(
            None if deadline is None else int(deadline),
            lambda late: self._miss(exchange, len(cohort), late.close),
            lambda: waiting,
            lambda: self._end(exchange, close),
        )
        exchange = _Exchange(tuple(ctx.requests), waiting, later)
        self._asked.update(dict.fromkeys(exchange.requests, exchange))
        return later  # type: ignore[return-value]  # a Later stands for the promised output

    def _end(self, exchange: _Exchange, close: Callable[[Sequence[int]], None]) -> None:
        for request in exchange.requests:
            self._asked.pop(request, None)
        close(exchange.requests)

    def _miss(self, exchange: _Exchange, asked: int, close: Callable[[Sequence[int]], None]) -> None:
        self._end(exchange, close)
        received = asked - len(exchange.waiting)
        exchange.later.fail(
            QuorumNotReached(
                f"{received} of {asked} peers had answered at the deadline", received=received, cohort=asked
            )
        )

    def aggregate(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Record]:
        """Return the estimate; in the Frame of a peer that has asked, the move that answers it."""
        move = self._moves.pop(ctx.exec_id, None)
        given = self.estimate.copy() if move is None else move
        return given, bb.Record(exchanges=self._exchanges)

    def reset(self, ctx: bb.Context) -> None:
        """Begin again at the start; open exchanges fail."""
        self.estimate = np.atleast_1d(np.array(self.config.start, np.float32))
        self._exchanges = 0
        self._moves.clear()
        while self._asked:
            exchange = next(iter(self._asked.values()))
            self._end(exchange, ctx.close)
            exchange.later.fail(QuorumNotReached("the Aggregator was reset while it collected"))

    def snapshot(self) -> bb.State:
        """Return the estimate, and the moves that nobody has fetched."""
        moves = [[number, move] for number, move in self._moves.items()]
        return {**super().snapshot(), "estimate": self.estimate, "exchanges": self._exchanges, "moves": moves}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        super().restore(state)
        self.estimate, self._exchanges = np.asarray(state["estimate"]), state["exchanges"]
        self._moves = {number: np.asarray(move) for number, move in state["moves"]}
