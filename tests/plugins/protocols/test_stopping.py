"""When rounds end."""

from __future__ import annotations

from typing import Any

import pytest

from bb_core.errors import UsageError
from bb_plugins.protocols.stopping import Judge, StopRule

SECOND = 10**9


def ends(rule: StopRule, metrics: list[dict[str, Any]], seconds: int = 1) -> tuple[int, str]:
    """After which round, and why; each takes so many seconds."""
    judge = Judge(rule)
    for number, each in enumerate(metrics, 1):
        reason = judge(each, number * seconds * SECOND)
        if reason:
            return number, reason
    return 0, ""


def rising(*accuracies: float) -> list[dict[str, Any]]:
    return [{"correct": round(100 * a), "count": 100, "loss_sum": 100 * (1 - a)} for a in accuracies]


@pytest.mark.parametrize(
    ("text", "round_", "reason"),
    [
        ("rounds=3", 3, "3 rounds are done"),
        ("accuracy=0.8", 4, "accuracy is 0.8"),
        ("loss=0.35", 3, "loss is 0.3"),
        ("loss_sum=0.35", 3, "loss_sum is 0.3"),
        ("seconds=2", 3, "2 s have passed"),
        ("patience=2", 6, "no progress in accuracy for 2 rounds"),
        ("patience=2,least=0.15", 5, "no progress in accuracy for 2 rounds"),
        ("accuracy=0.99,rounds=5", 5, "5 rounds are done"),
        ("correct=0.6", 2, "correct is 0.6"),
    ],
)
def test_a_rule_ends_rounds(text: str, round_: int, reason: str) -> None:
    assert ends(StopRule.parse(text), rising(0.5, 0.6, 0.7, 0.8, 0.7, 0.75, 0.7)) == (round_, reason)


def test_what_is_not_measured_does_not_end_them() -> None:
    assert ends(StopRule.parse("accuracy=0.1"), [{"count": 3}, {"correct": "many", "count": 3}]) == (0, "")
    assert ends(StopRule.parse("accuracy=0.1"), [{"correct": 3, "count": 0}]) == (0, "")  # nothing to divide by


def test_a_field_of_its_own_name_is_taken_as_it_is() -> None:
    assert StopRule.parse("accuracy=0.5").value({"accuracy": 0.25, "correct": 9, "count": 10}) == 0.25
    assert StopRule.parse("f1=0.5").value({"f1": 0.75, "count": 10}) == 0.75


@pytest.mark.parametrize("text", ["rounds", "rounds=", "accuracy=high", "=3", "rounds=-1", "a b=3"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no rule to stop by"):
        StopRule.parse(text)
