"""The stage `bytesandbrains.subgraphs`: what a Backend does one op after another becomes one op, and gives the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core.steps import AppEvent
from bb_plugins.backends.cpu.backend import CpuBackend

STAGE = "bytesandbrains.subgraphs"
X = np.arange(12, dtype=np.float32).reshape(3, 4) - 5


class Dense(bb.Module):
    """Some ops that end in two outputs."""

    compute = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        x = g.input("x", bb.f32[3, 4])
        hidden = self.compute.relu(g, self.compute.matmul(g, x, g.constant(np.eye(4, dtype=np.float32))) + 0.5)
        g.output("hidden", hidden)
        g.output("sum", self.compute.reduce_sum(g, hidden * hidden, keepdims=0))


class Twice(bb.Module):
    """Ops before and behind something that is no Backend's, and some that read both."""

    compute = bb.BackendSlot()
    codec = bb.CodecSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        x = g.input("x", bb.f32[3, 4])
        before = self.compute.exp(g, x * 0.5) + 1
        encoded, _ = self.codec.encode(g, before)
        found = self.codec.decode(g, encoded)
        after = self.compute.neg(g, self.compute.abs(g, g.cast(found, bb.f32[3, 4]))) * 2
        g.output("y", after + before)


class Apart(bb.Module):
    """Two inputs that need not come together."""

    compute = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        g.output("y", self.compute.exp(g, g.input("x", bb.f32[3, 4]) + 1))
        g.output("z", self.compute.exp(g, g.input("w", bb.f32[3, 4]) + 2))


@bb.concrete("tests.subgraphs.Half")
class Half(bb.roles.Codec):
    """Halves what it encodes."""

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Halve."""
        return value / np.float32(2), bb.Record()

    def decode(self, ctx: bb.Context, encoded: bb.Tensor) -> bb.Tensor:
        """Give it back."""
        return encoded


@bb.concrete("tests.subgraphs.OwnKernels")
class OwnKernels(CpuBackend):
    """Has kernels of its own, which a graph would pass by."""

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return that of its parent."""
        return super().kernel(name, attributes)


def compiled(module: bb.Module, bindings: Mapping[str, Any], *, collapse: bool, **options: Any) -> onnx.ModelProto:
    compiler = bb.Compiler().bind(dict(bindings))
    return (compiler.with_stage(STAGE) if collapse else compiler).compile(module, **options)


def outputs(artefact: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, Any]:
    target = artefact.functions[0].name
    node = bb.install(bb.PeerId.from_int(0), [], artefact, [target])
    node.invoke(target, inputs, 0)
    return {s.port: s.value for s in node.poll(0).steps if isinstance(s, AppEvent)}


def ops(artefact: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in artefact.functions[0].node if n.op_type not in ("Constant", "Output", "Gate")]


CPU = {"compute": "bytesandbrains.CpuBackend"}


def test_ops_in_a_row_become_one_and_give_the_same() -> None:
    plain, joined = (compiled(Dense(), CPU, collapse=c) for c in (False, True))
    assert ops(plain) == ["MatMul", "Add", "Relu", "Mul", "ReduceSum"]
    assert ops(joined) == ["BackendSubgraph"]
    onnx.checker.check_model(joined, full_check=True)
    found, due = outputs(joined, {"x": X}), outputs(plain, {"x": X})
    assert found.keys() == due.keys() == {"hidden", "sum"}
    for port, value in due.items():
        np.testing.assert_allclose(found[port], value, 1e-6)


def test_it_is_the_same_each_time() -> None:
    first, second = (compiled(Dense(), CPU, collapse=True).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_what_another_component_does_parts_them() -> None:
    bindings = CPU | {"codec": Half}
    plain, joined = (compiled(Twice(), bindings, collapse=c) for c in (False, True))
    assert ops(joined) == ["BackendSubgraph", "Encode", "Decode", "Cast", "BackendSubgraph", "Add"]
    np.testing.assert_allclose(outputs(joined, {"x": X})["y"], outputs(plain, {"x": X})["y"], 1e-6)


def test_inputs_that_come_alone_start_their_own_ops() -> None:
    joined = compiled(Apart(), CPU, collapse=True)
    assert ops(joined) == ["BackendSubgraph", "BackendSubgraph"]
    assert outputs(joined, {"w": X}).keys() == {"z"}
    assert outputs(joined, {"x": X, "w": X}).keys() == {"y", "z"}


@pytest.mark.parametrize(
    ("bindings", "late"), [({"compute": OwnKernels}, ()), ({}, ("compute",))], ids=["own kernels", "late"]
)
def test_ops_stay_where_a_graph_would_not_be_the_same(bindings: dict[str, Any], late: tuple[str, ...]) -> None:
    assert "BackendSubgraph" not in ops(compiled(Dense(), bindings, collapse=True, late=late))


def test_onnxruntime_takes_it_as_a_session() -> None:
    pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "bytesandbrains[bench]"')
    joined = compiled(Dense(), {"compute": "bytesandbrains.OnnxRuntimeBackend"}, collapse=True)
    assert ops(joined) == ["BackendSubgraph"]
    due = outputs(compiled(Dense(), CPU, collapse=False), {"x": X})
    np.testing.assert_allclose(outputs(joined, {"x": X})["sum"], due["sum"], 1e-6)


def test_an_error_in_it_names_the_first_line() -> None:
    class Wrong(bb.Module):
        """A product that does not fit what comes."""

        compute = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            """Record it."""
            x = g.input("x", bb.f32["N", "M"])
            g.output("y", self.compute.matmul(g, x + 1, g.constant(np.ones((4, 2), np.float32))))

    artefact = compiled(Wrong(), CPU, collapse=True)
    assert ops(artefact) == ["BackendSubgraph"]
    target = artefact.functions[0].name
    node = bb.install(bb.PeerId.from_int(0), [], artefact, [target])
    node.invoke(target, {"x": np.ones((2, 3), np.float32)}, 0)
    (failure,) = [s for s in node.poll(0).steps if type(s).__name__ == "OpFailed"]
    assert "test_subgraphs.py" in str(failure)
