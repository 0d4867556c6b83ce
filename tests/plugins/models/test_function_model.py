"""A training loop of one's own, in rounds, and what is said of functions that do not keep to the form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import ConfigError, RoleError
from bb_plugins.data_sources.partition import iid
from bb_plugins.models.function import FunctionModel
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from tests.plugins.fake_context import FakeContext
from tests.plugins.models import logistic

RANDOM = np.random.Generator(np.random.Philox(2))
X = RANDOM.standard_normal((240, 4), np.float32)
Y = (X @ RANDOM.standard_normal((4, 3))).argmax(1)
CLIENTS = 4


def model(**functions: Any) -> FunctionModel:
    given = {"init": logistic.init, "train": logistic.train, **functions}
    return FunctionModel(FunctionModel.Config(**given))


def bindings(function_model: Any) -> dict[str, Any]:
    shares = iid(Y, CLIENTS)
    source = "bytesandbrains.ArrayDataSource"
    return {
        "cohort": "bytesandbrains.ConstantView",
        "model": function_model,
        "data": bb.each(source, lambda n: {"inputs": X, "labels": Y, "indices": shares[n], "shuffle": False}),
        "aggregator": "bytesandbrains.FedAvg",
        "holdout": bb.use(source, inputs=X, labels=Y, batch_size=len(Y), shuffle=False),
    }


def test_three_functions_are_trained_by_federated_averaging() -> None:
    functions = {name: getattr(logistic, name) for name in ("init", "train", "evaluate")}
    result = bb.run(
        FederatedAveraging(CLIENTS, epochs=2),
        bindings=bindings(bb.use("bytesandbrains.FunctionModel", **functions)),
        peers={"client": CLIENTS},
        rounds=6,
    )
    accuracy = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
    assert accuracy[-1] > max(0.8, accuracy[0])
    params = logistic.init(np.random.Generator(np.random.Philox(0)))
    params = {"weight": params["weight"].astype(np.float32), "bias": params["bias"].astype(np.float32)}
    for _ in range(6):
        parts = []
        for rows in iid(Y, CLIENTS):
            mine = {k: v.copy() for k, v in params.items()}
            for _ in range(2):
                for start in range(0, len(rows), 32):
                    part = rows[start : start + 32]
                    logistic.train(mine, X[part], Y[part], RANDOM)
            parts.append(mine)
        params = {k: np.mean([p[k] for p in parts], axis=0, dtype=np.float32) for k in params}
    np.testing.assert_allclose(result.component("model").tree()["weight"], params["weight"], rtol=1e-4, atol=1e-6)


def test_functions_are_given_views_of_one_vector() -> None:
    seen = []

    def train(params: Any, batch: Any, labels: Any, rng: Any) -> tuple[Any, float]:
        seen.append(params)
        return params, 0.5

    ours = model(train=train)
    ours.train_step(FakeContext(), X[:8], Y[:8])
    assert all(np.shares_memory(array, ours._arena) for array in seen[0].values())
    assert {k: v.shape for k, v in seen[0].items()} == {"weight": (4, 3), "bias": (3,)}


class Layers(NamedTuple):
    first: np.ndarray
    rest: list[np.ndarray]


@pytest.mark.parametrize(
    "tree",
    [np.ones(5), [np.ones((2, 2)), np.zeros(3)], (np.ones(2), {"b": np.zeros(1), "a": np.ones(1)}),
     Layers(np.ones(2), [np.zeros(2)]), {"x": None, "y": np.ones(2)}],
    ids=["array", "list", "tuple and dict", "named tuple", "with nothing"],
)  # fmt: skip
def test_parameters_have_any_form(tree: Any) -> None:
    def train(params: Any, batch: Any, labels: Any, rng: Any) -> tuple[Any, float]:
        def more(part: Any) -> Any:
            if isinstance(part, dict):
                return {k: more(v) for k, v in part.items()}
            if isinstance(part, list | tuple):
                parts = [more(p) for p in part]
                return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
            return None if part is None else part + 1

        return more(params), 1.0

    ours, ctx = model(init=lambda rng: tree, train=train), FakeContext()
    before = ours.params(ctx)
    assert type(ours.tree()) is type(tree)
    ours.train_step(ctx, X[:2], Y[:2])  # new arrays, as functional code has them
    np.testing.assert_array_equal(ours.params(ctx), before + 1)
    ours.load_parameters(ctx, before)
    np.testing.assert_array_equal(ours.delta(ctx), 0 * before)


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ({"train": lambda p, b, y, r: 1.0}, r"returned a float"),
        ({"train": lambda p, b, y, r: ({"weight": np.ones(3)}, 1.0)}, r"parameters of the shapes"),
        ({"train": lambda p, b, y, r: (p, float("nan"))}, r"the loss is nan"),
    ],
)
def test_a_function_that_returns_something_else_is_refused_and_changes_nothing(functions: Any, says: str) -> None:
    ours, ctx = model(**functions), FakeContext()
    before = ours.params(ctx)
    with pytest.raises(RoleError, match=says):
        ours.train_step(ctx, X[:4], Y[:4])
    np.testing.assert_array_equal(ours.params(ctx), before)


def test_what_fails_half_way_is_undone() -> None:
    def train(params: Any, batch: Any, labels: Any, rng: Any) -> tuple[Any, float]:
        params["weight"] += 100
        raise ArithmeticError("half-way")

    ours, ctx = model(train=train), FakeContext()
    before = ours.params(ctx)
    with pytest.raises(ArithmeticError):
        ours.train_step(ctx, X[:4], Y[:4])
    np.testing.assert_array_equal(ours.params(ctx), before)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ValueError, match="train is 5; expected a function"):
        model(train=5)
    with pytest.raises(ConfigError, match="missing required field `init`"):
        bb.run(
            FederatedAveraging(2), bindings=bindings("bytesandbrains.FunctionModel"), peers={"client": 2},
        )  # fmt: skip
    with pytest.raises(ValueError, match="without an array"):
        model(init=lambda rng: [])


def test_evaluate_that_was_not_given_fails_its_op_with_what_is_missing() -> None:
    functions = {name: getattr(logistic, name) for name in ("init", "train")}
    result = bb.run(
        FederatedAveraging(2, 1),
        bindings=bindings(bb.use("bytesandbrains.FunctionModel", **functions)),
        peers={"client": 2},
    )
    assert "metrics" not in result.metrics[0]
    assert "no function 'evaluate'" in str(result.failures[0])


def test_it_is_exported_as_arrays(tmp_path: Any) -> None:
    ours = model()
    ours.export(str(tmp_path / "w.npz"))
    with np.load(tmp_path / "w.npz") as arrays:
        assert [arrays[name].shape for name in arrays] == [(3,), (4, 3)]  # keys in order: bias, weight
