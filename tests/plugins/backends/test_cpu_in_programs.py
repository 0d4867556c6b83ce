"""CpuBackend in a program: how many outputs an op gives is what the program recorded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import RoleError
from bb_core.steps import AppEvent, OpFailed
from bb_plugins.backends.cpu.backend import CpuBackend
from tests.meta.sources import ROOT
from tests.support import peer


class Several(bb.Module):
    """Ops whose further outputs are optional, with and without them."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2, 6])
        scale = x[0]
        g.output("normal", self.backend.layer_normalization(g, x, scale))
        y, mean, _ = self.backend.layer_normalization(g, x, scale, n_outputs=3)
        g.output("y", y)
        g.output("mean", mean)
        for i, part in enumerate(self.backend.split(g, x, num_outputs=3, axis=1, n_outputs=3)):
            g.output(f"part{i}", part)
        best, where = self.backend.top_k(g, x, np.array([2]), n_outputs=2)
        g.output("best", best)
        g.output("where", where)
        image = self.backend.reshape(g, x, np.array([1, 1, 2, 6]))
        g.output("pooled", self.backend.max_pool(g, image, kernel_shape=[2, 2], strides=[2, 2]))
        pooled, at = self.backend.max_pool(g, image, kernel_shape=[2, 2], strides=[2, 2], n_outputs=2)
        g.output("pooled_too", pooled)
        g.output("at", at)
        g.output("dropped", self.backend.dropout(g, x))


def run(module: bb.Module, **given: Any) -> dict[str, Any]:
    artefact = bb.Compiler().bind({"backend": CpuBackend}).compile(module)
    node = bb.install(peer(0), [], artefact, [module.name])
    node.invoke(module.name, given, 0)
    steps = node.poll(0).steps
    assert [s for s in steps if isinstance(s, OpFailed)] == []
    return {s.port: s.value for s in steps if isinstance(s, AppEvent)}


def test_an_op_gives_as_many_outputs_as_are_recorded() -> None:
    x = np.array([[1, 5, 2, 4, 3, 0], [0, 3, 5, 1, 2, 4]], np.float32)
    found = run(Several(), x=x)
    np.testing.assert_array_equal(found["normal"], found["y"])
    np.testing.assert_allclose(found["mean"], x.mean(1, keepdims=True))
    np.testing.assert_array_equal(np.concatenate([found[f"part{i}"] for i in range(3)], 1), x)
    np.testing.assert_array_equal(found["best"], [[5, 4], [5, 4]])
    np.testing.assert_array_equal(found["where"], [[1, 3], [2, 5]])
    np.testing.assert_array_equal(found["pooled"], found["pooled_too"])
    np.testing.assert_array_equal(x.reshape(-1)[found["at"].reshape(-1)], found["pooled"].reshape(-1))
    np.testing.assert_array_equal(found["dropped"], x)


def test_an_op_is_read_by_the_opset_that_is_asked_for() -> None:
    backend = CpuBackend(CpuBackend.Config())
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    along = backend.kernel("Softmax", {"axis": 1})(x)
    over_the_rest = backend.kernel("Softmax", {"axis": 1, "opset": 11})(x)
    np.testing.assert_allclose(along.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(over_the_rest.sum((1, 2)), 1, rtol=1e-6)
    with pytest.raises(RoleError, match="no Add of opset 5") as caught:
        backend.kernel("Add", {"opset": 5})
    assert "opset 6 or later" in str(caught.value)


def test_numba_and_scipy_wait_until_a_kernel_needs_them() -> None:
    program = """
import sys
import numpy as np
from bb_plugins.backends.cpu.backend import CpuBackend
backend = CpuBackend(CpuBackend.Config())
x = np.zeros((1, 1, 8, 8), np.float32)
backend.kernel("Relu", {})(backend.kernel("Conv", {})(x, np.ones((1, 1, 3, 3), np.float32)))
print({"numba", "scipy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("op", "attributes", "shapes", "out"),
    [
        ("BatchNormalization", {}, [(0, 3, 4, 4), (3,), (3,), (3,), (3,)], (0, 3, 4, 4)),
        ("Conv", {"pads": [1, 1, 1, 1]}, [(0, 2, 5, 5), (3, 2, 3, 3), (3,)], (0, 3, 5, 5)),
        ("ConvTranspose", {}, [(0, 2, 5, 5), (2, 3, 3, 3), (3,)], (0, 3, 7, 7)),
        ("Gemm", {}, [(0, 4), (4, 5), (5,)], (0, 5)),
        ("GlobalAveragePool", {}, [(0, 3, 4, 4)], (0, 3, 1, 1)),
        ("GroupNormalization", {"num_groups": 2}, [(0, 4, 3), (4,), (4,)], (0, 4, 3)),
        ("InstanceNormalization", {}, [(0, 4, 3), (4,), (4,)], (0, 4, 3)),
        ("LSTM", {"hidden_size": 3}, [(2, 0, 4), (1, 12, 4), (1, 12, 3)], (2, 1, 0, 3)),
        ("LayerNormalization", {}, [(0, 4), (4,), (4,)], (0, 4)),
        ("LogSoftmax", {}, [(0, 4)], (0, 4)),
        ("MaxPool", {"kernel_shape": [2, 2]}, [(0, 3, 4, 4)], (0, 3, 3, 3)),
        ("Relu", {}, [(0, 3, 4, 4)], (0, 3, 4, 4)),
        ("Softmax", {}, [(0, 4)], (0, 4)),
    ],
)
def test_a_batch_of_nothing_gives_nothing(op: str, attributes: dict, shapes: list[tuple], out: tuple) -> None:
    kernel = CpuBackend(CpuBackend.Config()).kernel(op, attributes)
    assert kernel(*(np.ones(s, np.float32) for s in shapes)).shape == out


def test_draws_are_equal_for_equal_inputs_and_follow_the_seed() -> None:
    backend = CpuBackend(CpuBackend.Config())
    x, ratio, yes = np.ones((3, 4), np.float32), np.array(0.5, np.float32), np.array(True)
    one, other = (backend.kernel("Dropout", {"seed": s})(x, ratio, yes) for s in (1, 2))
    assert not np.array_equal(one, other)
    unseeded = backend.kernel("Dropout", {})
    np.testing.assert_array_equal(unseeded(x, ratio, yes), unseeded(x, ratio, yes))
    assert not np.array_equal(unseeded(x, ratio, yes) > 0, unseeded(2 * x, ratio, yes) > 0)
    assert set(np.unique(one)) <= {0, 2}
