"""The DataSource that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from dataclasses import dataclass

import numpy as np

import bb_core as bb


@bb.concrete("$package.$Class")
class $Class(bb.roles.DataSource):
    """Give points around centres on a circle, in a new order in each pass.

    Shape:
        batch (b, 2) f32 · labels (b,) i64
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """Which points."""

        count: int = 60
        """How many; at least 1."""
        classes: int = 3
        """Centres; at least 1."""
        batch_size: int = 16
        """Points in a batch; the last of a pass may be shorter."""
        seed: int = 0
        """Of the points; give each peer another."""

        def __post_init__(self) -> None:
            if min(self.count, self.classes, self.batch_size) < 1:
                raise ValueError("count, classes and batch_size are at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        random = np.random.Generator(np.random.Philox(config.seed))
        self._labels = np.arange(config.count) % config.classes
        angles = 2 * np.pi * self._labels / config.classes
        centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._points = (centres + 0.2 * random.standard_normal(centres.shape)).astype(np.float32)
        self._order: np.ndarray | None = None
        self._at = 0

    def snapshot(self) -> bb.State:
        """Return how far the present pass is; the points come from the configuration."""
        return {"order": self._order, "at": self._at}

    def restore(self, state: bb.State) -> None:
        """Go on with that pass."""
        self._order, self._at = state["order"], state["at"]

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        """Return the next batch; after the last one of a pass the next pass begins."""
        if self._order is None:
            self._order, self._at = ctx.rng.permutation(self.config.count), 0
        rows = self._order[self._at : self._at + self.config.batch_size]
        self._at += len(rows)
        is_last = self._at == len(self._order)
        if is_last:
            self._order = None
        return self._points[rows], self._labels[rows], bb.Record(num_samples=len(rows), epoch_end=is_last)

    def reset(self, ctx: bb.Context) -> None:
        """Begin a pass over the data anew."""
        self._order = None

    def describe(self, ctx: bb.Context) -> bb.Record:
        """Return `num_samples`, and the `counts` of each label."""
        return bb.Record(num_samples=self.config.count, counts=np.bincount(self._labels))
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_pass(row: Any) -> None:
    source, ctx = $Class($Class.Config(count=10_000, batch_size=100)), FakeContext()
    points = np.zeros((10_000, 2), np.float32)
    row(
        "a pass over 10,000 points",
        lambda: [None for _ in source.epoch(ctx)],
        limit=("one copy in an order", lambda: points[ctx.rng.permutation(10_000)]),
    )
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

from bb_core.testing import FakeContext
from $package import $Class


def test_each_label_has_its_share() -> None:
    source = $Class($Class.Config(count=7, classes=3))
    assert source.describe(FakeContext())["counts"].tolist() == [3, 2, 2]
'''

SKETCH: Final = Sketch(
    "data_source",
    "Gives points around centres on a circle, labelled by their centre.",
    _CODE,
    _BENCH,
    _TEST,
)
