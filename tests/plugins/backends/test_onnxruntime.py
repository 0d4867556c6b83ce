"""OnnxRuntimeBackend: op by op against ONNX's reference, and whole programs beside CpuBackend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import defs

import bb_core as bb
from bb_core.errors import InstallError, MissingExtra, RoleError
from bb_core.ir import schemas
from bb_core.plugins import installed_plugins
from bb_core.steps import AppEvent, OpFailed
from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.backends.onnxruntime import backend as module
from bb_plugins.backends.onnxruntime.backend import OnnxRuntimeBackend
from bb_plugins.backends.onnxruntime.ops import FIRST_OUTPUT, ONE_OUTPUT, OPS, SEVERAL
from bb_plugins.models.architectures import cnn
from bb_plugins.models.graph import GraphModel
from tests.plugins.backends.test_cpu_ops import CASES, reference
from tests.plugins.fake_context import FakeContext

ROOT = Path(__file__).parents[3]
CPU, OTHER = "bytesandbrains.CpuBackend", "bytesandbrains.OnnxRuntimeBackend"


@pytest.fixture
def backend() -> OnnxRuntimeBackend:
    pytest.importorskip("onnxruntime")
    return OnnxRuntimeBackend(OnnxRuntimeBackend.Config())


# --- ops --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attributes", "inputs"),
    [(n, a, x) for n, a, many in CASES if n in OPS for x in many],
    ids=lambda v: v if isinstance(v, str) else "x".join(str(a.shape) for a in v) if isinstance(v, tuple) else str(v),
)
def test_an_op_agrees_with_onnx(
    backend: OnnxRuntimeBackend, name: str, attributes: dict[str, Any], inputs: tuple[np.ndarray, ...]
) -> None:
    for array in inputs:
        array.flags.writeable = False
    ours = backend.kernel(name, attributes)(*inputs)
    theirs = reference(name, attributes, inputs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    assert not any(np.shares_memory(ours, a) for a in inputs)


def test_it_has_the_ops_of_networks_that_the_cpu_backend_has() -> None:
    """The others are random, of sequences or text, or functions of the standard; this list may only shrink."""
    assert len(CpuBackend.ops - OnnxRuntimeBackend.ops) <= 48


def test_a_model_is_trained_on_it_as_on_the_cpu_backend() -> None:
    random = np.random.Generator(np.random.Philox(3))
    x, y = random.standard_normal((32, 64)).astype(np.float32), random.integers(0, 10, 32)
    trained = []
    for backend in (CpuBackend(CpuBackend.Config()), OnnxRuntimeBackend(OnnxRuntimeBackend.Config())):
        ctx = FakeContext()
        ctx._backend = backend
        model = GraphModel(GraphModel.Config(cnn(), learning_rate=0.1))
        for _ in range(5):
            model.train_step(ctx, x, y)
        trained.append(model.parameters())
    np.testing.assert_allclose(trained[0], trained[1], atol=1e-4)


def test_the_table_is_what_an_installed_onnxruntime_computes() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    kernels = {
        kernel.op_name
        for kernel in state.get_all_opkernel_def()
        if kernel.domain == ""
        and kernel.provider == "CPUExecutionProvider"
        and kernel.version_range[0] <= schemas.OPSET <= kernel.version_range[1]
    }
    assert {op for op in OPS - kernels if not defs.get_schema(op, schemas.OPSET, "").has_function} == set()


def test_outputs_are_those_of_the_schemas() -> None:
    for op in OPS:
        schema = schemas.schema_of(op)
        assert schema is not None
        least, most = schema.min_output, schema.max_output
        assert (op in ONE_OUTPUT) == (least == most == 1)
        assert (op in FIRST_OUTPUT) == (least == 1 < most < 100 and op not in SEVERAL)
    assert (module._OPSET, module._IR_VERSION) == (schemas.OPSET, schemas.IR_VERSION)


def test_absent_inputs_and_several_outputs(backend: OnnxRuntimeBackend) -> None:
    clip = backend.kernel("Clip", {})
    x = np.array([-2, 0.5, 2], np.float32)
    np.testing.assert_array_equal(clip(x, None, np.float32(1)), [-2, 0.5, 1])
    np.testing.assert_array_equal(clip(x, np.float32(0), np.float32(1)), [0, 0.5, 1])
    values, places = backend.kernel("TopK", {"axis": 0})(x, np.array([2]))
    assert (values.tolist(), places.tolist()) == ([2, 0.5], [2, 1])
    halves = backend.kernel("Split", {"num_outputs": 2, "axis": 0})(np.arange(4.0))
    assert [half.tolist() for half in halves] == [[0, 1], [2, 3]]
    split = backend.kernel("Split", {})
    assert [part.tolist() for part in split(np.arange(4.0), np.array([1, 3]))] == [[0], [1, 2, 3]]
    assert [part.tolist() for part in split(np.arange(3.0), np.array([1, 1, 1]))] == [[0], [1], [2]]


def test_one_session_serves_all_calls_and_all_nodes(
    backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    module._session.cache_clear()
    x = np.ones(3, np.float32)
    for _ in range(3):
        kernel = OnnxRuntimeBackend(OnnxRuntimeBackend.Config()).kernel("Add", {})
        kernel(x, x)
        kernel(x[:2], x[:2])
    assert module._session.cache_info().misses == 1
    kernel(x.astype(np.float64), x.astype(np.float64))
    assert module._session.cache_info().misses == 2


def test_equal_inputs_give_equal_bytes(backend: OnnxRuntimeBackend) -> None:
    random = np.random.Generator(np.random.Philox(0))
    a, b = random.random((50, 300), np.float32), random.random((300, 70), np.float32)
    kernel = backend.kernel("MatMul", {})
    assert len({kernel(a, b).tobytes() for _ in range(5)}) == 1


def test_types_that_it_cannot_are_named(backend: OnnxRuntimeBackend) -> None:
    with pytest.raises(RoleError, match=r"cannot run Tanh on \(int32\)"):
        backend.kernel("Tanh", {})(np.ones(2, np.int32))
    with pytest.raises(RoleError, match="did you mean 'MatMul'"):
        backend.kernel("Matmul", {})
    with pytest.raises(RoleError, match=r"CpuBackend"):
        backend.primitive("mlp_train")


# --- programs ---------------------------------------------------------------------------------------------------------


class Layer(bb.Module):
    """A layer of a network, with an activation, a mask and a sum."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, w, b = g.input("x", bb.f32["N", 8]), g.input("w", bb.f32[8, 4]), g.input("b", bb.f32[4])
        hidden = self.backend.relu(g, x @ w + b)
        soft = self.backend.softmax(g, hidden, axis=-1)
        g.output("soft", soft)
        g.output("best", self.backend.arg_max(g, soft, axis=1, keepdims=0))
        g.output("total", self.backend.reduce_sum(g, self.backend.where(g, hidden > 0.5, hidden, -hidden)))


