"""The Aggregator that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from dataclasses import dataclass

import numpy as np

import bb_core as bb


@bb.concrete("$package.$Class")
class $Class(bb.roles.Aggregator):
    """Average each coordinate after dropping its largest and smallest values (Yin et al. 2018, Definition 2).

    Shape:
        params (d,) f32 · stats: `peers`, how many updates came in
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """When a round closes, and what is dropped."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 1
        """Fewer than this at the deadline is a missed quorum."""
        trim: float = 0.1
        """Share dropped at each end; 0 <= trim < 0.5."""

        def __post_init__(self) -> None:
            if not 0 <= self.trim < 0.5:
                raise ValueError(f"trim is {self.trim}; expected 0 <= trim < 0.5")

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the trimmed mean of what was contributed, in order of peer id."""
        return trimmed_mean([c.update for c in contributions], self.config.trim), bb.Record(peers=len(contributions))


def trimmed_mean(updates: list[bb.Tensor], trim: float) -> bb.Tensor:
    """Average each coordinate without its largest and smallest values."""
    ordered = np.sort(np.asarray(updates, np.float64), axis=0)
    dropped = int(trim * len(ordered))
    return ordered[dropped : len(ordered) - dropped].mean(axis=0).astype(np.float32)
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from $package.$module import trimmed_mean


def test_bench_trimmed_mean(row: Any) -> None:
    random = np.random.Generator(np.random.Philox(0))
    updates = [random.standard_normal(10_000).astype(np.float32) for _ in range(20)]
    row(
        "trimmed mean of 20 x 10,000",
        lambda: trimmed_mean(updates, 0.1),
        peer=("np.median", lambda: np.median(updates, axis=0)),
        limit=("read once", lambda: [u.max() for u in updates]),
    )
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import numpy as np

from $package.$module import trimmed_mean


def test_an_outlier_does_not_count() -> None:
    updates = [np.full(3, value, np.float32) for value in (1.0, 2.0, 3.0, 2.0, 1e9)]
    np.testing.assert_allclose(trimmed_mean(updates, 0.2), 7 / 3, rtol=1e-6)
'''

SKETCH: Final = Sketch(
    "aggregator",
    "Averages the updates of peers after dropping the largest and smallest of each coordinate.",
    _CODE,
    _BENCH,
    _TEST,
)
