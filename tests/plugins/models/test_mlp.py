"""The MLP against plain numpy, against its own single ops, and against ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.data_sources.array import ArrayDataSource
from bb_plugins.models.mlp import MLP
from tests.oracles.plain_fedavg import numpy_gradient
from tests.plugins.fake_context import FakeContext

RANDOM = np.random.Generator(np.random.Philox(1))
X = RANDOM.standard_normal((50, 64), np.float32)
Y = RANDOM.integers(0, 10, 50)


def mlp(**options: Any) -> tuple[MLP, FakeContext]:
    return MLP(MLP.Config(**options)), FakeContext()


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def source(size: int = 16) -> ArrayDataSource:
    return ArrayDataSource(ArrayDataSource.Config(X, Y, batch_size=size))


def test_loss_and_gradient_agree_with_numpy() -> None:
    model, ctx = mlp()
    loss, grad = model.loss_grad(ctx, model.forward(ctx, frozen(X)), frozen(Y))
    model.backward(ctx, grad)
    expected_loss, expected = numpy_gradient(model.parameters().astype(np.float64), X.astype(np.float64), Y)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(model.grads(ctx), expected, atol=1e-6)


def test_gradients_add_up_until_they_are_zeroed() -> None:
    model, ctx = mlp()
    _, grad = model.loss_grad(ctx, model.forward(ctx, X), Y)
    model.backward(ctx, grad)
    once = model.grads(ctx)
    model.backward(ctx, grad)
    np.testing.assert_allclose(model.grads(ctx), 2 * once, rtol=1e-6)
    model.zero_grad(ctx)
    assert not model.grads(ctx).any()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_train_step_equals_its_ops_one_by_one(momentum: float) -> None:
    whole, ctx = mlp(momentum=momentum)
    parts, _ = mlp(momentum=momentum)
    for _ in range(3):
        loss, stats = whole.train_step(ctx, X, Y)
        one_by_one, grad = parts.loss_grad(ctx, parts.forward(ctx, X), Y)
        parts.backward(ctx, grad)
        parts.step(ctx)
        assert float(loss) == pytest.approx(float(one_by_one), rel=1e-6)
        assert stats == bb.Record(num_samples=50)
    np.testing.assert_array_equal(whole.parameters(), parts.parameters())


def test_momentum_is_that_of_sgd() -> None:
    model, ctx = mlp(momentum=0.5, learning_rate=0.25)
    params = model.parameters().astype(np.float64)
    velocity = np.zeros_like(params)
    for _ in range(4):
        model.train_step(ctx, X, Y)
        velocity = 0.5 * velocity + numpy_gradient(params, X.astype(np.float64), Y)[1]
        params -= 0.25 * velocity
    np.testing.assert_allclose(model.parameters(), params, atol=1e-6)


def test_training_learns_the_examples_by_heart() -> None:
    model, ctx = mlp(learning_rate=0.1)
    first, _ = model.train_epochs(ctx, source())
    last, stats = model.train_epochs(ctx, source(), epochs=300)
    assert float(last) < 0.05 < float(first)
    assert stats == bb.Record(num_samples=50)
    assert model.evaluate(ctx, X, Y)["correct"] == 50


class BatchesOnly(ArrayDataSource):
    """A source that cannot give a pass as a whole."""

    def epoch_arrays(self, ctx: bb.Context) -> Any:
        return None

    def epoch(self, ctx: bb.Context) -> Any:
        return bb.roles.DataSource.epoch(self, ctx)


def test_a_pass_in_batches_gives_the_same_bytes_as_one_in_memory() -> None:
    whole, _ = mlp()
    batched, _ = mlp()
    whole.train_epochs(FakeContext(), source(), epochs=3)
    batched.train_epochs(FakeContext(), BatchesOnly(ArrayDataSource.Config(X, Y, batch_size=16)), epochs=3)
    np.testing.assert_array_equal(whole.parameters(), batched.parameters())


def test_the_size_of_a_batch_before_changes_nothing() -> None:
    used, ctx = mlp()
    fresh, _ = mlp()
    start = used.parameters()
    used.evaluate(ctx, X, Y)
    used.train_step(ctx, X[:3], Y[:3])
    used.load_parameters(ctx, start)
    for model in (used, fresh):
        model.train_step(ctx, X[:20], Y[:20])
    np.testing.assert_array_equal(used.parameters(), fresh.parameters())


def test_parameters_go_out_and_come_in() -> None:
    model, ctx = mlp()
    other, _ = mlp(seed=1)
    assert not np.array_equal(model.parameters(), other.parameters())
    other.load_parameters(ctx, frozen(model.params(ctx)))
    np.testing.assert_array_equal(model.parameters(), other.parameters())
    other.apply_delta(ctx, frozen(np.ones_like(model.parameters())))
    np.testing.assert_allclose(other.delta(ctx), 1, rtol=1e-6)
    assert not np.shares_memory(model.params(ctx), model.params(ctx))


def test_evaluate_adds_up_over_batches() -> None:
    model, ctx = mlp()
    whole = model.evaluate(ctx, X, Y)
    parts = [model.evaluate(ctx, X[:20], Y[:20]), model.evaluate(ctx, X[20:], Y[20:])]
    for name in ("loss_sum", "correct", "count"):
        assert sum(p[name] for p in parts) == pytest.approx(whole[name], rel=1e-5)


@pytest.mark.parametrize("layers", [(64, 10), (64, 128, 10), (64, 32, 16, 10)])
def test_an_exported_network_gives_the_same_logits(layers: tuple[int, ...], tmp_path: Path) -> None:
    model, ctx = mlp(layers=layers)
    model.train_step(ctx, X, Y)
    path = str(tmp_path / "m.onnx")
    model.export(path)
    onnx.checker.check_model(path, full_check=True)
    (theirs,) = ReferenceEvaluator(path).run(None, {"batch": X})
    np.testing.assert_allclose(model.forward(ctx, X), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda m, c: m.load_parameters(c, np.zeros(3, np.float32)), "(9610,)"),
        (lambda m, c: m.load_parameters(c, np.zeros(9610)), "float64"),
        (lambda m, c: m.forward(c, np.zeros((2, 3), np.float32)), "(b, 64)"),
        (lambda m, c: m.forward(c, np.zeros((0, 64), np.float32)), "at least 1"),
        (lambda m, c: m.train_step(c, X, Y[:3]), "(50,)"),
        (lambda m, c: m.backward(c, X), "Forward"),
        (lambda m, c: m.set_mode(c, mode="test"), "train or eval"),
        (lambda m, c: m.train_epochs(c, ArrayDataSource(ArrayDataSource.Config(X, Y, np.arange(0)))), "no examples"),
    ],
)
def test_what_does_not_fit_is_refused(attempt: Callable[..., Any], says: str) -> None:
    model, ctx = mlp()
    before = model.parameters()
    with pytest.raises(RoleError) as caught:
        attempt(model, ctx)
    assert says in str(caught.value)
    np.testing.assert_array_equal(model.parameters(), before)


def test_a_label_that_is_no_class_shows_as_nan() -> None:
    model, ctx = mlp()
    assert np.isnan(model.compute_loss(ctx, model.forward(ctx, X), np.full(50, 10)))


@pytest.mark.parametrize(
    "options",
    [{"layers": (64,)}, {"layers": (64, 0)}, {"learning_rate": 0}, {"momentum": 1.0}, {"seed": -1}],
)
def test_illegal_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MLP.Config(**options)
