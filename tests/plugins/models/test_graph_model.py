"""Any ONNX model, trained: against the MLP, against plain formulas, through export, and in rounds between Nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

import bb_core as bb
from bb_core.errors import NotDifferentiable, RoleError, UsageError
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.data_sources.partition import iid
from bb_plugins.models.architectures import cnn, mlp
from bb_plugins.models.graph import GraphModel
from bb_plugins.models.mlp import MLP
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from bb_plugins.training.optimizers import Optimizer, Options
from tests.plugins.fake_context import FakeContext

RANDOM = np.random.Generator(np.random.Philox(1))
X = RANDOM.standard_normal((48, 64), np.float32)
Y = RANDOM.integers(0, 10, 48)


def graph_model(graph: bytes, **options: Any) -> tuple[GraphModel, FakeContext]:
    return GraphModel(GraphModel.Config(graph, **options)), FakeContext()


def written(text: str, opset: int = 21, **arrays: np.ndarray) -> bytes:
    """A model from ONNX text; what is no input of it is an initializer, given or drawn."""
    graph = parser.parse_graph(text)
    for name, value in arrays.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def drawn(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) / 3).astype(np.float32)


def test_it_trains_as_the_hand_written_network_does(tmp_path: Path) -> None:
    plain, ctx = MLP(MLP.Config()), FakeContext()
    plain.export(str(tmp_path / "mlp.onnx"))
    model, _ = graph_model((tmp_path / "mlp.onnx").read_bytes())
    for _ in range(20):
        loss, stats = model.train_step(ctx, X, Y)
        other, _ = plain.train_step(ctx, X, Y)
        assert float(loss) == pytest.approx(float(other), rel=1e-5)
    assert stats == bb.Record(num_samples=48)
    np.testing.assert_allclose(model.parameters(), plain.parameters(), atol=1e-5)
    assert model.evaluate(ctx, X, Y)["correct"] == plain.evaluate(ctx, X, Y)["correct"]


LSTM = """net (float[b,12,4] batch) => (float[b,10] logits) {
    steps = Transpose<perm=[1,0,2]>(batch)
    y, last, cell = LSTM<hidden_size=8>(steps, w, r, bias)
    flat = Squeeze(last, zero)
    logits = Gemm(flat, wo, bo)
}"""
NORMAL = """net (float[b,64] batch) => (float[b,10] logits) {
    a = Gemm(batch, w1, b1)
    n = BatchNormalization(a, scale, shift, mean, variance)
    d = Dropout(n, ratio)
    t = Tanh(d)
    logits = Gemm(t, w2, b2)
}"""
ATTENTION = """net (float[b,6,8] batch) => (float[b,6,10] logits) {
    n = LayerNormalization<axis=-1>(batch, g1, h1)
    q = MatMul(n, wq)
    k = MatMul(n, wk)
    v = MatMul(n, wv)
    kt = Transpose<perm=[0,2,1]>(k)
    s = MatMul(q, kt)
    scaled = Mul(s, factor)
    p = Softmax<axis=-1>(scaled)
    o = MatMul(p, v)
    x1 = Add(batch, o)
    m = LayerNormalization<axis=-1>(x1, g2, h2)
    u = MatMul(m, w1)
    e = Gelu(u)
    f = MatMul(e, w2)
    x2 = Add(x1, f)
    logits = MatMul(x2, wo)
}"""


def lstm() -> bytes:
    return written(
        LSTM, w=drawn(1, 32, 4), r=drawn(1, 32, 8), bias=drawn(1, 64), wo=drawn(8, 10), bo=drawn(10),
        zero=np.asarray([0], np.int64),
    )  # fmt: skip


def normal() -> bytes:
    ones, zeros = np.ones(20, np.float32), np.zeros(20, np.float32)
    return written(
        NORMAL, w1=drawn(64, 20), b1=drawn(20), scale=ones, shift=drawn(20), mean=zeros, variance=ones,
        ratio=np.asarray(0.2, np.float32), w2=drawn(20, 10), b2=drawn(10),
    )  # fmt: skip


def attention() -> bytes:
    ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
    return written(
        ATTENTION, g1=ones, h1=zeros, g2=ones, h2=zeros, wq=drawn(8, 8), wk=drawn(8, 8), wv=drawn(8, 8),
        w1=drawn(8, 16), w2=drawn(16, 8), wo=drawn(8, 10), factor=np.asarray(8**-0.5, np.float32),
    )  # fmt: skip


NETWORKS = {
    "mlp": (mlp(64, 32, 10), X, Y),
    "cnn": (cnn(), X, Y),
    "lstm": (lstm(), X[:, :48].reshape(48, 12, 4), Y),
    "normal": (normal(), X, Y),
    "attention": (attention(), X[:, :48].reshape(48, 6, 8), RANDOM.integers(0, 10, (48, 6))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_what_it_is_shown(name: str) -> None:
    graph, x, y = NETWORKS[name]
    model, ctx = graph_model(graph, optimizer="adam", learning_rate=0.02)
    losses = [float(model.train_step(ctx, x, y)[0]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    metrics = model.evaluate(ctx, x, y)
    assert metrics["count"] == len(x)
    assert metrics["correct"] > 20


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward_give_the_gradients_of_a_training_step(name: str) -> None:
    graph, x, y = NETWORKS[name]
    whole, ctx = graph_model(graph, learning_rate=1.0)
    before = whole.parameters()
    whole.train_step(FakeContext(), x, y)
    single, _ = graph_model(graph, learning_rate=1.0)
    prediction = single.forward(ctx, x)
    _, grad = single.loss_grad(ctx, prediction, y)
    single.backward(ctx, grad)
    np.testing.assert_allclose(single.grads(ctx), before - whole.parameters(), atol=2e-6)
    single.step(ctx)
    np.testing.assert_allclose(single.parameters(), whole.parameters(), atol=2e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_trained_runs_elsewhere_and_can_be_trained_again(name: str, tmp_path: Path) -> None:
    graph, x, y = NETWORKS[name]
    model, ctx = graph_model(graph)
    for _ in range(3):
        model.train_step(ctx, x, y)
    path = tmp_path / "trained.onnx"
    model.export(str(path))
    session = onnxruntime.InferenceSession(str(path))
    (there,) = session.run(None, {"batch": x})
    model.set_mode(ctx, mode="eval")
    np.testing.assert_allclose(model.forward(ctx, x), there, atol=1e-4)
    again = GraphModel(GraphModel.Config(path=str(path)))
    np.testing.assert_array_equal(again.parameters(), model.parameters())
    assert again.layout == model.layout


def test_running_statistics_are_no_parameters_and_follow_the_batches() -> None:
    model, ctx = graph_model(normal())
    assert model.parameters().size == 64 * 20 + 20 + 20 + 20 + 20 * 10 + 10
    model.train_step(ctx, X, Y)
    state = model.snapshot()
    assert np.abs(state["statistics"][0]).max() > 0.001


def test_dropout_draws_from_the_frames_own_numbers() -> None:
    runs = []
    for seed in (1, 1, 2):
        model = GraphModel(GraphModel.Config(normal_bytes))
        model.train_step(FakeContext(seed), X, Y)
        runs.append(model.parameters().tobytes())
    assert runs[0] == runs[1] != runs[2]


normal_bytes = normal()


@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "bce_with_logits"])
def test_other_losses(loss: str) -> None:
    model, ctx = graph_model(mlp(64, 16, 3), loss=loss, optimizer="adam", learning_rate=0.01)
    targets = (X[:, :3] > 0).astype(np.float32)
    losses = [float(model.train_step(ctx, X, targets)[0]) for _ in range(100)]
    assert losses[-1] < 0.5 * losses[0]
    assert model.evaluate(ctx, X, targets)["count"] == 48


def test_frozen_parameters_stay_and_do_not_travel() -> None:
    model, ctx = graph_model(mlp(64, 32, 10), frozen=("dense0.*",))
    assert model.parameters().size == 32 * 10 + 10
    model.train_step(ctx, X, Y)
    trained = onnx.load_from_string(model._trainable.trained(model.parameters(), []).SerializeToString())
    given = onnx.load_from_string(mlp(64, 32, 10))
    values = [{i.name: numpy_helper.to_array(i) for i in m.graph.initializer} for m in (given, trained)]
    for name in values[0]:
        assert np.array_equal(values[0][name], values[1][name]) == name.startswith("dense0")


def test_the_proximal_term_pulls_towards_what_was_loaded() -> None:
    far, near = (graph_model(mlp(64, 10), proximal=p)[0] for p in (0.0, 5.0))
    ctx = FakeContext()
    for model in (far, near):
        model.load_parameters(ctx, model.parameters())
        for _ in range(30):
            model.train_step(ctx, X, Y)
    assert np.linalg.norm(near.delta(ctx)) < 0.5 * np.linalg.norm(far.delta(ctx))


def test_parameters_are_drawn_from_the_seed_alone() -> None:
    a, b, c = (graph_model(mlp(64, 10, seed=9), initial="he_normal", seed=s)[0].parameters() for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_snapshot_goes_on_as_the_one_that_never_stopped() -> None:
    one, ctx = graph_model(normal_bytes, optimizer="adam")
    one.train_step(ctx, X, Y)
    one.forward(ctx, X)
    other, _ = graph_model(normal_bytes, optimizer="adam")
    other.restore(one.snapshot())
    for model in (one, other):
        fresh = FakeContext(5)
        model.backward(fresh, np.ones((48, 10), np.float32))
        model.step(fresh)
        model.train_step(fresh, X, Y)
    assert np.array_equal(one.parameters(), other.parameters())


# --- optimizers -------------------------------------------------------------------------------------------------------


def plain_step(name: str, o: Options, p: np.ndarray, g: np.ndarray, kept: dict[str, Any]) -> np.ndarray:
    """One step in float64, as torch's documentation has it."""
    t = kept["t"] = kept.get("t", 0) + 1
    if o.weight_decay and name != "adamw":
        g = g + o.weight_decay * p
    if name == "sgd":
        return p - o.learning_rate * g
    if name in ("momentum", "nesterov"):
        kept["b"] = g if t == 1 else o.momentum * kept["b"] + g
        return p - o.learning_rate * (g + o.momentum * kept["b"] if name == "nesterov" else kept["b"])
    if name in ("adam", "adamw"):
        if name == "adamw":
            p = p - o.learning_rate * o.weight_decay * p
        kept["m"] = o.momentum * kept.get("m", 0) + (1 - o.momentum) * g
        kept["v"] = o.second * kept.get("v", 0) + (1 - o.second) * g * g
        m, v = kept["m"] / (1 - o.momentum**t), kept["v"] / (1 - o.second**t)
        return p - o.learning_rate * m / (np.sqrt(v) + o.epsilon)
    if name == "adagrad":
        kept["s"] = kept.get("s", 0) + g * g
    else:
        kept["s"] = o.decay * kept.get("s", 0) + (1 - o.decay) * g * g
    return p - o.learning_rate * g / (np.sqrt(kept["s"]) + o.epsilon)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"])
