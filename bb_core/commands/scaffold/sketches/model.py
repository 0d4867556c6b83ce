"""The Model that `bb new plugin` writes."""

from __future__ import annotations

from typing import Final

from bb_core.commands.scaffold.sketch import Sketch

_CODE: Final = '''
"""`$Class`: change this to what yours does."""

from dataclasses import dataclass

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError


@bb.concrete("$package.$Class")
class $Class(bb.roles.Model):
    """Fit a line by gradient descent.

    Shape:
        batch (b, width) f32 · labels (b,) · params (width + 1,) f32, the last one the offset
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """Layout and optimizer."""

        width: int = 4
        """Numbers in an example."""
        learning_rate: float = 0.05
        """Step of gradient descent; above 0."""

        def __post_init__(self) -> None:
            if self.width < 1 or self.learning_rate <= 0:
                raise ValueError(f"width is {self.width}, learning_rate {self.learning_rate}; expected above 0")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._params = np.zeros(config.width + 1, np.float32)
        self._loaded = self._params.copy()

    def snapshot(self) -> bb.State:
        """Return the parameters."""
        return {"params": self._params.copy(), "loaded": self._loaded.copy()}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        self._params, self._loaded = np.array(state["params"]), np.array(state["loaded"])

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters."""
        return self._params.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another layout."""
        self._params = np.array(self._like(params))
        self._loaded = self._params.copy()

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        self._params = self._params + self._like(delta)

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters."""
        return self._params - self._loaded

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict."""
        if batch.ndim != 2 or batch.shape[1] != self.config.width:
            raise RoleError(f"a batch has the shape {batch.shape}", expected=f"(b, {self.config.width})")
        return np.asarray(batch @ self._params[:-1] + self._params[-1], np.float32)

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Train on one batch."""
        off = self._error(ctx, batch, labels)
        slope = np.append(batch.T @ off, off.sum()) * (2 / len(batch))
        self._params = (self._params - self.config.learning_rate * slope).astype(np.float32)
        return np.asarray(np.mean(off**2), np.float32), bb.Record(num_samples=len(batch))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Train `epochs` times on all of a DataSource; `loss` is the last pass's mean."""
        total, count = 0.0, 0
        for _ in range(epochs):
            total, count = 0.0, 0
            for batch, labels in data.epoch(ctx):
                loss, _ = self.train_step(ctx, batch, labels)
                total, count = total + float(loss) * len(batch), count + len(batch)
        if not count:
            raise RoleError("the DataSource gave no examples", expected="at least one batch")
        return np.asarray(total / count, np.float32), bb.Record(num_samples=count)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Measure without training: `loss_sum` and `count` add up over batches and peers."""
        off = self._error(ctx, batch, labels)
        return bb.Record(loss_sum=float(np.sum(off**2)), count=len(batch))

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._params.copy()

    def _error(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        if labels.shape != (len(batch),):
            raise RoleError(f"labels have the shape {labels.shape}", expected=f"({len(batch)},)")
        return np.asarray(self.forward(ctx, batch) - labels, np.float32)

    def _like(self, vector: bb.Tensor) -> bb.Tensor:
        if vector.shape != self._params.shape or vector.dtype != np.float32:
            raise RoleError(
                f"the parameters are a {vector.dtype} of shape {vector.shape}",
                expected=f"float32 of shape {self._params.shape}",
            )
        return vector
'''

_BENCH: Final = '''
"""`bb bench $short`: this package's Concrete beside plain numpy."""

from typing import Any

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_bench_train_step(row: Any) -> None:
    model, ctx = $Class($Class.Config(width=64)), FakeContext()
    x, y = np.ones((32, 64), np.float32), np.ones(32, np.float32)
    row(
        "train_step, batch 32, 64 wide",
        lambda: model.train_step(ctx, x, y),
        limit=("its two products", lambda: (x @ x[0], x.T @ y)),
    )
'''

_TEST: Final = '''
"""What is this Concrete's own; the promises of its Role are in test_conformance.py."""

import numpy as np

from bb_core.testing import FakeContext
from $package import $Class


def test_it_finds_a_line() -> None:
    model, ctx = $Class($Class.Config(width=1, learning_rate=0.1)), FakeContext()
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    for _ in range(500):
        model.train_step(ctx, x, 3 * x[:, 0] + 1)
    np.testing.assert_allclose(model.parameters(), [3, 1], atol=1e-3)
'''

SKETCH: Final = Sketch(
    "model",
    "Predicts a number as a weighted sum, and learns the weights.",
    _CODE,
    _BENCH,
    _TEST,
    traits=', traits={"classes": None}',
)