class Numbers(bb.Module):
    """Whole numbers, shapes and indices."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.i64[6])
        table = self.backend.reshape(g, x, g.constant(np.array([2, 3])))
        g.output("turned", self.backend.transpose(g, table * 2 - 1))
        g.output("quotient", x / 4)
        g.output("both", self.backend.concat(g, table, table, axis=0))
        g.output("floats", g.cast(table, bb.f32))


RANDOM = np.random.Generator(np.random.Philox(1))
PROGRAMS: list[tuple[type[bb.Module], dict[str, Any]]] = [
    (
        Layer,
        {
            "x": RANDOM.standard_normal((5, 8)).astype(np.float32),
            "w": RANDOM.standard_normal((8, 4)).astype(np.float32),
            "b": RANDOM.standard_normal(4).astype(np.float32),
        },
    ),
    (Layer, {"x": np.ones((1, 8), np.float32), "w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)}),
    (Numbers, {"x": np.array([7, -7, 0, 1, 2, 3])}),
]


def outputs(program: type[bb.Module], backend: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a program gives; the backend is the one line that differs."""
    artefact = bb.Compiler().bind({"backend": backend}).compile(program())
    node = bb.install(bb.PeerId.from_int(0), [], artefact, [program.__name__])
    node.invoke(program.__name__, inputs, 0)
    steps = node.poll(0).steps
    assert [s for s in steps if isinstance(s, OpFailed)] == []
    return {s.port: s.value for s in steps if isinstance(s, AppEvent)}


