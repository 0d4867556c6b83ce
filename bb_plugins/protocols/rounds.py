"""`Rounds`: says after each round of a program whether there is another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import bb_core as bb
from bb_plugins.protocols.stopping import Judge, StopRule


class Rounds(bb.roles.Protocol):
    """What a program that repeats itself asks: `g.again("round", more)` goes on for as long as `more` is written."""

    protocol: ClassVar[str] = "bytesandbrains.rounds"

    @bb.roles.op("Judge", outputs="more ended")
    def judge(self, ctx: bb.Context, metrics: bb.Record) -> tuple[bb.Trigger | None, bb.Record | None]:
        """Take in a round's metrics. Exactly one is written: `more`, or `ended` with `rounds`, `reason` and `best`."""
        raise NotImplementedError


@bb.concrete("bytesandbrains.StopRule")
class StopByRule(Rounds):
    """Stop after so many rounds, at a target, after some time, or without progress, whichever comes first."""

    @dataclass(frozen=True, slots=True)
    class Config(StopRule):
        """The rules; at least one of them."""

        def __post_init__(self) -> None:
            StopRule.__post_init__(self)
            if not self.ends:
                raise ValueError("no rule is set; expected rounds, target, seconds or patience")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._judge = Judge(config)

    def judge(self, ctx: bb.Context, metrics: bb.Record) -> tuple[bb.Trigger | None, bb.Record | None]:
        """Say whether there is another round, and begin to count anew after the last."""
        reason = self._judge(metrics, ctx.now)
        if not reason:
            return bb.TRIGGER, None
        judge, self._judge = self._judge, Judge(self.config)
        best = {} if judge.best is None else {"best": judge.best, "best_round": judge.best_round}
        return None, bb.Record(rounds=judge.rounds, reason=reason, **best)

    def snapshot(self) -> bb.State:
        """Return what was seen of the rounds."""
        return self._judge.state()

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        self._judge.load(state)
