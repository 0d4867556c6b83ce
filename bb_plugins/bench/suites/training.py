"""A step of SGD on an ONNX model: its derived graph by a plan, beside torch, and beside the same graph in onnxruntime.

The small network has another peer, the kernel that was written for just it. All are on one thread. Where torch is not
installed, its rows are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.bench.harness import Measure
from bb_plugins.models.architectures import cnn, mlp, transformer
from bb_plugins.models.graph import GraphModel
from bb_plugins.models.mlp import MLP

_BATCH = 32


class _Context:
    """What a Model asks of a Context outside a Node."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.rng = np.random.Generator(np.random.Philox(0))

    def dependency(self, slot: str) -> Any:
        return self._backend


def _onnxruntime() -> Any:
    from bb_plugins.backends.onnxruntime.backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend(OnnxRuntimeBackend.Config())


def _stepper(graph: bytes, backend: Any, x: bb.Tensor, y: bb.Tensor) -> Any:
    model, context = GraphModel(GraphModel.Config(graph, learning_rate=1e-3)), _Context(backend)
    return lambda: model.train_step(context, x, y)  # type: ignore[arg-type]


def _torch_step(build: Any, x: bb.Tensor, y: bb.Tensor) -> Any:
    """The same network's step in torch, on one thread, its usual way."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build(torch.nn)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    loss_of, batch, labels = torch.nn.CrossEntropyLoss(), torch.from_numpy(x), torch.from_numpy(y)

    def run() -> None:
        optimizer.zero_grad()
        loss_of(network(batch), labels).backward()
        optimizer.step()

    return run


def _torch_mlp(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def _torch_cnn(nn: Any) -> Any:
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(784, 10))


def _torch_transformer(nn: Any) -> Any:
    layer = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)

    class Mean(nn.Module):  # type: ignore[misc]  # torch may be absent
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoder(layer, 4, nn.LayerNorm(128), enable_nested_tensor=False)
            self.dense = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.dense(self.encoder(x).mean(1))

    return Mean()


_AGAINST_TORCH: dict[str, tuple[Callable[[], bytes], Callable[[Any], Any], tuple[int, ...]]] = {
    "mlp 64-128-10, batch 32": (lambda: mlp(64, 128, 10), _torch_mlp, (32, 64)),
    "cnn 28x28, batch 32": (lambda: cnn(28), _torch_cnn, (32, 784)),
    "transformer, 4 layers of 128, 16 x 64 tokens": (transformer, _torch_transformer, (16, 64, 128)),
}


@pytest.mark.parametrize("name", _AGAINST_TORCH)
def test_against_torch(row: Measure, name: str) -> None:
    """A step beside torch's: forwards, backwards and SGD, in eager mode."""
    build, in_torch, shape = _AGAINST_TORCH[name]
    random = np.random.Generator(np.random.Philox(0))
    x, y = random.standard_normal(shape).astype(np.float32), random.integers(0, 10, shape[0])
    theirs = _torch_step(in_torch, x, y)
    row(f"step, {name}", _stepper(build(), CpuBackend(CpuBackend.Config()), x, y), peer=("torch", theirs))


@pytest.mark.parametrize("name", ["mlp 64-128-10", "cnn 8x8"])
def test_step(row: Measure, name: str) -> None:
    """One batch of 32, forwards, backwards and SGD."""
    graph = mlp(64, 128, 10) if name.startswith("mlp") else cnn()
    random = np.random.Generator(np.random.Philox(0))
    x, y = random.standard_normal((_BATCH, 64)).astype(np.float32), random.integers(0, 10, _BATCH)
    ours = _stepper(graph, CpuBackend(CpuBackend.Config()), x, y)
    row(f"step, {name}", ours, peer=("onnxruntime, same graph", _stepper(graph, _onnxruntime(), x, y)))
    if name.startswith("mlp"):
        fused, context = MLP(MLP.Config(learning_rate=1e-3)), _Context(CpuBackend(CpuBackend.Config()))
        row(f"step, {name}", ours, peer=("its fused kernel", lambda: fused.train_step(context, x, y)))  # type: ignore[arg-type]
