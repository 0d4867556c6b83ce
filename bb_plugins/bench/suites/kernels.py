"""The CpuBackend's plans beside onnxruntime, both on one thread, and beside what the machine can do.

Each side is handed numpy arrays and gives numpy arrays back. The sizes go from tiny to large, so that the table shows
where ours loses too. A graph of tiny nodes is measured as a slope: what one node more costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.backends.cpu.blas import limit_blas
from bb_plugins.bench.harness import Measure, slope

_OPSET = 21


def _random() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(0))


def _f(*shape: int) -> Any:
    return _random().standard_normal(shape, np.float32)


def _graph(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, Any], out: str, constants: dict[str, Any] | None = None
) -> onnx.GraphProto:
    infos = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
             for k, v in inputs.items()]  # fmt: skip
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    return helper.make_graph(list(nodes), "g", infos, [onnx.ValueInfoProto(name=out)], initializers)


def _ours(graph: onnx.GraphProto, inputs: dict[str, Any]) -> Callable[[], Any]:
    limit_blas(1)
    run = CpuBackend(CpuBackend.Config()).graph(graph, _OPSET)
    given = tuple(inputs.values())
    return lambda: run(*given)


def _theirs(graph: onnx.GraphProto, inputs: dict[str, Any], *, optimised: bool = True) -> Callable[[], Any]:
    ort = pytest.importorskip("onnxruntime", reason='onnxruntime is missing: pip install "bytesandbrains[bench]"')
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _row(row: Measure, name: str, graph: onnx.GraphProto, inputs: dict[str, Any], *,
         limit: tuple[str, Callable[[], Any]] | None = None) -> None:  # fmt: skip
    ours, theirs = _ours(graph, inputs), _theirs(graph, inputs)
    for a, b in zip(ours(), theirs(), strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-3 * float(np.abs(b).max()))
    row(name, ours, peer=("onnxruntime", theirs), limit=limit)


def _copy(like: Any) -> tuple[str, Callable[[], Any]]:
    out = np.empty_like(like)
    return "memcpy", lambda: np.copyto(out, like)


def _adds(count: int) -> onnx.GraphProto:
    nodes = [helper.make_node("Add", [f"v{i}", "x"], [f"v{i + 1}"]) for i in range(count)]
    return _graph(nodes, {"v0": _f(4), "x": _f(4)}, f"v{count}")


def test_tiny_nodes(row: Measure) -> None:
    """What one more Add of float32[4] costs in a chain of them, without rewriting the graph."""
    inputs = {"v0": _f(4), "x": _f(4)}
    many, few = _adds(1000), _adds(100)
    ours = slope(_ours(many, inputs), _ours(few, inputs), 900)
    theirs = slope(_theirs(many, inputs, optimised=False), _theirs(few, inputs, optimised=False), 900)
    row("Add of float32[4], one node more", ours, peer=("onnxruntime", theirs), timed=True)


@pytest.mark.parametrize("n", [8, 64, 256, 1024])
def test_matmul(row: Measure, n: int) -> None:
    """A product of two square matrices, which both sides leave to BLAS."""
    a, b = _f(n, n), _f(n, n)
    graph = _graph([helper.make_node("MatMul", ["a", "b"], ["y"])], {"a": a, "b": b}, "y")
    _row(row, f"MatMul {n} x {n}", graph, {"a": a, "b": b}, limit=("numpy's BLAS", lambda: np.matmul(a, b)))


_ROWS = [32, 1024]


@pytest.mark.parametrize("n", _ROWS)
def test_chain(row: Measure, n: int) -> None:
    """Seven elementwise ops in a row."""
    x, c = _f(n, n), _f(n, n)
    steps = [("Mul", "x", "k"), ("Add", "", "c"), ("Relu", "", None), ("Mul", "", ""), ("Sub", "", "x"),
             ("Mul", "", "half"), ("Add", "", "one")]  # fmt: skip
    nodes = []
    for i, (op, first, second) in enumerate(steps):
        before = f"t{i - 1}"
        names = [first or before, *([second or before] if second is not None else [])]
        nodes.append(helper.make_node(op, names, [f"t{i}"]))
    constants = {k: np.array(v, np.float32) for k, v in (("k", 1.5), ("half", 0.5), ("one", 1.0))}
    graph = _graph(nodes, {"x": x, "c": c}, "t6", constants)
    _row(row, f"chain of 7, {n} x {n}", graph, {"x": x, "c": c}, limit=_copy(x))


@pytest.mark.parametrize("n", _ROWS)
@pytest.mark.parametrize("op", ["Gelu", "Softmax", "LayerNormalization", "Tanh"])
def test_rows(row: Measure, op: str, n: int) -> None:
    """One op on a square."""
    inputs = {"x": _f(n, n)} | ({"g": _f(n), "b": _f(n)} if op == "LayerNormalization" else {})
    graph = _graph([helper.make_node(op, list(inputs), ["y"])], inputs, "y")
    _row(row, f"{op} {n} x {n}", graph, inputs, limit=_copy(inputs["x"]))


@pytest.mark.parametrize(("n", "channels", "side", "filters"), [(8, 32, 32, 32), (1, 64, 56, 64), (32, 1, 28, 8)])
def test_conv(row: Measure, n: int, channels: int, side: int, filters: int) -> None:
    """A convolution of 3 x 3."""
    inputs = {"x": _f(n, channels, side, side), "w": _f(filters, channels, 3, 3)}
    graph = _graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], inputs, "y")
    _row(row, f"Conv 3x3, {n} x {channels} x {side} x {side} to {filters}", graph, inputs)


def _residual(channels: int, side: int, blocks: int) -> tuple[onnx.GraphProto, dict[str, Any]]:
    """A small ResNet (He et al. 2016): a stem, blocks of two convolutions with a path around them, a classifier."""
    nodes, constants, at = [], {}, "x"

    def conv(source: str, to: str, inner: int) -> str:
        constants[f"{to}.w"] = _f(channels, inner, 3, 3) * 0.1
        for part, value in (("s", 1), ("b", 0), ("m", 0), ("v", 1)):
            constants[f"{to}.{part}"] = np.full(channels, value, np.float32)
        nodes.append(helper.make_node("Conv", [source, f"{to}.w"], [f"{to}.c"], pads=[1] * 4))
        parts = [f"{to}.{part}" for part in "sbmv"]
        nodes.append(helper.make_node("BatchNormalization", [f"{to}.c", *parts], [to]))
        return to

    def relu(source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{source}.r"]))
        return f"{source}.r"

    at = relu(conv("x", "stem", 3))
    for i in range(blocks):
        inner = conv(relu(conv(at, f"b{i}.0", channels)), f"b{i}.1", channels)
        nodes.append(helper.make_node("Add", [at, inner], [f"b{i}"]))
        at = relu(f"b{i}")
    constants["w"] = _f(channels, 10) * 0.1
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "w"], ["y"]))
    inputs = {"x": _f(4, 3, side, side)}
    return _graph(nodes, inputs, "y", constants), inputs


def _transformer(width: int, heads: int, length: int, batch: int) -> tuple[onnx.GraphProto, dict[str, Any]]:
    """A transformer block (Vaswani et al. 2017), normalised first, with a GELU of four times the width."""
    nodes: list[onnx.NodeProto] = []
    c: dict[str, Any] = {
        "split": np.array([batch, length, heads, width // heads], np.int64),
        "join": np.array([batch, length, width], np.int64),
        "scale": np.array((width // heads) ** -0.5, np.float32),
    }

    def do(op: str, inputs: Sequence[str], to: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [to], **attributes))
        return to

    def dense(source: str, name: str, n: int, m: int) -> str:
        c[f"{name}.w"], c[f"{name}.b"] = _f(n, m) * n**-0.5, np.zeros(m, np.float32)
        return do("Add", [do("MatMul", [source, f"{name}.w"], f"{name}.p"), f"{name}.b"], name)

    def norm(source: str, name: str) -> str:
        c[f"{name}.g"], c[f"{name}.b"] = np.ones(width, np.float32), np.zeros(width, np.float32)
        return do("LayerNormalization", [source, f"{name}.g", f"{name}.b"], name)

    def heads_of(source: str, name: str, *, turned: bool = False) -> str:
        parted = do("Reshape", [dense(source, name, width, width), "split"], f"{name}.parted")
        return do("Transpose", [parted], f"{name}.h", perm=[0, 2, 3, 1] if turned else [0, 2, 1, 3])

    seen = norm("x", "n0")
    scores = do("MatMul", [heads_of(seen, "q"), heads_of(seen, "k", turned=True)], "scores")
    weights = do("Softmax", [do("Mul", [scores, "scale"], "scaled")], "weights")
    mixed = do("Transpose", [do("MatMul", [weights, heads_of(seen, "v")], "mixed")], "mixed.t", perm=[0, 2, 1, 3])
    attended = do("Add", ["x", dense(do("Reshape", [mixed, "join"], "joined"), "o", width, width)], "attended")
    raised = do("Gelu", [dense(norm(attended, "n1"), "up", width, 4 * width)], "raised")
    do("Add", [attended, dense(raised, "down", 4 * width, width)], "y")
    inputs = {"x": _f(batch, length, width)}
    return _graph(nodes, inputs, "y", c), inputs


@pytest.mark.parametrize(("channels", "side"), [(8, 8), (16, 32), (64, 32)])
def test_residual_network(row: Measure, channels: int, side: int) -> None:
    """A small ResNet's forward pass."""
    _row(row, f"ResNet, {channels} channels, {side} x {side}", *_residual(channels, side, 3))


@pytest.mark.parametrize(("width", "length", "batch"), [(32, 8, 1), (128, 64, 4), (512, 128, 2)])
def test_transformer_block(row: Measure, width: int, length: int, batch: int) -> None:
    """A transformer block's forward pass."""
    graph, inputs = _transformer(width, 4, length, batch)
    _row(row, f"transformer block, width {width}, {batch} x {length} tokens", graph, inputs)