@pytest.mark.parametrize(("program", "inputs"), PROGRAMS)
def test_a_program_gives_the_same_on_both(
    backend: OnnxRuntimeBackend, program: type[bb.Module], inputs: dict[str, Any]
) -> None:
    ours, theirs = (outputs(program, name, inputs) for name in (CPU, OTHER))
    assert ours.keys() == theirs.keys()
    for port, value in ours.items():
        assert (value.dtype, value.shape) == (theirs[port].dtype, theirs[port].shape), port
        compare: Callable[..., None] = (
            np.testing.assert_array_equal
            if np.issubdtype(value.dtype, np.integer)
            else lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        )
        compare(value, theirs[port])


class Branching(bb.Module):
    """A branch and a loop, which capture what is around them."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        scale = x[0] + 1
        y = self.backend.if_(g, x[0] > 0, then_branch=lambda: x * scale, else_branch=lambda: -x)

        def step(i: bb.Output, going: bb.Output, total: bb.Output) -> tuple[bb.Output, ...]:
            total = total + x
            return going, total, total

        total, history = self.backend.loop(g, 3, True, y, body=step)
        g.output("total", total)
        g.output("history", history)


@pytest.mark.parametrize("x", [[1, 2], [-1, 2]])
def test_branches_and_loops_run(backend: OnnxRuntimeBackend, x: list[float]) -> None:
    found = outputs(Branching, OTHER, {"x": np.array(x, np.float32)})
    given = np.array(x)
    y = given * (given[0] + 1) if given[0] > 0 else -given
    np.testing.assert_allclose(found["history"], [y + n * given for n in (1, 2, 3)])
    np.testing.assert_allclose(found["total"], y + 3 * given)


def test_what_it_cannot_is_a_step(backend: OnnxRuntimeBackend) -> None:
    class Hyperbolic(bb.Module):
        backend = bb.BackendSlot()

        def body(self, g: bb.Graph) -> None:
            g.output("y", self.backend.det(g, g.input("x", bb.f64[2, 2])))

    artefact = bb.Compiler().bind({"backend": OTHER}).compile(Hyperbolic())
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Hyperbolic"])
    node.invoke("Hyperbolic", {"x": np.ones((2, 2))}, 0)
    (failed,) = (s for s in node.poll(0).steps if isinstance(s, OpFailed))
    assert "cannot run Det on (float64)" in str(failed.error)


# --- where it is not installed ----------------------------------------------------------------------------------------


def test_without_onnxruntime_a_program_compiles_and_install_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    artefact = bb.Compiler().bind({"backend": OTHER}).compile(Layer())
    with pytest.raises(MissingExtra, match=r'pip install "bytesandbrains\[onnxruntime\]"'):
        bb.install(bb.PeerId.from_int(0), [], artefact, ["Layer"])


def test_other_errors_of_a_constructor_are_the_installs_as_before() -> None:
    @bb.concrete("tests.Unwilling")
    class Unwilling(bb.roles.Backend):
        ops = frozenset({"MatMul", "Add", "Relu", "Softmax", "ArgMax", "ReduceSum", "Where", "Neg", "Greater"})

        def __init__(self, config: Any) -> None:
            raise ImportError("not today")

    artefact = bb.Compiler().bind({"backend": Unwilling}).compile(Layer())
    with pytest.raises(InstallError, match="not today"):
        bb.install(bb.PeerId.from_int(0), [], artefact, ["Layer"])


def test_onnxruntime_is_loaded_by_install_alone() -> None:
    script = f"""
import sys
import bb_core as bb
class P(bb.Module):
    backend = bb.BackendSlot()
    def body(self, g):
        g.output("y", g.input("x", bb.f32[2]) + 1)
artefact = bb.Compiler().bind({{"backend": {OTHER!r}}}).compile(P())
assert "onnxruntime" not in sys.modules
bb.install(bb.PeerId.from_int(0), [], artefact, ["P"])
assert "onnxruntime" in sys.modules
"""
    pytest.importorskip("onnxruntime")
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_the_plugin_registers_it() -> None:
    assert installed_plugins().resolve(OTHER) is OnnxRuntimeBackend
    with pytest.raises(ValueError, match="expected at least 1"):
        OnnxRuntimeBackend.Config(threads=0)
