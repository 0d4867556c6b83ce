"""GraphModel beside torch from equal weights: the loss of each step, and each optimizer step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from bb_plugins.models.architectures import cnn, mlp
from bb_plugins.models.graph import GraphModel
from bb_plugins.training.optimizers import Optimizer, Options
from tests.plugins.fake_context import FakeContext

torch = pytest.importorskip("torch", reason="torch is not installed; it is not among the test extra")
functional = torch.nn.functional
RANDOM = np.random.Generator(np.random.Philox(5))
STEPS = 20


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))


def weights_of(graph: bytes) -> dict[str, Any]:
    initial = onnx.ModelProto.FromString(graph).graph.initializer
    floats = {i.name: numpy_helper.to_array(i) for i in initial if i.data_type == onnx.TensorProto.FLOAT}
    return {name: torch.tensor(value, requires_grad=True) for name, value in floats.items()}


def written(text: str, **arrays: np.ndarray) -> bytes:
    graph = parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def of_mlp(w: dict[str, Any], x: Any) -> Any:
    h = torch.relu(x @ w["dense0.weight"] + w["dense0.bias"])
    return h @ w["dense1.weight"] + w["dense1.bias"]


def of_cnn(w: dict[str, Any], x: Any) -> Any:
    x = x.reshape(-1, 1, 8, 8)
    for n in (0, 1):
        x = functional.max_pool2d(
            torch.relu(functional.conv2d(x, w[f"conv{n}.weight"], w[f"conv{n}.bias"], padding=1)), 2
        )
    return x.flatten(1) @ w["dense.weight"] + w["dense.bias"]


HIDDEN = 16
LSTM = f"""net (float[b,10,8] batch) => (float[b,10] logits) {{
    steps = Transpose<perm=[1,0,2]>(batch)
    y, last, cell = LSTM<hidden_size={HIDDEN}>(steps, w, r, bias)
    flat = Squeeze(last, zero)
    logits = Gemm(flat, wo, bo)
}}"""


def lstm() -> bytes:
    return written(
        LSTM, w=drawn(1, 4 * HIDDEN, 8), r=drawn(1, 4 * HIDDEN, HIDDEN), bias=drawn(1, 8 * HIDDEN),
        wo=drawn(HIDDEN, 10), bo=drawn(10), zero=np.array([0]),
    )  # fmt: skip


def of_lstm(w: dict[str, Any], x: Any) -> Any:
    """By torch's own LSTM, whose gates are input, forget, cell, output; ONNX's are input, output, forget, cell."""
    order = [0, 2, 3, 1]

    def gates(array: Any) -> Any:
        return array.reshape(4, HIDDEN, -1)[order].reshape(4 * HIDDEN, -1)

    wb, rb = w["bias"][0].chunk(2)
    flat = [gates(w["w"][0]), gates(w["r"][0]), gates(wb).flatten(), gates(rb).flatten()]
    start = torch.zeros(1, len(x), HIDDEN)
    out = torch._VF.lstm(x, (start, start), flat, True, 1, 0.0, True, False, True)[0]
    return out[:, -1] @ w["wo"] + w["bo"]


DEPTH, HEADS, LENGTH = 16, 2, 6
BLOCK = f"""net (float[b,{LENGTH},{DEPTH}] batch) => (float[b,{LENGTH},10] logits) {{
    n = LayerNormalization<axis=-1>(batch, g1, h1)
    q0 = MatMul(n, wq)
    k0 = MatMul(n, wk)
    v0 = MatMul(n, wv)
    q1 = Reshape(q0, heads)
    k1 = Reshape(k0, heads)
    v1 = Reshape(v0, heads)
    q = Transpose<perm=[0,2,1,3]>(q1)
    k = Transpose<perm=[0,2,3,1]>(k1)
    v = Transpose<perm=[0,2,1,3]>(v1)
    s = MatMul(q, k)
    scaled = Mul(s, scale)
    chances = Softmax<axis=-1>(scaled)
    mixed = MatMul(chances, v)
    back = Transpose<perm=[0,2,1,3]>(mixed)
    joined = Reshape(back, whole)
    attended = MatMul(joined, wo)
    x1 = Add(batch, attended)
    m = LayerNormalization<axis=-1>(x1, g2, h2)
    up = MatMul(m, w1)
    upb = Add(up, b1)
    bent = Gelu<approximate="none">(upb)
    down = MatMul(bent, w2)
    downb = Add(down, b2)
    x2 = Add(x1, downb)
    logits = MatMul(x2, wl)
}}"""


def transformer() -> bytes:
    d = DEPTH
    return written(
        BLOCK, g1=np.ones(d, np.float32), h1=drawn(d), wq=drawn(d, d), wk=drawn(d, d), wv=drawn(d, d), wo=drawn(d, d),
        g2=np.ones(d, np.float32), h2=drawn(d), w1=drawn(d, 4 * d), b1=drawn(4 * d), w2=drawn(4 * d, d), b2=drawn(d),
        wl=drawn(d, 10), heads=np.array([-1, LENGTH, HEADS, d // HEADS]), whole=np.array([-1, LENGTH, d]),
        scale=np.array([(d // HEADS) ** -0.5], np.float32),
    )  # fmt: skip


def of_transformer(w: dict[str, Any], x: Any) -> Any:
    d = DEPTH

    def heads(y: Any) -> Any:
        return y.reshape(-1, LENGTH, HEADS, d // HEADS).transpose(1, 2)

    n = functional.layer_norm(x, (d,), w["g1"], w["h1"])
    s = heads(n @ w["wq"]) @ heads(n @ w["wk"]).transpose(2, 3) * w["scale"]
    mixed = torch.softmax(s, -1) @ heads(n @ w["wv"])
    x = x + mixed.transpose(1, 2).reshape(-1, LENGTH, d) @ w["wo"]
    m = functional.layer_norm(x, (d,), w["g2"], w["h2"])
    return (x + functional.gelu(m @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]) @ w["wl"]


NETWORKS: dict[str, tuple[Any, Any, tuple[int, ...], tuple[int, ...]]] = {
    "mlp": (mlp(64, 128, 10), of_mlp, (64,), ()),
    "cnn": (cnn(), of_cnn, (64,), ()),
    "lstm": (lstm(), of_lstm, (10, 8), ()),
    "transformer": (transformer(), of_transformer, (LENGTH, DEPTH), (LENGTH,)),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_to_torchs_loss(name: str) -> None:
    graph, forward, shape, label_shape = NETWORKS[name]
    ours, ctx = GraphModel(GraphModel.Config(graph, learning_rate=0.05)), FakeContext()
    theirs = weights_of(graph)
    optimizer = torch.optim.SGD(theirs.values(), lr=0.05)
    x = RANDOM.standard_normal((32, *shape), np.float32)
    y = RANDOM.integers(0, 10, (32, *label_shape))
    for step in range(STEPS):
        loss = functional.cross_entropy(forward(theirs, torch.tensor(x)).reshape(-1, 10), torch.tensor(y).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(ours.train_step(ctx, x, y)[0]) == pytest.approx(loss.item(), rel=1e-5), f"step {step}"
    wanted = np.concatenate([theirs[p.name].detach().numpy().ravel() for p in ours._trainable.parameters])
    np.testing.assert_allclose(ours.parameters(), wanted, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_is_torchs(name: str) -> None:
    graph, forward, shape, label_shape = NETWORKS[name]
    ours, ctx = GraphModel(GraphModel.Config(graph)), FakeContext()
    theirs = weights_of(graph)
    x = RANDOM.standard_normal((8, *shape), np.float32)
    y = RANDOM.integers(0, 10, (8, *label_shape))
    there = torch.tensor(x, requires_grad=True)
    functional.cross_entropy(forward(theirs, there).reshape(-1, 10), torch.tensor(y).flatten()).backward()
    _, grad = ours.loss_grad(ctx, ours.forward(ctx, x), y)
    through = ours.backward_through(ctx, grad)
    wanted = np.concatenate([theirs[p.name].grad.numpy().ravel() for p in ours._trainable.parameters])
    scale = float(np.abs(wanted).max())
    np.testing.assert_allclose(ours.grads(ctx) / scale, wanted / scale, rtol=1e-5, atol=1e-6)
    scale = float(there.grad.abs().max())
    np.testing.assert_allclose(through / scale, there.grad.numpy() / scale, rtol=1e-5, atol=1e-6)


def of_torch(options: Options, params: Any) -> Any:
    o = torch.optim
    rate, decay = options.learning_rate, options.weight_decay
    return {
        "sgd": lambda: o.SGD(params, rate, weight_decay=decay),
        "momentum": lambda: o.SGD(params, rate, momentum=options.momentum, weight_decay=decay),
        "nesterov": lambda: o.SGD(params, rate, momentum=options.momentum, nesterov=True, weight_decay=decay),
        "adam": lambda: o.Adam(params, rate, (options.momentum, options.second), options.epsilon, decay),
        "adamw": lambda: o.AdamW(params, rate, (options.momentum, options.second), options.epsilon, decay),
        "adagrad": lambda: o.Adagrad(params, rate, weight_decay=decay, eps=options.epsilon),
        "rmsprop": lambda: o.RMSprop(params, rate, options.decay, options.epsilon, decay),
    }[options.name]()


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"])
def test_an_optimizer_is_torchs_step_by_step(name: Any, decay: float) -> None:
    options = Options(name, learning_rate=0.02, weight_decay=decay)
    params = drawn(500)
    theirs = torch.tensor(params, requires_grad=True)
    optimizer, ours = of_torch(options, [theirs]), Optimizer(options, params.size)
    for step in range(STEPS):
        grads = RANDOM.standard_normal(500, np.float32)
        theirs.grad = torch.tensor(grads)
        optimizer.step()
        ours.step(params, grads)
        np.testing.assert_allclose(params, theirs.detach().numpy(), rtol=1e-6, atol=1e-6, err_msg=f"step {step}")


def test_clipping_is_torchs() -> None:
    params = drawn(50)
    theirs = torch.tensor(params, requires_grad=True)
    optimizer, ours = torch.optim.SGD([theirs], 0.1), Optimizer(Options("sgd", 0.1, clip_norm=0.5), 50)
    for _ in range(3):
        grads = RANDOM.standard_normal(50, np.float32)
        theirs.grad = torch.tensor(grads)
        torch.nn.utils.clip_grad_norm_([theirs], 0.5)
        optimizer.step()
        ours.step(params, grads)
        np.testing.assert_allclose(params, theirs.detach().numpy(), atol=1e-6)
