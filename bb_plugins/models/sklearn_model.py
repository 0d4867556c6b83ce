"""`SklearnModel`: an estimator of scikit-learn, trained by `partial_fit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import MissingExtra, RoleError
from bb_plugins.models.metrics import check_names
from bb_plugins.models.passes import finite, flat_of, measures, named, trained_on


@bb.concrete("bytesandbrains.SklearnModel")
class SklearnModel(bb.roles.Model):
    """Train a linear model or a perceptron of scikit-learn.

    It takes estimators that have `partial_fit` and keep what they learn as `coef_` and `intercept_` (SGDClassifier,
    SGDRegressor, Perceptron and others) or as `coefs_` and `intercepts_` (MLPClassifier, MLPRegressor). Linear models
    begin at zero, perceptrons with weights drawn from `seed`. What an optimizer keeps begins anew with each op.

    Shape:
        batch (b, features) · labels (b,) classes 0..classes-1, or numbers (b,) or (b, outputs) · params, delta (d,)
        f32, all coefficients row by row, then all intercepts · prediction (b, classes) or (b,) f32
    """

    @dataclass(frozen=True, slots=True, eq=False)
    class Config:
        """Which estimator, and for which data."""

        estimator: Any
        """One that is not fitted, its class, or the class as text: `"sklearn.linear_model:SGDClassifier"`."""
        features: int
        """Numbers in an example."""
        classes: int | None = None
        """How many classes there are; None for a regressor."""
        outputs: int = 1
        """Numbers that a regressor predicts."""
        options: dict[str, Any] = field(default_factory=dict)
        """What the estimator's class is called with: `{"loss": "log_loss", "alpha": 1e-4}`."""
        metrics: tuple[str, ...] = ()
        """What Evaluate measures beside loss and accuracy, of classes: `f1`, and `top_3` with any number."""
        seed: int = 0
        """Of a perceptron's first weights."""

        def __post_init__(self) -> None:
            check_names(self.metrics)
            for name, least in (("features", 1), ("outputs", 1), ("seed", 0)):
                if getattr(self, name) < least:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
            if self.classes is not None and self.classes < 2:
                raise ValueError(f"classes is {self.classes}; expected two or more, or None for a regressor")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._estimator = _made(config)
        self._steps = _begun(self._estimator, config)
        self._loaded = self._flat()

    @classmethod
    def capabilities(cls, config: Any) -> bb.roles.Capabilities:
        """Say what it can do: an estimator gives no gradients."""
        return bb.roles.Capabilities(can_backward=False)

    @property
    def estimator(self) -> Any:
        """The fitted estimator."""
        return self._estimator

    # --- parameters ---------------------------------------------------------------------------------------------------

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters."""
        return self._flat()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another length."""
        self._loaded = self._like_params(params)
        self._write(self._loaded)

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        self._write(self._flat() + self._like_params(delta))

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters (at first: minus those it began with)."""
        return np.asarray(self._flat() - self._loaded)

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._flat()

    def snapshot(self) -> bb.State:
        """Return the parameters as the estimator has them, and how many steps it has made."""
        arrays = [array.copy() for array in arrays_of(self._estimator)]
        return {"arrays": arrays, "loaded": self._loaded, "steps": float(getattr(self._estimator, "t_", 0.0))}

    def restore(self, state: bb.State) -> None:
        """Take them over; refuse arrays of another shape."""
        for mine, theirs in zip(arrays_of(self._estimator), state["arrays"], strict=True):
            if mine.shape != np.shape(theirs):
                raise RoleError(f"an array has the shape {np.shape(theirs)}", expected=f"{mine.shape}")
            mine[...] = theirs
        self._loaded = self._like_params(state["loaded"])
        if hasattr(self._estimator, "t_"):
            self._estimator.t_ = type(self._steps)(state["steps"])

    # --- what it does -------------------------------------------------------------------------------------------------

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict: what each class scores, its probability where the estimator has that; or numbers."""
        return np.asarray(self._refusing(lambda: self._scores(batch)), np.float32)

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        """Return the mean loss of predictions, a scalar: log loss, hinge loss of scores, or squared error."""
        return np.asarray(self._loss(prediction, labels), np.float32)

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Train on one batch; the loss is that before it."""
        loss = self._learn(ctx, batch, labels)
        return np.asarray(loss, np.float32), bb.Record(num_samples=len(batch))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Train `epochs` times on all of a DataSource, each pass by one `partial_fit`, which makes its own batches."""
        return trained_on(ctx, data, epochs, self._learn, whole=True)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Measure without training: `loss_sum`, `count`; of classes `correct`, of numbers `square_sum`."""
        prediction = self._refusing(lambda: self._scores(batch))
        return measures(
            self._loss(prediction, labels) * len(batch), prediction, np.asarray(labels), self.config.metrics
        )

    def set_mode(self, ctx: bb.Context, *, mode: str) -> None:
        """Switch between `train` and `eval`, which are alike for an estimator."""
        if mode not in ("train", "eval"):
            raise RoleError(f"the mode is {mode!r}", expected="train or eval")

    def export(self, path: str) -> None:
        """Write the arrays to an `.npz` file; `skl2onnx` makes an ONNX file of `estimator`."""
        np.savez(path, *arrays_of(self._estimator))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _learn(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> float:
        estimator, classes = self._estimator, self.config.classes
        loss = float(finite(self._loss(self._refusing(lambda: self._scores(batch)), labels)))
        if "random_state" in estimator.get_params():
            estimator.set_params(random_state=int(ctx.rng.integers(2**31)))
        vars(estimator).pop("_optimizer", None)  # of a perceptron; it makes another
        known = {} if classes is None else {"classes": np.arange(classes)}
        self._refusing(lambda: estimator.partial_fit(batch, labels, **known))
        return loss

    def _refusing(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except ValueError as error:  # what scikit-learn says of data that does not fit
            name = type(self._estimator).__name__
            raise RoleError(f"{name} refuses the batch: {error}", expected=f"(b, {self.config.features})") from error

    def _scores(self, batch: bb.Tensor) -> Any:
        estimator = self._estimator
        if self.config.classes is None:
            return estimator.predict(batch)
        if hasattr(estimator, "predict_proba"):
            return estimator.predict_proba(batch)
        scores = estimator.decision_function(batch)
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def _loss(self, prediction: Any, labels: bb.Tensor) -> float:
        if len(labels) != len(prediction):
            raise RoleError(f"there are {len(labels)} labels", expected=f"{len(prediction)}, one for each example")
        classes = self.config.classes
        if classes is None:
            return float(np.mean((prediction - labels.reshape(prediction.shape)) ** 2))
        if len(labels) and (labels.min() < 0 or labels.max() >= classes):
            raise RoleError(
                f"labels from {labels.min()} to {labels.max()}", expected=f"whole numbers from 0, below {classes}"
            )
        rows = np.arange(len(labels))
        if hasattr(self._estimator, "predict_proba"):
            return float(-np.mean(np.log(np.maximum(prediction[rows, labels], 1e-12))))
        signs = np.full(prediction.shape, -1.0)
        signs[rows, labels] = 1
        return float(np.mean(np.maximum(0, 1 - signs * prediction)))

    def _flat(self) -> bb.Tensor:
        return np.concatenate([array.reshape(-1) for array in arrays_of(self._estimator)]).astype(np.float32)

    def _write(self, vector: bb.Tensor) -> None:
        start = 0
        for array in arrays_of(self._estimator):
            array[...] = vector[start : start + array.size].reshape(array.shape)
            start += array.size

    def _like_params(self, vector: bb.Tensor) -> bb.Tensor:
        size = sum(array.size for array in arrays_of(self._estimator))
        return flat_of(vector, size, f"of a {type(self._estimator).__name__}")


def arrays_of(estimator: Any) -> list[Any]:
    """The arrays that a fitted estimator has learnt: coefficients, then intercepts."""
    for names in (("coef_", "intercept_"), ("coefs_", "intercepts_")):
        found = [getattr(estimator, name, None) for name in names]
        if all(f is not None for f in found):
            return [array for part in found for array in (part if isinstance(part, list) else [part])]
    return []


def _made(config: Any) -> Any:
    try:
        from sklearn.base import clone
    except ImportError as error:
        raise MissingExtra(
            "SklearnModel needs scikit-learn, which is not installed", hint='pip install "bytesandbrains[sklearn]"'
        ) from error
    found = named(config.estimator, "estimator")
    if isinstance(found, type):
        found = found(**config.options)
    elif config.options:
        raise ValueError(f"options are {config.options}, and the estimator is made already; expected its class")
    else:
        found = clone(found)
    name = type(found).__name__
    if not hasattr(found, "partial_fit"):
        raise ValueError(f"{name} has no partial_fit; expected an estimator that learns batch by batch")
    if getattr(found, "average", False):
        raise ValueError(f"{name} averages its own steps; expected average=False")
    return found


def _begun(estimator: Any, config: Any) -> Any:
    """Let an estimator make its arrays, and begin them anew. Returns its count of steps."""
    before = estimator.get_params(deep=False)
    if "random_state" in before:
        estimator.set_params(random_state=config.seed)
    if config.classes is None:
        shape = (2, config.outputs) if config.outputs > 1 else (2,)
        estimator.partial_fit(np.zeros((2, config.features), np.float32), np.zeros(shape, np.float32))
    else:
        labels = np.arange(config.classes)
        estimator.partial_fit(np.zeros((config.classes, config.features), np.float32), labels, classes=labels)
    arrays = arrays_of(estimator)
    if not arrays:
        raise ValueError(
            f"{type(estimator).__name__} keeps neither coef_ and intercept_ nor coefs_ and intercepts_; "
            "expected a linear model or a perceptron, or write a FunctionModel"
        )
    random = np.random.Generator(np.random.Philox(config.seed))
    is_perceptron = hasattr(estimator, "coefs_")
    for array in arrays:
        if is_perceptron and array.ndim == 2:
            array[...] = random.uniform(-1, 1, array.shape) * np.sqrt(6 / sum(array.shape))
        else:
            array[...] = 0
    vars(estimator).pop("_optimizer", None)
    steps = getattr(estimator, "t_", 0.0)
    if hasattr(estimator, "t_"):
        estimator.t_ = type(steps)(0 if is_perceptron else 1)
    return steps
