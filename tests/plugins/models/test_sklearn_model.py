"""Estimators of scikit-learn, trained in rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.data_sources.partition import dirichlet
from bb_plugins.models.sklearn_model import SklearnModel
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from tests.plugins.fake_context import FakeContext

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

RANDOM = np.random.Generator(np.random.Philox(2))
X = RANDOM.standard_normal((300, 4), np.float32)
RULE = RANDOM.standard_normal((4, 3))
Y = (X @ RULE).argmax(1)
KINDS: dict[str, Any] = {
    "logistic": ("sklearn.linear_model:SGDClassifier", {"loss": "log_loss", "random_state": 1}, 3),
    "hinge": ("sklearn.linear_model:SGDClassifier", {}, 3),
    "binary": ("sklearn.linear_model:SGDClassifier", {"loss": "log_loss"}, 2),
    "binary hinge": ("sklearn.linear_model:SGDClassifier", {}, 2),
    "perceptron": ("sklearn.linear_model:Perceptron", {}, 3),
    "network": ("sklearn.neural_network:MLPClassifier", {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02}, 3),
    "regression": ("sklearn.linear_model:SGDRegressor", {}, None),
    "deep regression": (
        "sklearn.neural_network:MLPRegressor",
        {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02},
        None,
    ),
}


def labels_for(classes: int | None) -> np.ndarray:
    if classes is None:
        return (X @ RULE[:, 0]).astype(np.float32)
    return Y if classes == 3 else (Y == 1).astype(np.int64)


def options_of(kind: str) -> dict[str, Any]:
    estimator, options, classes = KINDS[kind]
    return {"estimator": estimator, "options": options, "classes": classes, "features": 4}


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_is_trained_by_federated_averaging(kind: str) -> None:
    """Over clients with few classes each: what some have never seen is learnt from the others."""
    labels = labels_for(KINDS[kind][2])
    shares = dirichlet(Y, 5, alpha=0.5, seed=1)
    source = "bytesandbrains.ArrayDataSource"
    result = bb.run(
        FederatedAveraging(5, epochs=2),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use("bytesandbrains.SklearnModel", **options_of(kind)),
            "data": bb.each(source, lambda n: {"inputs": X, "labels": labels, "indices": shares[n]}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(source, inputs=X, labels=labels, batch_size=len(X), shuffle=False),
        },
        peers={"client": 5},
        rounds=25,
    )
    assert not result.failures
    last = result.metrics[-1]["metrics"]
    if KINDS[kind][2] is None:
        assert last["square_sum"] / last["count"] < 0.25 * labels.var()
    else:
        assert last["correct"] / last["count"] > 0.85
    model = result.component("model")
    np.testing.assert_array_equal(model.estimator.predict(X[:5]).shape, (5,))


def test_equal_seeds_give_equal_bytes() -> None:
    def trained() -> np.ndarray:
        model, ctx = SklearnModel(SklearnModel.Config(**options_of("network"))), FakeContext(seed=3)
        for _ in range(3):
            model.train_step(ctx, X, Y)
        return model.parameters()

    np.testing.assert_array_equal(trained(), trained())


def test_nodes_of_one_configuration_begin_alike() -> None:
    first, other = (SklearnModel(SklearnModel.Config(**options_of("network"))) for _ in range(2))
    np.testing.assert_array_equal(first.parameters(), other.parameters())
    assert np.any(first.parameters())
    assert not np.any(SklearnModel(SklearnModel.Config(**options_of("logistic"))).parameters())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"estimator": "sklearn.svm:SVC"}, "SVC has no partial_fit"),
        ({"estimator": "sklearn.naive_bayes:GaussianNB"}, "neither coef_ and intercept_"),
        ({"options": {"average": True}}, "averages its own steps"),
        ({"features": 0}, "features is 0"),
        ({"classes": 1}, "classes is 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(given: dict[str, Any], says: str) -> None:
    known = {"estimator": "sklearn.linear_model:SGDClassifier", "features": 4, "classes": 3}
    with pytest.raises(ValueError, match=says):
        SklearnModel(SklearnModel.Config(**known | given))


def test_an_estimator_that_is_made_already_is_copied() -> None:
    from sklearn.linear_model import SGDClassifier

    mine = SGDClassifier(loss="log_loss", alpha=1e-3)
    model = SklearnModel(SklearnModel.Config(mine, features=4, classes=3))
    model.train_step(FakeContext(), X, Y)
    assert not hasattr(mine, "coef_")
    assert model.estimator.alpha == 1e-3


def test_data_that_does_not_fit_is_refused_with_what_would() -> None:
    model, ctx = SklearnModel(SklearnModel.Config(**options_of("logistic"))), FakeContext()
    with pytest.raises(RoleError, match="refuses the batch"):
        model.train_step(ctx, X[:, :3], Y)
    with pytest.raises(RoleError, match="labels from 0 to 7"):
        model.train_step(ctx, X, Y + 5 * (Y == 2))