def test_an_optimizer_does_what_its_formula_says(name: Any, decay: float) -> None:
    options = Options(name, learning_rate=0.01, weight_decay=decay)
    optimizer, kept = Optimizer(options, 50), {}
    params = RANDOM.standard_normal(50).astype(np.float32)
    plain = params.astype(np.float64)
    for _ in range(30):
        grads = RANDOM.standard_normal(50).astype(np.float32)
        plain = plain_step(name, options, plain, grads.astype(np.float64), kept)
        optimizer.step(params, grads.copy())
        np.testing.assert_allclose(params, plain, atol=2e-6)


def test_schedules_and_clipping() -> None:
    rates = {
        s: Options(learning_rate=1.0, schedule=s, schedule_steps=4) for s in ("constant", "linear", "cosine", "step")
    }  # type: ignore[arg-type]
    assert [rates["linear"].rate(n) for n in (0, 1, 4, 9)] == [1, 0.75, 0, 0]
    assert [rates["step"].rate(n) for n in (0, 3, 4, 8)] == [1, 1, 0.5, 0.25]
    assert rates["cosine"].rate(2) == pytest.approx(0.5)
    assert rates["constant"].rate(99) == 1
    params = np.zeros(2, np.float32)
    Optimizer(Options(learning_rate=1.0, clip_norm=1.0), 2).step(params, np.float32([3, 4]))
    np.testing.assert_allclose(params, [-0.6, -0.8], rtol=1e-6)


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_trained_says_why() -> None:
    with pytest.raises(NotDifferentiable, match="nothing of the model is trained"):
        graph_model(mlp(4, 2), frozen=("*",))


