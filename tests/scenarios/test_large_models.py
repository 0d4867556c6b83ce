"""Models that are large beside what a Node may hold: a decoder of GPT-2's shape, trained by two Nodes and averaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bb_plugins.models.architectures import gpt
from bb_plugins.models.graph import GraphModel
from tests.plugins.fake_context import FakeContext

ROOT = Path(__file__).parents[2]
ROUND = """
import json, resource, sys
import numpy as np
import bb_core as bb
from bb_plugins.recipes.federated_averaging import FederatedAveraging

path, vocabulary, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tokens = np.random.default_rng(1).integers(0, vocabulary, (4, length))
source = "bytesandbrains.ArrayDataSource"
examples = {"inputs": tokens, "labels": np.roll(tokens, -1, 1), "batch_size": 2, "shuffle": False}
model = {"path": path, "learning_rate": 0.1, "frozen": ("mask", "depth")}

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = most()
result = bb.run(
    FederatedAveraging(2, epochs=1),
    bindings={
        "cohort": "bytesandbrains.ConstantView", "compute": "bytesandbrains.CpuBackend",
        "model": bb.use("bytesandbrains.GraphModel", **model),
        "data": bb.each(source, lambda n: {**examples, "indices": np.array([2 * n, 2 * n + 1])}),
        "aggregator": "bytesandbrains.FedAvg", "holdout": bb.use(source, **examples),
    },
    peers=2, options=bb.NodeConfig(max_value_bytes=2**30),
)
params = [node.component("model").parameters() for node in result.nodes.values()]
print(json.dumps({
    "size": params[0].nbytes, "more": most() - before, "failures": [str(f) for f in result.failures],
    "off": float(np.abs(params[0] - (params[1] + params[2]) / 2).max()),
    "moved": float(np.abs(params[1] - params[2]).max()),
    "loss": result.metrics[0]["metrics"]["loss_sum"] / result.metrics[0]["metrics"]["count"],
    "wire": result.bytes_on_wire,
}))
"""


def test_a_decoder_learns_what_comes_next() -> None:
    model = GraphModel(
        GraphModel.Config(gpt(20, 8, 2, 16, 2), optimizer="adam", learning_rate=1e-2, frozen=("mask", "depth"))
    )
    tokens = (np.arange(32)[:, None] + np.arange(8)) % 20  # the next one is one more
    losses = [float(model.train_step(FakeContext(), tokens, (tokens + 1) % 20)[0]) for _ in range(40)]
    assert losses[0] == pytest.approx(np.log(20), rel=0.02)
    assert losses[-1] < 0.2


def test_a_decoder_does_not_see_what_comes_next() -> None:
    model, ctx = GraphModel(GraphModel.Config(gpt(20, 8, 2, 16, 2), frozen=("mask", "depth"))), FakeContext()
    tokens = np.arange(8)[None] % 20
    other = tokens.copy()
    other[0, 5:] = 19
    first, again = model.forward(ctx, tokens), model.forward(ctx, other)
    np.testing.assert_allclose(first[0, :5], again[0, :5], atol=1e-6)
    assert np.abs(first[0, 5:] - again[0, 5:]).max() > 1e-3


@pytest.mark.slow
def test_a_large_model_is_averaged_in_a_few_times_its_size(tmp_path: Path) -> None:
    """A coordinator and two clients in one process, each with its own copy; 124 million parameters need 8 GB."""
    shape = (50257, 64, 12, 768, 12) if os.environ.get("BB_LARGE") else (20000, 32, 4, 512, 8)
    path = tmp_path / "gpt.onnx"
    path.write_bytes(gpt(*shape))
    done = subprocess.run(
        [sys.executable, "-c", ROUND, str(path), str(shape[0]), str(shape[1])],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert not told["failures"]
    assert told["size"] > 80e6
    assert told["off"] < 1e-6
    assert told["moved"] > 0
    assert 0 < told["loss"] < np.log(shape[0])  # of what it was trained on: better than nothing
    assert told["wire"] > 4 * told["size"]  # to two clients and back
    assert told["more"] / told["size"] / 3 < 5, told
