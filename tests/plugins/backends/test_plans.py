"""Plans give what the ops give one by one, whatever is fused, shared or moved in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.backends.cpu.graph import Graph
from bb_plugins.backends.cpu.kernels import elements
from bb_plugins.backends.cpu.plans import fusing, plan
from bb_plugins.backends.cpu.plans.arena import Life, placed
from bb_plugins.backends.cpu.plans.planned import Planned, planned

OPSET = 21
F32 = np.float32


def random() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(0))


def f(*shape: int) -> Any:
    return random().standard_normal(shape, F32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, Any], outputs: str, constants: dict[str, Any] | None = None
) -> onnx.GraphProto:
    infos = [onnx.ValueInfoProto(name=k) for k in inputs]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    outs = [onnx.ValueInfoProto(name=o) for o in outputs.split()]
    return helper.make_graph(list(nodes), "g", infos, outs, initializers)


def plan_of(proto: onnx.GraphProto, inputs: dict[str, Any]) -> plan.Plan:
    return plan.Plan(Graph(proto, {"": OPSET}), tuple(inputs.values()))


def check(proto: onnx.GraphProto, inputs: dict[str, Any], rtol: float = 2e-5) -> plan.Plan:
    """Run a graph both ways, twice, and return its plan."""
    bound = Graph(proto, {"": OPSET})
    given = tuple(inputs.values())
    with np.errstate(all="ignore"):
        due = bound.run(given)
        found = plan.Plan(bound, given)
        first, second = found.run(given), found.run(given)
    for a, b, c in zip(due, first, second, strict=True):
        assert b.dtype == a.dtype
        assert b.shape == a.shape
        size = float(np.abs(a[np.isfinite(a)]).max(initial=1)) if a.dtype.kind == "f" else 0
        np.testing.assert_allclose(b, a, rtol, 1e-6 * size)
        assert b.tobytes() == c.tobytes()
    return found


# --- elementwise groups -----------------------------------------------------------------------------------------------


def test_a_chain_of_elementwise_ops_is_one_kernel() -> None:
    inputs = {"x": f(5, 7), "y": f(7), "k": f(1)}
    chain = [node("Add", "x y", "a"), node("Mul", "a k", "b"), node("Relu", "b", "c"), node("Sub", "c x", "z")]
    assert check(graph(chain, inputs, "z"), inputs).kernels == 1


def test_what_others_read_of_a_group_is_kept() -> None:
    inputs = {"x": f(6, 4), "w": f(4, 3)}
    nodes = [node("Exp", "x", "e"), node("MatMul", "e w", "m"), node("Neg", "e", "n"), node("Greater", "n x", "g")]
    check(graph(nodes, inputs, "m n g e"), inputs)


def test_ops_are_not_joined_where_that_would_make_a_circle() -> None:
    inputs = {"x": f(4, 4)}
    nodes = [node("Exp", "x", "a"), node("MatMul", "a x", "m"), node("Add", "a m", "b"), node("Neg", "a", "c"),
             node("Softmax", "c", "s"), node("Add", "b s", "d"), node("Mul", "d c", "y")]  # fmt: skip
    check(graph(nodes, inputs, "y"), inputs)


SHAPES = [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (4, 5), (5,), (1,), (4, 1), ()]
UNARY = ["Abs", "Ceil", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Neg", "Relu",
         "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh", "Mish"]  # fmt: skip
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]
LOGIC = ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[onnx.NodeProto], dict[str, Any], str]:
    """Some elementwise ops on inputs of shapes that broadcast, with some outputs."""
    inputs = {f"x{i}": f(*draw(st.sampled_from(SHAPES))) for i in range(draw(st.integers(1, 3)))}
    inputs["full"] = f(3, 4, 5)
    values, nodes = list(inputs), []
    for i in range(draw(st.integers(1, 8))):
        pick = st.sampled_from(values)
        kind = draw(st.sampled_from(["unary", "binary", "where"]))
        if kind == "unary":
            nodes.append(node(draw(st.sampled_from(UNARY)), draw(pick), f"v{i}"))
        elif kind == "binary":
            nodes.append(node(draw(st.sampled_from(BINARY)), f"{draw(pick)} {draw(pick)}", f"v{i}"))
        else:
            nodes.append(node(draw(st.sampled_from(LOGIC)), f"{draw(pick)} {draw(pick)}", f"b{i}"))
            nodes.append(node("Where", f"b{i} {draw(pick)} {draw(pick)}", f"v{i}"))
        values.append(f"v{i}")
    made = [v for n in nodes for v in n.output]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    return nodes, inputs, " ".join({*outputs, made[-1]})


@given(programs())
@settings(max_examples=150, deadline=None)
def test_random_elementwise_programs(program: tuple[list[onnx.NodeProto], dict[str, Any], str]) -> None:
    """Chains of ill-conditioned steps may differ widely where float32 does; what is equal is where it is finite."""
    nodes, inputs, outputs = program
    proto = graph(nodes, inputs, outputs)
    bound, given = Graph(proto, {"": OPSET}), tuple(inputs.values())
    with np.errstate(all="ignore"):
        due, found = bound.run(given), plan.Plan(bound, given).run(given)
    for a, b in zip(due, found, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype.kind == "f":
            near = np.isclose(a, b, 1e-3, 1e-4, equal_nan=True)
            assert near.mean() > 0.9, (nodes, a, b)


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 3e38, -3e38, 88.9, -110.0])
@pytest.mark.parametrize("op", [*UNARY, "Log", "Sqrt", "Reciprocal"])
def test_extreme_elements(op: str, x: float) -> None:
    inputs = {"x": np.full((2, 3), x, F32)}
    check(graph([node(op, "x", "y")], inputs, "y"), inputs, rtol=1e-4)


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("pair", [(np.nan, 1.0), (1.0, np.nan), (np.inf, np.nan)])
def test_nan_goes_through_a_maximum(op: str, pair: tuple[float, float]) -> None:
    inputs = {"x": np.full(3, pair[0], F32), "y": np.full(3, pair[1], F32)}
    check(graph([node(op, "x y", "z")], inputs, "z"), inputs)


@pytest.mark.parametrize("name", elements.ELEMENTS)
def test_a_fused_kernel_gives_the_bytes_of_tiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_op = {
        "abs": "Abs", "add": "Add", "and": "And", "ceil": "Ceil", "div": "Div", "equal": "Equal", "erf": "Erf",
        "exp": "Exp", "floor": "Floor", "gelu": "Gelu", "greater": "Greater", "greater_equal": "GreaterOrEqual",
        "less": "Less", "less_equal": "LessOrEqual", "log": "Log", "max": "Max", "min": "Min", "mul": "Mul",
        "neg": "Neg", "not": "Not", "or": "Or", "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid",
        "sign": "Sign", "softplus": "Softplus", "sqrt": "Sqrt", "sub": "Sub", "tanh": "Tanh", "where": "Where",
    }  # fmt: skip
    op = by_op.get(name)
    if op is None:
        assert name == "copy"
        return
    count = elements.arity(name)
    truth = op in ("And", "Or", "Not")
    inputs: dict[str, Any] = {f"x{i}": f(4, 200) + F32(i) for i in range(count)}
    if op in ("Log", "Sqrt"):
        inputs["x0"] = np.abs(inputs["x0"])
    if truth or op == "Where":
        for k in list(inputs)[: 1 if op == "Where" else None]:
            inputs[k] = inputs[k] > 0
    proto = graph([node(op, " ".join(inputs), "y")], inputs, "y")
    by_tiles = plan_of(proto, inputs).run(tuple(inputs.values()))
    monkeypatch.setattr(fusing, "_FROM", 1)
    by_one = plan_of(proto, inputs).run(tuple(inputs.values()))
    assert by_tiles[0].tobytes() == by_one[0].tobytes()


def test_a_large_group_is_compiled_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"x": f(3, 8, 200), "row": f(200), "column": f(8, 1), "one": f(1), "mask": f(3, 8, 200) > 0}
    nodes = [node("Mul", "x row", "a"), node("Add", "a column", "b"), node("Tanh", "b", "c"), node("Div", "c one", "d"),
             node("Where", "mask d x", "e"), node("Greater", "e a", "g")]  # fmt: skip
    proto = graph(nodes, inputs, "e g")
    by_tiles = check(proto, inputs).run(tuple(inputs.values()))
    monkeypatch.setattr(fusing, "_FROM", 1)
    by_one = check(proto, inputs).run(tuple(inputs.values()))
    assert [a.tobytes() for a in by_tiles] == [b.tobytes() for b in by_one]


# --- kernels ----------------------------------------------------------------------------------------------------------


def conv(**attributes: Any) -> Callable[[], tuple[list[onnx.NodeProto], dict[str, Any]]]:
    groups = attributes.get("group", 1)
    return lambda: (
        [node("Conv", "x w b", "y", **attributes)], {"x": f(2, 4, 9, 7), "w": f(6, 4 // groups, 3, 2), "b": f(6)}
    )  # fmt: skip


CASES: dict[str, Callable[[], tuple[list[onnx.NodeProto], dict[str, Any]]]] = {
    "conv": conv(),
    "conv, padded": conv(pads=[1, 0, 2, 1]),
    "conv, strided": conv(strides=[2, 3], pads=[1, 1, 1, 1]),
    "conv, dilated": conv(dilations=[2, 3], pads=[2, 1, 0, 3]),
    "conv, in groups": conv(group=2, pads=[1, 1, 1, 1]),
    "conv, same": conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv, by channel": lambda: (
        [node("Conv", "x w b", "y", group=4, strides=[2, 1], pads=[1, 2, 0, 1])],
        {"x": f(2, 4, 9, 7), "w": f(4, 1, 3, 3), "b": f(4)},
    ),
    "conv of 1 x 1": lambda: ([node("Conv", "x w", "y")], {"x": f(2, 4, 5, 5), "w": f(3, 4, 1, 1)}),
    "conv of 1 x 1, in groups": lambda: (
        [node("Conv", "x w", "y", group=2)], {"x": f(2, 4, 5, 5), "w": f(6, 2, 1, 1)}
    ),
    "conv of a signal": lambda: (
        [node("Conv", "x w", "y", pads=[2, 0], strides=[2])], {"x": f(2, 3, 20), "w": f(4, 3, 5)}
    ),
    "conv, wide": lambda: (
        [node("Conv", "x w", "y", pads=[1] * 4)], {"x": f(1, 64, 40, 40), "w": f(64, 64, 3, 3) * F32(0.1)}
    ),
    "transposed conv": lambda: (
        [node("ConvTranspose", "x w", "y", strides=[2, 1], pads=[1, 0, 0, 1], output_padding=[1, 0])],
        {"x": f(2, 3, 4, 5), "w": f(3, 2, 3, 3)},
    ),
    "max pool": lambda: (
        [node("MaxPool", "x", "y i", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])], {"x": f(2, 3, 7, 6)}
    ),
    "max pool of NaN": lambda: (
        [node("MaxPool", "x", "y", kernel_shape=[2, 2])], {"x": np.where(f(1, 1, 4, 4) > 1, np.nan, f(1, 1, 4, 4))}
    ),
    "max pool, dilated, ceil": lambda: (
        [node("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2], strides=[3, 3], ceil_mode=1)],
        {"x": f(1, 2, 9, 8)},
    ),
    "average pool": lambda: (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 0, 1], strides=[2, 1])], {"x": f(2, 2, 6, 5)}
    ),
    "average pool with its padding": lambda: (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        {"x": f(2, 2, 6, 5)},
    ),
    "global average": lambda: ([node("GlobalAveragePool", "x", "y")], {"x": f(2, 3, 4, 5)}),
    "matmul": lambda: ([node("MatMul", "a b", "y")], {"a": f(5, 7), "b": f(7, 3)}),
    "matmul of vectors": lambda: ([node("MatMul", "a b", "y")], {"a": f(7), "b": f(7)}),
    "matmul of a stack and one": lambda: ([node("MatMul", "a b", "y")], {"a": f(2, 3, 5, 7), "b": f(7, 3)}),
    "matmul, broadcast": lambda: ([node("MatMul", "a b", "y")], {"a": f(2, 1, 5, 7), "b": f(3, 7, 4)}),
    "matmul of one and a stack": lambda: ([node("MatMul", "a b", "y")], {"a": f(5, 7), "b": f(2, 3, 7, 4)}),
    "matmul, thin": lambda: ([node("MatMul", "a b", "y")], {"a": f(70, 500), "b": f(500, 40)}),
    "gemm": lambda: ([node("Gemm", "a b c", "y", alpha=0.5, beta=2.0)], {"a": f(4, 6), "b": f(6, 5), "c": f(5)}),
    "gemm, turned": lambda: (
        [node("Gemm", "a b c", "y", transA=1, transB=1)], {"a": f(6, 4), "b": f(5, 6), "c": f(4, 1)}
    ),
    "gemm, thin and turned": lambda: (
        [node("Gemm", "a b", "y", transA=1)], {"a": f(400, 60), "b": f(400, 50)}
    ),
    "softmax": lambda: ([node("Softmax", "x", "y")], {"x": f(3, 4, 33)}),
    "softmax of large numbers": lambda: ([node("Softmax", "x", "y")], {"x": f(3, 9) * F32(200)}),
    "softmax with NaN": lambda: ([node("Softmax", "x", "y")], {"x": np.where(f(4, 9) > 1.2, np.nan, f(4, 9))}),
    "softmax of nothing but -inf": lambda: ([node("Softmax", "x", "y")], {"x": np.full((1, 3), -np.inf, F32)}),
    "log softmax": lambda: ([node("LogSoftmax", "x", "y", axis=1)], {"x": f(5, 17)}),
    "layer norm": lambda: (
        [node("LayerNormalization", "x s b", "y m r")], {"x": f(3, 4, 40), "s": f(40), "b": f(40)}
    ),
    "layer norm of two axes": lambda: (
        [node("LayerNormalization", "x s", "y", axis=1)], {"x": f(3, 4, 5), "s": f(4, 5)}
    ),
    "cross-entropy": lambda: (
        [node("SoftmaxCrossEntropyLoss", "x l", "y p")], {"x": f(6, 5), "l": np.arange(6) % 5}
    ),
    "cross-entropy, summed": lambda: (
        [node("SoftmaxCrossEntropyLoss", "x l", "y", reduction="sum")], {"x": f(6, 5), "l": np.arange(6) % 5}
    ),
    "one-hot": lambda: (
        [node("OneHot", "l d v", "y")],
        {"l": np.array([[0, 3], [-1, 7]]), "d": np.array(4), "v": np.array([-1, 2], F32)},
    ),
    "max along an axis": lambda: ([node("ReduceMax", "x a", "y")], {"x": f(3, 4, 5), "a": np.array([1])}),
    "batch norm": lambda: (
        [node("BatchNormalization", "x s b m v", "y")],
        {"x": f(2, 3, 4, 4), "s": f(3), "b": f(3) + 1, "m": f(3) + 2, "v": np.abs(f(3))},
    ),
}  # fmt: skip
for _axes in ([0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [-1]):
    for _op in ("ReduceSum", "ReduceMean"):
        CASES[f"{_op} {_axes}"] = lambda op=_op, axes=_axes: (  # type: ignore[misc]
            [node(op, "x a", "y", keepdims=len(axes) % 2)], {"x": f(3, 4, 5), "a": np.array(axes)}
        )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_kernels(name: str) -> None:
    """What shapes and attributes come from inputs here is a constant in graphs."""
    nodes, inputs = CASES[name]()
    constants = {k: inputs.pop(k) for k in ("a", "d", "v") if k in inputs and inputs[k].dtype.kind == "i"}
    constants |= {"v": inputs.pop("v")} if nodes[0].op_type == "OneHot" else {}
    outputs = " ".join(nodes[0].output)
    assert check(graph(nodes, inputs, outputs, constants), inputs, rtol=1e-4).is_native


MOVES: dict[str, tuple[onnx.NodeProto, Any, dict[str, Any]]] = {
    "transpose": (node("Transpose", "x", "y", perm=[2, 0, 1]), f(3, 4, 5), {}),
    "transpose of int64": (node("Transpose", "x", "y"), np.arange(12).reshape(3, 4), {}),
    "transpose of bool": (node("Transpose", "x", "y"), f(3, 4) > 0, {}),
    "expand": (node("Expand", "x s", "y"), f(3, 1), {"s": np.array([2, 3, 4])}),
    "slice": (node("Slice", "x s end a t", "y"), f(6, 7), {
        "s": np.array([-5, 1]), "end": np.array([6, 99]), "a": np.array([0, -1]), "t": np.array([2, 3]),
    }),
    "slice backwards": (node("Slice", "x s end a t", "y"), f(6), {
        "s": np.array([-1]), "end": np.array([-99]), "a": np.array([0]), "t": np.array([-1]),
    }),
    "split": (node("Split", "x s", "y z", axis=1), f(3, 5), {"s": np.array([2, 3])}),
    "pad": (node("Pad", "x p v", "y"), f(2, 3), {"p": np.array([1, 0, 2, 1]), "v": np.array(3.0, F32)}),
    "pad of one axis": (node("Pad", "x p  a", "y"), f(2, 3), {"p": np.array([1, 2]), "a": np.array([1])}),
    "cut": (node("Pad", "x p", "y"), f(4, 3), {"p": np.array([-1, 0, 1, 0])}),
    "reshape": (node("Reshape", "x s", "y"), f(4, 3), {"s": np.array([2, -1])}),
    "flatten": (node("Flatten", "x", "y"), f(2, 3, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    """Each between two other ops, and alone."""
    op, x, constants = MOVES[name]
    op = onnx.NodeProto.FromString(op.SerializeToString())
    if name == "pad of one axis":
        op.input[:] = ["x", "p", "", "a"]
    check_or_refuse([op], {"x": x}, " ".join(op.output), constants)
    if x.dtype == F32:
        inner = onnx.NodeProto.FromString(op.SerializeToString())
        inner.input[0] = "e"
        nodes = [node("Exp", "x", "e"), inner, node("Neg", inner.output[0], "n")]
        check(graph(nodes, {"x": x}, "n e", constants), {"x": x})


def check_or_refuse(nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: str, constants: Any) -> None:
    try:
        check(graph(nodes, inputs, outputs, constants), inputs)
    except plan.Unplannable:  # a view alone is no kernel
        assert nodes[0].op_type in ("Reshape", "Flatten", "Slice", "Pad")


def test_concatenated_parts() -> None:
    inputs = {"x": f(2, 3, 4), "y": f(2, 5, 4), "z": f(2, 1, 4)}
    check(graph([node("Concat", "x y z", "c", axis=1), node("Neg", "c", "n")], inputs, "n c"), inputs)


# --- rewriting --------------------------------------------------------------------------------------------------------


def test_a_convolution_takes_up_the_norm_behind_it() -> None:
    inputs = {"x": f(2, 3, 6, 6)}
    constants = {"w": f(4, 3, 3, 3), "c": f(4), "s": f(4), "b": f(4) + 1, "m": f(4) + 2, "v": np.abs(f(4))}
    nodes = [node("Conv", "x w c", "y"), node("BatchNormalization", "y s b m v", "z"), node("Relu", "z", "r")]
    found = check(graph(nodes, inputs, "r", constants), inputs, rtol=1e-4)
    assert found.kernels == 3  # bias, convolution, Relu


def test_a_convolution_whose_output_others_read_keeps_it() -> None:
    inputs = {"x": f(2, 3, 6, 6)}
    constants = {"w": f(4, 3, 3, 3), "s": f(4), "b": f(4) + 1, "m": f(4) + 2, "v": np.abs(f(4))}
    nodes = [node("Conv", "x w", "y"), node("BatchNormalization", "y s b m v", "z")]
    check(graph(nodes, inputs, "y z", constants), inputs, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_filters_is_one_kernel(stride: int) -> None:
    """As training writes it: a convolution of transposed tensors, cut to the filters' size."""
    side = (8 + 2 - 3) // stride + 1
    inputs = {"x": f(2, 3, 8, 8), "g": f(2, 5, side, side)}
    nodes = [node("Transpose", "x", "xt", perm=[1, 0, 2, 3]), node("Transpose", "g", "gt", perm=[1, 0, 2, 3]),
             node("Conv", "xt gt", "c", pads=[1] * 4, dilations=[stride] * 2),
             node("Slice", "c s e a", "cut"), node("Transpose", "cut", "y", perm=[1, 0, 2, 3])]  # fmt: skip
    constants = {"s": np.array([0, 0]), "e": np.array([3, 3]), "a": np.array([2, 3])}
    found = check(graph(nodes, inputs, "y", constants), inputs, rtol=1e-4)
    assert found.kernels == 3  # it turns one factor and the result around


