"""A step of SGD on an ONNX model: its derived graph op by op, beside the same graph in one session of onnxruntime.

The small network has a second peer, the kernel that was written for just it; that is what a fused plan can reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.bench.harness import Measure
from bb_plugins.models.architectures import cnn, mlp
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
