"""The ready programs, each against a plain loop that shares nothing with it but the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

import bb_core as bb
from bb_plugins.data_sources.partition import dirichlet, iid
from bb_plugins.models.architectures import mlp
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from bb_plugins.recipes.hierarchical import Hierarchical
from bb_plugins.recipes.split_learning import SplitLearning

VIEW, CPU, SOURCE = "bytesandbrains.ConstantView", "bytesandbrains.CpuBackend", "bytesandbrains.ArrayDataSource"
RANDOM = np.random.Generator(np.random.Philox(4))
X = RANDOM.standard_normal((240, 6), np.float32)
Y = (X @ RANDOM.standard_normal((6, 3))).argmax(1)
W = RANDOM.standard_normal((6, 3)).astype(np.float32) / 3
RATE, BATCH = 0.2, 16


def written(text: str, **arrays: np.ndarray) -> bytes:
    graph = parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


LINEAR = written("net (float[b,6] x) => (float[b,3] y) { y = MatMul(x, w) }", w=W)


def gradient(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
    logits = X[rows] @ w
    powers = np.exp(logits - logits.max(1, keepdims=True))
    off = powers / powers.sum(1, keepdims=True)
    off[np.arange(len(rows)), Y[rows]] -= 1
    return X[rows].T @ off / len(rows)


def batches(rows: np.ndarray, epochs: int) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for _ in range(epochs) for start in range(0, len(rows), BATCH)]


def data(shares: list[np.ndarray], **more: Any) -> dict[str, Any]:
    every = {"inputs": X, "labels": Y, "batch_size": BATCH, "shuffle": False}
    return {
        "data": bb.each(SOURCE, lambda n: {**every, "indices": shares[n]}),
        "holdout": bb.use(SOURCE, **{**every, "batch_size": len(X)}),
        **more,
    }


def linear(**options: Any) -> Any:
    return bb.use("bytesandbrains.GraphModel", graph=LINEAR, learning_rate=RATE, **options)


def averaging(shares: list[np.ndarray], model: Any, aggregator: Any, rounds: int, cohort: int, **more: Any) -> Any:
    result = bb.run(
        FederatedAveraging(cohort, epochs=2, **more),
        bindings=data(shares, cohort=VIEW, compute=CPU, model=model, aggregator=aggregator),
        peers={"client": len(shares)},
        rounds=rounds,
    )
    assert not result.failures
    return result


# --- options of the training -----------------------------------------------------------------------------------------


def test_scaffold_is_its_algorithm() -> None:
    """Karimireddy et al. 2020, Algorithm 1 with option II, all clients in each round, weighted as FedAvg does."""
    shares = dirichlet(Y, 4, alpha=0.4, seed=2)
    result = averaging(shares, linear(control_variates=True), "bytesandbrains.Scaffold", rounds=6, cohort=4)
    x, c = W.astype(np.float64), np.zeros_like(W, np.float64)
    own = [np.zeros_like(c) for _ in shares]
    weights = np.array([len(s) for s in shares]) / sum(map(len, shares))
    for _ in range(6):
        ys, moved = [], []
        for k, rows in enumerate(shares):
            y = x.copy()
            parts = batches(rows, 2)
            for part in parts:
                y -= RATE * (gradient(y, part) - own[k] + c)
            new = own[k] - c + (x - y) / (len(parts) * RATE)
            ys.append(y)
            moved.append(new - own[k])
            own[k] = new
        x = np.tensordot(weights, ys, 1)
        c = c + np.tensordot(weights, moved, 1)
    np.testing.assert_allclose(result.parameters().reshape(W.shape), x, atol=2e-5)


def test_scaffold_counts_a_part_of_the_clients_as_a_part() -> None:
    from bb_plugins.aggregators.scaffold import Scaffold
    from tests.plugins.aggregators.rounds import updates
    from tests.plugins.fake_context import FakeContext

    ours, ctx = Scaffold(Scaffold.Config(clients=10, weight="")), FakeContext()
    first, second = updates(2, 8), updates(2, 8, seed=1)
    contributions = [
        [bb.roles.Contribution(bb.PeerId.from_int(n), u, bb.Record()) for n, u in enumerate(given)]
        for given in (first, second)
    ]
    began, _ = ours.combine(ctx, contributions[0])
    then, _ = ours.combine(ctx, contributions[1])
    means = np.mean(first, axis=0), np.mean(second, axis=0)
    np.testing.assert_allclose(began, means[0], atol=1e-6)
    np.testing.assert_allclose(then[:4], means[1][:4], atol=1e-6)
    np.testing.assert_allclose(then[4:], means[0][4:] + 0.2 * (means[1] - means[0])[4:], atol=1e-6)


def test_scaffold_refuses_updates_without_variates() -> None:
    with pytest.raises(bb.errors.RunFailed, match="has no control variate"):
        averaging(iid(Y, 2), linear(), "bytesandbrains.Scaffold", rounds=1, cohort=2)


def test_variates_need_plain_steps() -> None:
    with pytest.raises(bb.errors.ConfigError, match="need the optimizer 'sgd'"):
        averaging(iid(Y, 2), linear(control_variates=True, optimizer="adam"), "bytesandbrains.FedAvg", 1, 2)


def test_fedprox_is_its_objective() -> None:
    """Li et al. 2020: each step also goes mu (w - w0) back."""
    shares = dirichlet(Y, 3, alpha=0.4, seed=2)
    result = averaging(shares, linear(proximal=0.5), "bytesandbrains.FedAvg", rounds=4, cohort=3)
    x = W.astype(np.float64)
    weights = np.array([len(s) for s in shares]) / sum(map(len, shares))
    for _ in range(4):
        ys = []
        for rows in shares:
            y = x.copy()
            for part in batches(rows, 2):
                y -= RATE * (gradient(y, part) + 0.5 * (y - x))
            ys.append(y)
        x = np.tensordot(weights, ys, 1)
    np.testing.assert_allclose(result.parameters().reshape(W.shape), x, atol=2e-5)


# --- hierarchies, split models ---------------------------------------------------------------------------------------


def test_two_tiers_give_the_mean_over_all_clients() -> None:
    """Edges with unequally many clients, and clients with unequally many examples: counts travel up."""
    shares = dirichlet(Y, 7, alpha=0.4, seed=3)
    flat = averaging(shares, linear(), "bytesandbrains.FedAvg", rounds=3, cohort=7)
    result = bb.run(
        Hierarchical(epochs=2),
        bindings=data(
            shares,
            edges=VIEW,
            members=bb.each(VIEW, lambda n, of: {"share": n, "shares": of}),
            compute=CPU,
            model=linear(),
            aggregator="bytesandbrains.FedAvg",
            edge_aggregator="bytesandbrains.FedAvg",
        ),
        peers={"client": 7, "edge": 3},
        rounds=3,
    )
    assert not result.failures
    assert result.metrics[-1]["training"] == {"num_samples": 240, "peers": 3}
    np.testing.assert_allclose(result.parameters(), flat.parameters(), atol=1e-6)
    assert result.envelopes == 3 * 2 * (3 + 7)  # each tier there and back


W1, B1, W2 = (RANDOM.standard_normal(s).astype(np.float32) / 3 for s in ((6, 8), (8,), (8, 3)))
LOWER = "net (float[b,6] x) => (float[b,8] h) { a = Gemm(x, w1, b1)\n h = Tanh(a) }"
UPPER = "net (float[b,8] h) => (float[b,3] y) { y = MatMul(h, w2) }"
WHOLE = "net (float[b,6] x) => (float[b,3] y) { a = Gemm(x, w1, b1)\n h = Tanh(a)\n y = MatMul(h, w2) }"


def split(clients: int, steps: int, rounds: int) -> bb.RunResult:
    graph = {"learning_rate": RATE}
    result = bb.run(
        SplitLearning(clients, steps=steps),
        bindings=data(
            iid(Y, clients),
            cohort=VIEW,
            coordinator=VIEW,
            compute=CPU,
            lower=bb.use("bytesandbrains.GraphModel", graph=written(LOWER, w1=W1, b1=B1), **graph),
            upper=bb.use("bytesandbrains.GraphModel", graph=written(UPPER, w2=W2), **graph),
            aggregator="bytesandbrains.FedAvg",
        ),
        peers={"client": clients},
        rounds=rounds,
    )
    assert not result.failures
    return result


def test_a_model_in_two_places_learns_what_one_in_one_place_does() -> None:
    result = split(clients=1, steps=5, rounds=3)
    from bb_plugins.models.graph import GraphModel
    from tests.plugins.fake_context import FakeContext

    whole = GraphModel(GraphModel.Config(written(WHOLE, w1=W1, b1=B1, w2=W2), learning_rate=RATE))
    (rows,) = iid(Y, 1)
    order = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    for part in order:  # 3 rounds of 5 batches are one pass over 15
        whole.train_step(FakeContext(), X[part], Y[part])
    found = np.concatenate([result.parameters("lower"), result.parameters("upper")])
    np.testing.assert_allclose(found, whole.parameters(), rtol=1e-4, atol=1e-6)


def test_split_learning_learns_with_many_clients() -> None:
    result = split(clients=4, steps=4, rounds=8)
    accuracy = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
    assert accuracy[-1] > 0.85
    assert result.envelopes == 8 * 4 * (2 + 2 * 4)


# --- rounds that begin by themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "reason", "rounds"),
    [
        ({"rounds": 4}, "4 rounds are done", 4),
        ({"target": 0.75, "rounds": 30}, "accuracy is 0.", None),
        ({"patience": 2, "least": 1.0}, "no progress in accuracy for 2 rounds", 3),
        ({"measure": "loss", "target": 0.8, "rounds": 30}, "loss is 0.", None),
    ],
)
def test_rounds_begin_by_themselves_until_a_rule_ends_them(rule: Any, reason: str, rounds: int | None) -> None:
    shares = iid(Y, 3)
    stop = bb.use("bytesandbrains.StopRule", **rule)
    result = bb.run(
        FederatedAveraging(3, epochs=1, repeats=True),
        bindings=data(shares, cohort=VIEW, compute=CPU, model=linear(), aggregator="bytesandbrains.FedAvg", stop=stop),
        peers={"client": 3},
    )
    ended = result.metrics[-1]["ended"]
    assert ended["reason"].startswith(reason)
    assert ended["rounds"] == len(result.metrics) == (rounds or len(result.metrics))
    assert all("ended" not in m and "metrics" in m for m in result.metrics[:-1])


def test_rounds_that_begin_by_themselves_are_those_that_are_invoked() -> None:
    shares = iid(Y, 3)
    by_itself = bb.run(
        FederatedAveraging(3, epochs=2, repeats=True),
        bindings=data(
            shares, cohort=VIEW, compute=CPU, model=linear(), aggregator="bytesandbrains.FedAvg",
            stop=bb.use("bytesandbrains.StopRule", rounds=5),
        ),
        peers={"client": 3},
    )  # fmt: skip
    invoked = averaging(shares, linear(), "bytesandbrains.FedAvg", 5, 3)
    assert len(by_itself.metrics) == len(invoked.metrics) == 5
    np.testing.assert_array_equal(by_itself.parameters(), invoked.parameters())


def test_a_rule_that_never_ends_is_refused() -> None:
    with pytest.raises(bb.errors.BBError, match="no rule is set"):
        bb.run(
            FederatedAveraging(3, repeats=True),
            bindings=data(iid(Y, 3), cohort=VIEW, compute=CPU, model=linear(), aggregator="bytesandbrains.FedAvg",
                          stop="bytesandbrains.StopRule"),
            peers={"client": 3},
        )  # fmt: skip


def test_a_run_ends_when_its_watcher_says_so() -> None:
    seen: list[int] = []

    def watch(done: bb.Round) -> bool:
        seen.append(done.number)
        return done.number == 3

    result = bb.run(
        FederatedAveraging(2, epochs=1),
        bindings=data(iid(Y, 2), cohort=VIEW, compute=CPU, model=linear(), aggregator="bytesandbrains.FedAvg"),
        peers=2,
        rounds=50,
        on_round=watch,
    )
    assert seen == [1, 2, 3]
    assert len(result.metrics) == 3


def test_the_mlp_begins_as_the_graph_does() -> None:
    """So that tables compare options, not beginnings."""
    shares = iid(Y, 2)
    graph = bb.use("bytesandbrains.GraphModel", graph=mlp(6, 5, 3), learning_rate=RATE)
    fused = bb.use("bytesandbrains.MLP", layers=(6, 5, 3), learning_rate=RATE)
    found = [averaging(shares, m, "bytesandbrains.FedAvg", 3, 2).parameters() for m in (graph, fused)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