def test_equal_ops_are_done_once_and_unread_ones_never() -> None:
    inputs = {"x": f(4, 4)}
    nodes = [node("MatMul", "x x", "a"), node("MatMul", "x x", "b"), node("Softmax", "x", "unread"),
             node("Add", "a b", "y")]  # fmt: skip
    assert check(graph(nodes, inputs, "y"), inputs).kernels == 2


def test_what_is_constant_is_worked_out_once() -> None:
    inputs = {"x": f(3, 4)}
    nodes = [node("Shape", "x", "s"), node("ReduceProd", "s", "n"), node("Cast", "n", "k", to=1),
             node("Exp", "c", "e"), node("Mul", "x k", "a"), node("Add", "a e", "y")]  # fmt: skip
    assert check(graph(nodes, inputs, "y", {"c": f(4)}), inputs).kernels == 1


# --- what has no kernel -----------------------------------------------------------------------------------------------


def test_ops_without_a_kernel_run_in_python_between_the_others() -> None:
    inputs = {"x": f(5, 6), "i": np.array([3, 0, 0])}
    nodes = [node("Exp", "x", "e"), node("Gather", "e i", "g"), node("CumSum", "g a", "c"), node("Neg", "c", "n"),
             node("Einsum", "n", "t", equation="ij->ji"), node("Relu", "t", "y")]  # fmt: skip
    found = check(graph(nodes, inputs, "y e", {"a": np.array(0)}), inputs)
    assert found.in_python == ("Gather", "CumSum", "Einsum")


