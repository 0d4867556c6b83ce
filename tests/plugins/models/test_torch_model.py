"""Modules of torch, trained in rounds: the same as torch alone, with parameters that stay where they are until sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.data_sources.partition import iid
from bb_plugins.models.torch_model import TorchModel
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from tests.plugins.fake_context import FakeContext

torch = pytest.importorskip("torch", reason="torch is not installed; it is not among the test extra")
functional = torch.nn.functional
NET, NOISY = "tests.plugins.models.nets:Net", "tests.plugins.models.nets:Noisy"
RANDOM = np.random.Generator(np.random.Philox(2))
X = RANDOM.standard_normal((120, 4), np.float32)
Y = (X @ RANDOM.standard_normal((4, 3))).argmax(1)
CLIENTS = 3


def model(module: Any = NET, **options: Any) -> tuple[TorchModel, FakeContext]:
    return TorchModel(TorchModel.Config(module, **options)), FakeContext()


def reference(seed: int = 0) -> Any:
    from tests.plugins.models.nets import Net

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Net()


def test_rounds_are_what_a_plain_loop_in_torch_gives() -> None:
    shares = iid(Y, CLIENTS)
    source = "bytesandbrains.ArrayDataSource"
    result = bb.run(
        FederatedAveraging(CLIENTS, epochs=2),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use("bytesandbrains.TorchModel", module=NET, optimizer="SGD", options={"momentum": 0.9}),
            "data": bb.each(source, lambda n: {"inputs": X, "labels": Y, "indices": shares[n], "shuffle": False}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(source, inputs=X, labels=Y, batch_size=len(Y), shuffle=False),
        },
        peers={"client": CLIENTS},
        rounds=5,
    )
    assert not result.failures
    net, flat = reference(), None
    to_vector, from_vector = torch.nn.utils.parameters_to_vector, torch.nn.utils.vector_to_parameters
    flat = to_vector(net.parameters()).detach()
    for _ in range(5):
        vectors = []
        for rows in shares:
            from_vector(flat.clone(), net.parameters())
            optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
            for _ in range(2):
                for start in range(0, len(rows), 32):
                    part = rows[start : start + 32]
                    optimizer.zero_grad()
                    functional.cross_entropy(net(torch.tensor(X[part])), torch.tensor(Y[part])).backward()
                    optimizer.step()
            vectors.append(to_vector(net.parameters()).detach().clone())
        flat = torch.stack(vectors).mean(0)
    np.testing.assert_allclose(result.parameters(), flat.numpy(), rtol=1e-5, atol=1e-6)
    metrics = result.metrics[-1]["metrics"]
    assert metrics["correct"] / metrics["count"] > 0.7


def test_parameters_and_gradients_are_one_vector_that_numpy_shares() -> None:
    ours, ctx = model()
    ours.train_step(ctx, X[:8], Y[:8])
    ours.backward(ctx, ours.loss_grad(ctx, ours.forward(ctx, X[:8]), Y[:8])[1])
    parts = list(ours.module.parameters())
    assert all(np.shares_memory(p.detach().numpy(), ours._arena) for p in parts)
    assert np.any(ours.grads(ctx))
    gathered = np.concatenate([p.grad.numpy().ravel() for p in parts])
    np.testing.assert_array_equal(ours.grads(ctx), gathered)
    sent = ours.params(ctx)
    assert not np.shares_memory(sent, ours._arena)  # what is sent is a copy, for training goes on


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSprop"])
def test_what_the_optimizer_keeps_begins_anew_with_loaded_parameters(optimizer: str) -> None:
    ours, ctx = model(optimizer=optimizer, learning_rate=0.01)
    start = ours.params(ctx)
    ours.train_step(ctx, X, Y)
    first = ours.params(ctx)
    ours.train_step(ctx, X, Y)
    ours.load_parameters(ctx, start)
    ours.train_step(ctx, X, Y)
    np.testing.assert_array_equal(ours.params(ctx), first)


def test_dropout_draws_from_the_nodes_numbers_and_leaves_torchs_alone() -> None:
    def trained(seed: int) -> np.ndarray:
        ours, ctx = TorchModel(TorchModel.Config(NOISY)), FakeContext(seed)
        for _ in range(3):
            ours.train_step(ctx, X, Y)
        return ours.parameters()

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = trained(5)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(one, trained(5))
    assert np.any(one != trained(6))


def test_a_backward_after_a_snapshot_is_that_of_its_forward() -> None:
    ours, ctx = model(NOISY)
    prediction = ours.forward(ctx, X)
    _, grad = ours.loss_grad(ctx, prediction, Y)
    state = ours.snapshot()
    ours.backward(ctx, grad)
    other, _ = model(NOISY)
    other.restore(state)
    other.backward(FakeContext(9), grad)
    np.testing.assert_array_equal(ours.grads(ctx), other.grads(ctx))
    for mine, theirs in zip(ours.module.buffers(), other.module.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_gradients_of_two_backwards_of_one_forward_add_up() -> None:
    ours, ctx = model()
    _, grad = ours.loss_grad(ctx, ours.forward(ctx, X), Y)
    ours.backward(ctx, grad)
    once = ours.grads(ctx)
    ours.backward(ctx, grad)
    np.testing.assert_allclose(ours.grads(ctx), 2 * once, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_element_types_travel_as_float32(dtype: str) -> None:
    ours, ctx = model(dtype=dtype)
    assert ours.params(ctx).dtype == np.float32
    losses = [float(ours.train_step(ctx, X, Y)[0]) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert next(ours.module.parameters()).dtype == getattr(torch, dtype)
    other, _ = model(dtype=dtype)
    other.restore(ours.snapshot())
    np.testing.assert_array_equal(other.params(ctx), ours.params(ctx))


def test_frozen_parameters_stay_and_do_not_travel() -> None:
    def made() -> Any:
        net = reference()
        net.layers[0].requires_grad_(False)
        return net

    ours, ctx = model(made)
    assert ours.params(ctx).shape == (8 * 3 + 3,)
    before = ours.module.layers[0].weight.clone()
    ours.train_step(ctx, X, Y)
    assert torch.equal(before, ours.module.layers[0].weight)


def test_a_proximal_term_pulls_to_what_was_loaded() -> None:
    free, ctx = model()
    held, _ = model(proximal=5.0)
    for _ in range(10):
        free.train_step(ctx, X, Y)
        held.train_step(ctx, X, Y)
    assert np.linalg.norm(held.delta(ctx)) < 0.7 * np.linalg.norm(free.delta(ctx))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cuda:7"}, "device is 'cuda:7', which torch does not have here"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"loss": "cross_entropi"}, "has no 'cross_entropi'"),
        ({"optimizer": "Sgd"}, "has no 'Sgd'"),
        ({"module": lambda: 5}, "module made a int"),
        ({"module": torch.nn.Tanh}, "no parameter that requires a gradient"),
    ],
)
def test_what_torch_does_not_have_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TorchModel(TorchModel.Config(**{"module": NET, **options}))


def test_what_does_not_fit_is_refused_with_torchs_reason() -> None:
    ours, ctx = model()
    with pytest.raises(RoleError, match="torch refuses"):
        ours.train_step(ctx, X[:, :3], Y)
    with pytest.raises(RoleError, match="there are 5 labels"):
        ours.train_step(ctx, X, Y[:5])
    with pytest.raises(RoleError, match="torch refuses"):
        ours.train_step(ctx, X, Y + 3)
    with pytest.raises(RoleError, match="no Forward before it"):
        ours.backward(ctx, X)


def test_it_is_exported_for_torch(tmp_path: Path) -> None:
    ours, ctx = model()
    ours.train_step(ctx, X, Y)
    ours.export(str(tmp_path / "net.pt"))
    net = reference(5)
    net.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    np.testing.assert_array_equal(net(torch.tensor(X)).detach().numpy(), ours.forward(ctx, X))
    with pytest.raises(RoleError, match=r"\.pt or \.pth"):
        ours.export(str(tmp_path / "net.onnx"))
