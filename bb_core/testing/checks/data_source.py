"""What is asked of a DataSource."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Stage, Subject, Tour
from bb_core.testing.traits import DataSourceTraits

TRAITS = DataSourceTraits


def tour(subject: Subject) -> Tour:
    """Take batches, begin anew, and take some more."""
    yield Call("on_data_loaded")
    yield Call("describe")
    for _ in range(3):
        yield Call("next_batch")
    yield Call("reset")
    for _ in range(2):
        yield Call("next_batch")
    yield Call("describe")


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """A DataSource has no inputs that could be wrong."""
    return []


def _pass(subject: Subject, stage: Stage, seed: int = 1) -> list[tuple[Any, Any]]:
    """One pass by NextBatch, all its ops in one Frame."""
    if not subject.traits.finite:
        raise Skip("it declares finite=False")
    ctx = stage.context(Call("next_batch"), seed)
    found = []
    for _ in range(subject.traits.most_batches):
        batch, labels, stats = stage.settle(stage.start(Call("next_batch"), ctx))
        found.append((np.asarray(batch).copy(), np.asarray(labels).copy()))
        if stats.get("epoch_end"):
            return found
    expect(False, f"no batch of {subject.traits.most_batches} says epoch_end; declare finite=False if none does")
    return found


def _examples(batches: list[tuple[Any, Any]]) -> Counter[tuple[bytes, bytes]]:
    return Counter((x.tobytes(), y.tobytes()) for batch, labels in batches for x, y in zip(batch, labels, strict=True))


def batches_are_counted(subject: Subject) -> None:
    """The stats of a batch have `num_samples`, which is its length, and `epoch_end`; labels are as many as examples."""
    stage, ended = subject.stage(), False
    for _ in range(3 if not subject.traits.finite else subject.traits.most_batches):
        if ended:
            return
        batch, labels, stats = stage.do("next_batch")
        expect("num_samples" in stats and "epoch_end" in stats, f"the stats have {sorted(stats)} only")
        told, ended = stats["num_samples"], bool(stats["epoch_end"])
        expect(told == len(batch), f"a batch of {len(batch)} examples says num_samples={told}")
        expect(len(batch) == len(labels), f"a batch of {len(batch)} examples has {len(labels)} labels")


def a_pass_has_each_example_once(subject: Subject) -> None:
    """A pass has as many examples as Describe says, and the next one has the same, each with its label."""
    if not subject.traits.covers:
        raise Skip("it declares covers=False")
    stage = subject.stage()
    first, second = (_examples(_pass(subject, stage, seed)) for seed in (1, 2))
    expect(first == second, f"two passes differ in {sum(((first - second) + (second - first)).values())} examples")
    told = stage.do("describe").get("num_samples")
    expect(told == first.total(), f"a pass has {first.total()} examples, Describe says num_samples={told}")


def reset_begins_anew(subject: Subject) -> None:
    """After Reset a whole pass follows."""
    stage = subject.stage()
    whole = _examples(_pass(subject, stage)).total()
    stage.do("next_batch")
    stage.do("reset")
    after = _examples(_pass(subject, stage)).total()
    expect(after == whole, f"a pass after Reset has {after} examples, a whole one {whole}")


def epoch_gives_the_same(subject: Subject) -> None:
    """`epoch`, which TrainEpochs reads, gives the batches that NextBatch gives."""
    by_op = _pass(subject, subject.stage())
    stage = subject.stage()
    ctx = stage.context(Call("next_batch"), 1)
    by_epoch = [(np.asarray(b).copy(), np.asarray(y).copy()) for b, y in stage.instance.epoch(ctx)]
    expect(_bytes(by_epoch) == _bytes(by_op), "epoch and next_batch give different batches")


def epoch_arrays_give_the_same(subject: Subject) -> None:
    """`epoch_arrays`, if it has them, are the batches of `epoch` one after another."""
    by_op = _pass(subject, subject.stage())
    stage = subject.stage()
    whole = stage.instance.epoch_arrays(stage.context(Call("next_batch"), 1))
    if whole is None:
        raise Skip("it has no epoch_arrays")
    batch, labels, size = whole
    cut = [(batch[i : i + size], labels[i : i + size]) for i in range(0, len(batch), size)]
    expect(_bytes(cut) == _bytes(by_op), "epoch_arrays and next_batch give different batches")


def _bytes(batches: list[tuple[Any, Any]]) -> list[tuple[bytes, bytes]]:
    return [(np.asarray(b).tobytes(), np.asarray(y).tobytes()) for b, y in batches]


CHECKS = checks(
    batches_are_counted,
    a_pass_has_each_example_once,
    reset_begins_anew,
    epoch_gives_the_same,
    epoch_arrays_give_the_same,
    tours=True,
)