def test_a_view_that_python_makes_of_shared_memory_keeps_it() -> None:
    """Einsum gives a view of its input; that memory must not be used for another value before the view is read."""
    inputs = {"x": f(64, 64)}
    nodes = [node("Exp", "x", "e"), node("Einsum", "e", "t", equation="ij->ji"), node("Neg", "x", "n"),
             node("MatMul", "n n", "m"), node("Abs", "m", "k"), node("MatMul", "k t", "y"),
             node("Add", "y t", "z")]  # fmt: skip
    check(graph(nodes, inputs, "z"), inputs, rtol=1e-4)
    check(graph(nodes, inputs, "t z"), inputs, rtol=1e-4)


def test_outputs_are_the_callers_own() -> None:
    """What one run has given is not changed by the next."""
    inputs = {"x": f(8, 8)}
    nodes = [node("Exp", "x", "e"), node("Einsum", "e", "t", equation="ij->ji"), node("Neg", "e", "n")]
    found = plan_of(graph(nodes, inputs, "t n e"), inputs)
    first = found.run((inputs["x"],))
    kept = [v.copy() for v in first]
    found.run((inputs["x"] + 1,))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_shapes_that_depend_on_elements() -> None:
    inputs = {"x": f(4, 5)}
    nodes = [node("Exp", "x", "e"), node("Greater", "e one", "m"), node("NonZero", "m", "i"), node("Shape", "i", "s"),
             node("Transpose", "i", "t"), node("GatherND", "e t", "y")]  # fmt: skip
    proto = graph(nodes, inputs, "y s", {"one": np.array(1, F32)})
    run = planned(proto, {"": OPSET})
    for shift in (0, -2, 3):
        x = inputs["x"] + F32(shift)
        y, s = run(x)
        e = np.exp(x)
        np.testing.assert_allclose(y, e[e > 1], 1e-5)
        assert s.tolist() == [2, (e > 1).sum()]


