"""Measures over many peers are those of all their examples together, by scikit-learn's own formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.data_sources.partition import dirichlet
from bb_plugins.models.architectures import mlp
from bb_plugins.models.metrics import check_names, further, summary, total
from bb_plugins.models.passes import measures
from bb_plugins.recipes.federated_evaluation import FederatedEvaluation
from tests.plugins.fake_context import FakeContext

VIEW, CPU, SOURCE = "bytesandbrains.ConstantView", "bytesandbrains.CpuBackend", "bytesandbrains.ArrayDataSource"
NAMES = ("f1", "top_1", "top_3")


@given(st.integers(1, 60), st.integers(3, 6), st.integers(1, 5), st.integers(0, 10**6))
def test_what_peers_measure_adds_up_to_the_whole(rows: int, classes: int, peers: int, seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    scores, labels = random.normal(size=(rows, classes)), random.integers(0, classes, rows)
    cuts = np.sort(random.integers(0, rows + 1, peers - 1))
    parts = zip(np.split(scores, cuts), np.split(labels, cuts), strict=True)
    found = summary(total(measures(0.0, s, y, NAMES) for s, y in parts if len(y)))
    guess = scores.argmax(1)
    seen = sorted({*guess, *labels})
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guess))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, guess, average="macro", labels=seen, zero_division=0))
    assert found["top_1"] == pytest.approx(found["accuracy"])
    wanted = metrics.top_k_accuracy_score(labels, scores, k=3, labels=range(classes)) if classes > 3 else 1.0
    assert found["top_3"] == pytest.approx(wanted)


def test_a_mean_of_peers_scores_would_be_another() -> None:
    """Why sums travel."""
    scores, labels = np.eye(2)[[0, 0, 0, 1]], np.array([0, 0, 0, 0])
    parts = [measures(0.0, scores[:3], labels[:3], ("f1",)), measures(0.0, scores[3:], labels[3:], ("f1",))]
    assert summary(total(parts))["accuracy"] == 0.75
    assert np.mean([summary(p)["accuracy"] for p in parts]) == 0.5


def test_numbers_are_measured_by_squares() -> None:
    random = np.random.default_rng(0)
    prediction, labels = random.normal(size=(50, 2)), random.normal(size=(50, 2))
    parts = [measures(0.0, prediction[s], labels[s]) for s in (slice(0, 7), slice(7, 50))]
    found = summary(total(parts))
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((prediction - labels) ** 2)))


@pytest.mark.parametrize("names", [("top_0",), ("f2",), ("top_",), ("top_x",)])
def test_what_is_no_measure_is_refused(names: Any) -> None:
    with pytest.raises(ValueError, match="expected f1, or top_3"):
        check_names(names)
    model = bb.use("bytesandbrains.GraphModel", graph=mlp(2, 2), metrics=names)
    compiler = bb.Compiler().bind({"model": model, "compute": CPU, "cohort": VIEW, "data": SOURCE})
    with pytest.raises(bb.errors.BBError, match="expected f1"):
        compiler.compile(FederatedEvaluation())


@pytest.mark.parametrize("kind", ["torch", "sklearn"])
def test_models_of_other_libraries_measure_the_same(kind: str) -> None:
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    given = {
        "torch": bb.use("bytesandbrains.TorchModel", module="tests.plugins.models.nets:Net", metrics=NAMES),
        "sklearn": bb.use(
            "bytesandbrains.SklearnModel", estimator="sklearn.linear_model:SGDClassifier", features=4, classes=3,
            metrics=NAMES,
        ),
    }[kind]  # fmt: skip
    from bb_core.configs import make_config
    from bb_core.plugins import installed_plugins

    cls: Any = installed_plugins().resolve(str(given.concrete))
    model, ctx = cls(make_config(cls, given.config, "model")), FakeContext()
    random = np.random.default_rng(1)
    x, y = random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 3, 30)
    model.train_step(ctx, x, y)
    scores = model.forward(ctx, x)
    found = summary(model.evaluate(ctx, x, y))
    assert found["accuracy"] == pytest.approx(np.mean(scores.argmax(1) == y))
    assert found["f1"] == pytest.approx(summary({**further(("f1",), scores, y), "count": 30})["f1"])
    assert found["top_3"] == 1


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(RoleError, match="name is a str"):
        total([{"name": "x"}])
    with pytest.raises(RoleError, match="as many classes"):
        total([further(("f1",), np.eye(2), np.arange(2)), further(("f1",), np.eye(3), np.arange(3))])
    assert total([]) == bb.Record()
    assert summary({"count": 0, "correct": 0}) == {}


def test_sequences_are_measured_element_by_element() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(4, 5, 3)), random.integers(0, 3, (4, 5))
    found = summary({**further(("top_1", "f1"), scores, labels), "count": 4})
    assert found["top_1"] == pytest.approx(np.mean(scores.argmax(-1) == labels))


def test_a_model_is_measured_where_the_data_lies() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 6)).astype(np.float32)
    y = (x @ random.normal(size=(6, 4))).argmax(1)
    shares = dirichlet(y, 5, alpha=0.3, seed=1)
    graph = mlp(6, 12, 4)
    whole = {"inputs": x, "labels": y, "shuffle": False}
    result = bb.run(
        FederatedEvaluation(),
        bindings={
            "cohort": VIEW,
            "compute": CPU,
            "model": bb.use("bytesandbrains.GraphModel", graph=graph, metrics=("f1", "top_2")),
            "data": bb.each(SOURCE, lambda n: {**whole, "indices": shares[n], "batch_size": len(shares[n])}),
        },
        peers=5,
    )
    from bb_plugins.models.graph import GraphModel

    model = GraphModel(GraphModel.Config(graph, metrics=("f1", "top_2")))
    wanted = summary(model.evaluate(FakeContext(), x, y))
    measured = result.metrics[0]["measured"]
    assert set(measured) == {"loss", "accuracy", "f1", "top_2"} == set(wanted)
    for name, value in wanted.items():
        assert measured[name] == pytest.approx(value, rel=1e-5)
    assert len(result.metrics[0]["clients"]) == 5