def test_a_pattern_that_freezes_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no initializer is called 'dens0"):
        graph_model(mlp(4, 2), frozen=("dens0.*",))


@pytest.mark.parametrize(
    ("loss", "labels", "told"),
    [
        ("mse", np.zeros(48, np.float32), "shape"),  # against (48, 10) it would be broadcast
        ("mse", np.zeros((48, 1), np.float32), "shape"),
        ("cross_entropy", np.zeros((48, 1), np.int64), "shape"),
        ("cross_entropy", np.zeros(47, np.int64), "shape"),
        ("cross_entropy", np.full(48, -1), "whole numbers from 0, below 10"),
        ("cross_entropy", np.full(48, 10), "whole numbers from 0, below 10"),
        ("cross_entropy", np.full(48, 0.5), "whole numbers from 0, below 10"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_learnt(loss: str, labels: np.ndarray, told: str) -> None:
    model, ctx = graph_model(mlp(64, 32, 10), loss=loss)
    before = model.parameters()
    for run in (model.train_step, model.evaluate):
        with pytest.raises(RoleError, match=told):
            run(ctx, X, labels)
    np.testing.assert_array_equal(model.parameters(), before)


def test_an_exponent_is_trained_unless_it_is_a_scalar() -> None:
    """Generalised-mean pooling (Radenovic et al. 2018) learns its exponent; the 2 of a square is no weight."""
    body = "a = Abs(x) b = Pow(a, p) c = Pow(b, two) y = ReduceMean<keepdims=1>(c, d)"
    text = f"g (float[N,4] x) => (float[N,1] y) {{ {body} }}"
    graph = written(text, p=np.full(1, 1.5, np.float32), two=np.float32(2), d=np.array([1]))
    model, ctx = graph_model(graph, loss="mse", learning_rate=0.01)
    x, y = np.abs(X[:, :4]) + np.float32(0.1), np.zeros((48, 1), np.float32)
    assert model.parameters().tolist() == [1.5]
    loss, grad = [], None
    for p in (1.499, 1.501):
        model.load_parameters(ctx, np.full(1, p, np.float32))
        loss.append(float(model.compute_loss(ctx, model.forward(ctx, x), y)))
    model.load_parameters(ctx, np.full(1, 1.5, np.float32))
    model.train_step(ctx, x, y)
    grad = (1.5 - model.parameters()[0]) / 0.01
    assert grad == pytest.approx((loss[1] - loss[0]) / 0.002, rel=0.02)
    det = written("net (float[b,3,3] batch) => (float[b] y) { m = MatMul(batch, w)\n y = Det(m) }", w=drawn(3, 3))
    model, ctx = graph_model(det, loss="mse")
    with pytest.raises(NotDifferentiable, match="Det has no gradient rule"):
        model.train_step(ctx, np.ones((2, 3, 3), np.float32), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="cannot be read"):
        graph_model(b"rubbish")
    model, _ = graph_model(det)
    with pytest.raises(NotDifferentiable, match="cross_entropy was given"):
        model.train_step(ctx, np.ones((2, 3, 3), np.float32), np.ones(2, np.int64))


def test_parameters_of_another_layout_are_refused() -> None:
    model, ctx = graph_model(mlp(4, 2))
    with pytest.raises(RoleError, match=model.layout):
        model.load_parameters(ctx, np.zeros(3, np.float32))


def test_a_loss_that_is_no_number_names_the_remedy() -> None:
    model, ctx = graph_model(mlp(64, 10))
    with pytest.raises(RoleError, match="learning rate"):
        model.train_step(ctx, np.full_like(X, np.inf), Y)


# --- between Nodes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_a_network_is_trained_in_rounds_between_nodes(network: str) -> None:
    digits = load_digits()
    parts = iid(digits.train_labels, 5, 0)
    options = {
        "mlp": {"graph": mlp(64, 64, 10), "learning_rate": 0.1},
        "cnn": {"graph": cnn(), "learning_rate": 0.05, "optimizer": "momentum"},
    }[network]
    source = "bytesandbrains.ArrayDataSource"
    shared = {"inputs": digits.train_inputs, "labels": digits.train_labels, "batch_size": 32}
    given = bb.run(
        FederatedAveraging(5, 2),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use("bytesandbrains.GraphModel", **options),
            "compute": "bytesandbrains.CpuBackend",
            "data": bb.each(source, lambda client: {**shared, "indices": parts[client]}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(
                source, inputs=digits.test_inputs, labels=digits.test_labels, batch_size=len(digits.test_labels)
            ),
        },
        peers={"client": 5},
        rounds=8,
    )
    shares = [float(m["metrics"]["correct"]) / float(m["metrics"]["count"]) for m in given.metrics]
    assert shares[-1] > 0.85
    assert shares[-1] > shares[0]


def test_a_model_in_two_parts_learns_what_the_whole_does() -> None:
    """The upper part gives the lower one the gradient by its prediction: split learning, without a network."""
    w1, b1, w2, b2 = drawn(64, 16), drawn(16), drawn(16, 10), drawn(10)
    lower = "net (float[b,64] batch) => (float[b,16] h) { a = Gemm(batch, w1, b1)\n h = Tanh(a) }"
    upper = "net (float[b,16] h) => (float[b,10] logits) { logits = Gemm(h, w2, b2) }"
    whole = "net (float[b,64] batch) => (float[b,10] l) { a = Gemm(batch, w1, b1)\n h = Tanh(a)\n l = Gemm(h, w2, b2) }"
    bottom, ctx = graph_model(written(lower, w1=w1, b1=b1))
    top, _ = graph_model(written(upper, w2=w2, b2=b2))
    one, _ = graph_model(written(whole, w1=w1, b1=b1, w2=w2, b2=b2))
    for _ in range(5):
        prediction = top.forward(ctx, bottom.forward(ctx, X))
        loss, grad = top.loss_grad(ctx, prediction, Y)
        bottom.backward(ctx, top.backward_through(ctx, grad))
        top.step(ctx)
        bottom.step(ctx)
        assert float(loss) == pytest.approx(float(one.train_step(ctx, X, Y)[0]), rel=1e-5)
    np.testing.assert_allclose(
        np.concatenate([bottom.parameters(), top.parameters()]), one.parameters(), rtol=1e-4, atol=1e-6
    )


def test_what_comes_before_the_last_softmax_is_trained_and_what_comes_after_is_kept(tmp_path: Path) -> None:
    text = "net (float[b,64] batch) => (float[b,10] p) { l = Gemm(batch, w, c)\n p = Softmax<axis=-1>(l) }"
    graph = written(text, w=drawn(64, 10), c=drawn(10))
    model, ctx = graph_model(graph, prediction="l")
    plain, _ = graph_model(written(text.replace("p = Softmax<axis=-1>(l)", "p = Identity(l)"), **_arrays(graph)))
    for _ in range(3):
        assert float(model.train_step(ctx, X, Y)[0]) == float(plain.train_step(ctx, X, Y)[0])
    model.export(str(tmp_path / "out.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"))
    (chances,) = session.run(None, {"batch": X})
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(chances.argmax(1), model.forward(ctx, X).argmax(1))
    with pytest.raises(UsageError, match="did you mean 'l'"):
        graph_model(graph, prediction="ll")


def test_only_what_is_named_is_trained() -> None:
    graph = mlp(64, 16, 10)
    head, ctx = graph_model(graph, trained=("dense1.*",))
    assert head.params(ctx).shape == (16 * 10 + 10,)
    both, _ = graph_model(graph, trained=("dense1.*",), frozen=("*.bias",))
    assert both.params(ctx).shape == (160,)
    with pytest.raises(UsageError, match="as trained says"):
        graph_model(graph, trained=("dense2.*",))
    with pytest.raises(NotDifferentiable, match="nothing of the model"):
        graph_model(graph, trained=("dense1.bias",), frozen=("*.bias",))


def _arrays(graph: bytes) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.ModelProto.FromString(graph).graph.initializer}