# --- plans of a graph -------------------------------------------------------------------------------------------------


def test_each_shape_has_its_plan_and_few_are_kept() -> None:
    run = Planned(Graph(graph([node("Exp", "x", "y")], {"x": 0}, "y"), {"": OPSET}))
    for n in [*range(1, 12), 1, 11]:
        np.testing.assert_allclose(run(f(n))[0], np.exp(f(n)), 1e-6)
    assert len(run.plans) == 8
    assert run.plans[0].fits((f(11),))


@pytest.mark.parametrize(
    "x", [f(4, 6).T, f(8)[::2], f(6).astype(">f4"), np.frombuffer(b"\0" + f(6).tobytes(), np.uint8)[1:].view(F32)],
    ids=["by column", "every second", "big-endian", "not aligned"],
)  # fmt: skip
def test_inputs_that_lie_otherwise_are_laid_out(x: Any) -> None:
    run = Planned(Graph(graph([node("Exp", "x", "y")], {"x": 0}, "y"), {"": OPSET}))
    run(np.ones(x.shape, F32))
    np.testing.assert_allclose(run(x)[0], np.exp(x.astype(F32)), 1e-6)


def test_what_has_no_plan_runs_op_by_op() -> None:
    run = Planned(Graph(graph([node("Exp", "x", "y")], {"x": 0}, "y"), {"": OPSET}))
    assert run(np.zeros((0, 3), F32))[0].shape == (0, 3)
    assert run(np.ones(3))[0].dtype == np.float64
    assert run.plans == []


