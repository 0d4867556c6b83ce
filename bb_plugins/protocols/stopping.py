"""When to stop: rounds, a target, time, no progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bb_core.errors import UsageError
from bb_plugins.models.metrics import summary

_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class StopRule:
    """When rounds end; 0 or None leaves a rule out.

    A measure is the name of a number in a round's metrics, or of what sums in them amount to: `accuracy`, `loss`, `f1`,
    `top_5`, `rmse`.
    """

    rounds: int = 0
    """After so many."""
    measure: str = "accuracy"
    """What target and progress are about: `accuracy`, `loss`, or a field of the metrics."""
    target: float | None = None
    """When the measure is at least that; of `loss` and of what ends with `_sum`, at most."""
    seconds: float = 0.0
    """When so much time has passed since the first round was judged."""
    patience: int = 0
    """When the measure has not been better than before for so many rounds."""
    least: float = 0.0
    """By how much it must be better to count as progress."""

    def __post_init__(self) -> None:
        for name in ("rounds", "seconds", "patience", "least"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")

    @property
    def lower_is_better(self) -> bool:
        """Whether progress goes downwards."""
        return self.measure in ("loss", "mse", "rmse") or self.measure.endswith("_sum")

    @property
    def ends(self) -> bool:
        """Whether any rule can end it."""
        return bool(self.rounds or self.seconds or self.patience or self.target is not None)

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the measure of a round; None when its metrics do not have it."""
        if self.measure in metrics:
            found = metrics[self.measure]
            is_sum = self.measure.endswith("_sum") or self.measure.endswith("correct")
            count = metrics.get("count")
            if not isinstance(found, int | float):
                return None
            return float(found) / count if is_sum and isinstance(count, int | float) and count else float(found)
        return summary(metrics).get(self.measure)

    @classmethod
    def parse(cls, text: str) -> StopRule:
        """Read `rounds=50,accuracy=0.95,seconds=60,patience=5`; rounds or any may be left out.

        Raises:
            UsageError: a part is none of these, or has no number.
        """
        given: dict[str, Any] = {}
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, equals, number = part.partition("=")
            try:
                value = float(number)
            except ValueError:
                equals = ""
                value = 0.0
            if not equals or not name.isidentifier():
                raise UsageError(
                    f"{part!r} is no rule to stop by",
                    expected="rounds=50, accuracy=0.95 or another measure, seconds=60, patience=5",
                )
            if name in ("rounds", "patience"):
                given[name] = int(value)
            elif name in ("seconds", "least"):
                given[name] = value
            else:
                given |= {"measure": name, "target": value}
        try:
            return cls(**given)
        except ValueError as error:
            raise UsageError(f"{text!r} is no rule to stop by: {error}") from error


@dataclass(slots=True)
class Judge:
    """What has been seen of the rounds so far, and what a rule says of it.

    Attributes:
        rounds: How many were judged.
        best: The best measure, and in which round.
        since: When the first was judged, in nanoseconds.
    """

    rule: StopRule
    rounds: int = 0
    best: float | None = None
    best_round: int = 0
    since: int | None = None

    def __call__(self, metrics: Mapping[str, Any], now: int) -> str:
        """Take a round in. Returns why it is the last one; empty if it is not."""
        rule = self.rule
        self.rounds += 1
        self.since = now if self.since is None else self.since
        value = rule.value(metrics)
        if value is not None:
            sign = -1 if rule.lower_is_better else 1
            if self.best is None or sign * (value - self.best) > rule.least:
                self.best, self.best_round = value, self.rounds
            if rule.target is not None and sign * (value - rule.target) >= 0:
                return f"{rule.measure} is {value:.6g}"
        if rule.rounds and self.rounds >= rule.rounds:
            return f"{self.rounds} rounds are done"
        if rule.seconds and now - self.since >= rule.seconds * _SECOND:
            return f"{rule.seconds:g} s have passed"
        if rule.patience and self.rounds - self.best_round >= rule.patience:
            return f"no progress in {rule.measure} for {rule.patience} rounds"
        return ""

    def state(self) -> dict[str, Any]:
        """Return what it has seen."""
        return {"rounds": self.rounds, "best": self.best, "best_round": self.best_round, "since": self.since}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take it over."""
        self.rounds, self.best = state["rounds"], state["best"]
        self.best_round, self.since = state["best_round"], state["since"]