def test_an_error_is_the_ops_own() -> None:
    run = planned(graph([node("MatMul", "a b", "y")], {"a": 0, "b": 0}, "y"), {"": OPSET})
    with pytest.raises(ValueError, match="mismatch"):
        run(f(2, 3), f(4, 5))


def test_equal_graphs_share_their_plans() -> None:
    backend = CpuBackend(CpuBackend.Config())
    nodes = [node("Exp", "x", "y")]
    one, other = (backend.graph(graph(nodes, {"x": 0}, "y"), OPSET) for _ in range(2))
    assert one is other
    assert backend.graph(graph([node("Neg", "x", "y")], {"x": 0}, "y"), OPSET) is not one


def test_threads_do_not_share_memory() -> None:
    inputs = {"x": f(60, 60)}
    nodes = [node("MatMul", "x x", "a"), node("Exp", "a", "b"), node("MatMul", "b x", "c"), node("Softmax", "c", "y")]
    run = planned(graph(nodes, inputs, "y"), {"": OPSET})
    scales = [F32(0.001 * i) for i in range(1, 5)]
    due = [run(inputs["x"] * s)[0].tobytes() for s in scales]
    wrong: list[int] = []

    def repeat(i: int) -> None:
        for _ in range(200):
            if run(inputs["x"] * scales[i])[0].tobytes() != due[i]:
                wrong.append(i)

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(len(scales))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 8)), max_size=30))
def test_values_that_live_at_one_time_never_share_memory(lives: list[tuple[int, int, int]]) -> None:
    known = [Life(i, n, first, first + length) for i, (n, first, length) in enumerate(lives)]
    offsets, whole = placed(known)
    for a in known:
        assert offsets[a.value] % 64 == 0
        assert offsets[a.value] + a.nbytes <= whole or a.nbytes == 0
        for b in known:
            if a.value < b.value and a.first <= b.last and b.first <= a.last and a.nbytes and b.nbytes:
                first, second = sorted((a, b), key=lambda life: offsets[life.value])
                assert offsets[first.value] + first.nbytes <= offsets[second.value]


def test_a_kernels_source_is_made_again_when_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_plugins.backends.cpu.kernels import generated

    monkeypatch.setattr(generated, "folder", lambda: tmp_path)
    monkeypatch.setattr(generated, "_modules", {})
    source = elements.head("a test") + "\ndef nothing(a, b):\n    pass\n"
    assert generated.native_of(source, "nothing", 2).address
    (path,) = tmp_path.glob("*.py")
    path.write_text("garbage(")
    monkeypatch.setattr(generated, "_modules", {})
    assert generated.native_of(source, "nothing", 2).address
    assert path.read_text() == source


def test_a_kernel_that_can_be_kept_nowhere_is_compiled_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bb_plugins.backends.cpu.kernels import generated

    (tmp_path / "file").touch()
    monkeypatch.setattr(generated, "folder", lambda: tmp_path / "file" / "under")
    monkeypatch.setattr(generated, "_modules", {})
    assert generated.native_of(elements.head("a test") + "\ndef nothing(a, b):\n    pass\n", "nothing", 2).address
