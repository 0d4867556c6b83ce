"""Every gradient rule, against central differences in float64, computed by ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bb_core.errors import NotDifferentiable
from bb_plugins.training.gradients import gradients
from bb_plugins.training.rules import RULES
from tests.oracles.onnx_ops import EXACT

OPSET = 22


@dataclass(frozen=True)
class Case:
    """One op on random inputs.

    Attributes:
        op: Its name.
        shapes: Of the float inputs, by which gradients are taken.
        constants: Further inputs, by place.
        attributes: Its own.
        draw: Makes an input of a shape.
        outputs: How many it has; the first is looked at.
        coarse: Whether the op computes in float32, whatever its inputs are.
    """

    op: str
    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    outputs: int = 1
    coarse: bool = False

    def __str__(self) -> str:
        shown = "-".join("x".join(map(str, s)) or "scalar" for s in self.shapes)
        given = "-".join(f"{k}={v}" for k, v in self.attributes.items())
        return "-".join(filter(None, (self.op, shown, given)))


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.5, 2, shape)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that are far from each other and from zero, so that no small step changes which is the largest."""
    count = int(np.prod(shape))
    return (rng.permutation(count).reshape(shape) - count / 2 + 0.3) / 3


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


UNARY = (
    "Neg", "Abs", "Exp", "Reciprocal", "Sin", "Cos", "Erf", "Tanh", "Sigmoid", "Softplus", "Softsign", "Relu",
    "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Mish", "Identity",
)  # fmt: skip
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp",
    "ReduceProd",
)  # fmt: skip
PAIRS = (((2, 3), (2, 3)), ((2, 3), (3,)), ((4, 1, 3), (2, 1)), ((), (2, 3)))

CASES = [
    *(Case(op, ((2, 3),), draw=apart) for op in UNARY),
    Case("Gelu", ((2, 3),), attributes={"approximate": "tanh"}),
    Case("Gelu", ((2, 3),), attributes={"approximate": "none"}, coarse=True),
    Case("Elu", ((5,),), attributes={"alpha": 0.5}, draw=apart),
    Case("Log", ((2, 3),), draw=positive),
    Case("Sqrt", ((2, 3),), draw=positive),
    Case("Clip", ((3, 3),), {1: np.float64(-0.9), 2: np.float64(0.7)}, draw=apart),
    Case("Cast", ((2, 3),), attributes={"to": TensorProto.DOUBLE}),
    *(Case(op, pair) for op in ("Add", "Sub", "Mul") for pair in PAIRS),
    *(Case("Div", pair, draw=positive) for pair in PAIRS),
    *(Case("Pow", pair, draw=positive) for pair in PAIRS),
    Case("Pow", ((2, 3),), {1: np.float64(2)}),
    Case("Pow", ((2, 3),), {1: np.float64(3)}, draw=apart),
    Case("PRelu", ((2, 3), (3,)), draw=apart),
    Case("Where", ((2, 3), (3,)), {0: np.array([[True, False, True], [False, False, True]])}),
    *(Case(op, ((2, 3), (3,), (2, 1))) for op in ("Sum", "Mean")),
    *(Case(op, ((2, 3), (3,)), draw=apart) for op in ("Max", "Min")),
    *(Case("MatMul", pair) for pair in (
        ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((3,), (3, 4)),
        ((2, 3), (3,)), ((3,), (3,)), ((1, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((3,), (5, 3, 4)),
        ((5, 2, 3), (3,)),
    )),
    *(
        Case("Gemm", ((2, 3) if not a else (3, 2), (3, 4) if not b else (4, 3), c), attributes={
            "transA": a, "transB": b, "alpha": 0.5, "beta": 2.0,
        })
        for a in (0, 1) for b in (0, 1) for c in ((4,), (2, 4), (2, 1), ())
    ),
    Case("Einsum", ((2, 3), (3, 4)), attributes={"equation": "ij,jk->ik"}),
    Case("Einsum", ((2, 5, 3), (2, 4, 3)), attributes={"equation": "bqd,bkd->bqk"}),
    *(
        Case(op, ((2, 3, 4),), {1: ints(*axes)}, {"keepdims": keep}, apart)
        for op in REDUCTIONS for axes in ((1,), (-1, 0), (0, 1, 2)) for keep in (0, 1)
    ),
    Case("ReduceLogSum", ((2, 3),), {1: ints(1)}, draw=positive),
    *(Case(op, ((2, 3),), attributes={"noop_with_empty_axes": 1}, draw=apart) for op in ("ReduceMax", "ReduceSum")),
    Case("Pow", ((2, 3), (1,)), draw=positive),
    *(Case("CumSum", ((3, 4),), {1: np.int64(1)}, {"exclusive": e, "reverse": r}) for e in (0, 1) for r in (0, 1)),
    Case("Reshape", ((2, 6),), {1: ints(3, -1)}),
    Case("Flatten", ((2, 3, 4),), attributes={"axis": 2}),
    Case("Squeeze", ((2, 1, 3),), {1: ints(1)}),
    Case("Unsqueeze", ((2, 3),), {1: ints(0, -1)}),
    Case("Transpose", ((2, 3, 4),), attributes={"perm": [1, 2, 0]}),
    Case("Transpose", ((2, 3),)),
    Case("Expand", ((3, 1),), {1: ints(2, 1, 4)}),
    Case("Tile", ((2, 3),), {1: ints(2, 2)}),
    Case("Concat", ((2, 3), (2, 1), (2, 2)), attributes={"axis": -1}),
    Case("Split", ((6, 2),), attributes={"axis": 0, "num_outputs": 3}, outputs=3),
    *(
        Case("Slice", ((4, 5),), dict(enumerate((ints(*v) for v in parts), 1)))
        for parts in (
            ((1, 0), (3, 4), (0, 1)), ((0,), (5,), (1,), (2,)), ((-1,), (-10,), (1,), (-2,)), ((1,), (2,)),
            ((-3,), (100,), (0,)),
        )
    ),
    Case("Pad", ((2, 3),), {1: ints(1, 0, 2, 1)}),
    Case("Pad", ((2, 3),), {1: ints(1, 2), 2: np.float64(1), 3: ints(1)}),
    Case("Gather", ((4, 3),), {1: np.array([[0, -1], [2, 0]])}),
    Case("Gather", ((2, 4, 3),), {1: np.array([1, 1, 3])}, {"axis": 1}),
    Case("Gather", ((2, 4),), {1: np.int64(2)}, {"axis": -1}),
    Case("GatherElements", ((3, 3),), {1: np.array([[0, 2, 1], [2, 2, 0]])}, {"axis": 0}),
    Case("GatherND", ((3, 2, 2),), {1: np.array([[0, 1], [2, 0], [0, 1]])}),
    Case("ScatterElements", ((3, 3), (2, 3)), {1: np.array([[0, 2, 1], [2, 0, 0]])}, {"axis": 0}),
    Case("ScatterElements", ((3, 3), (2, 3)), {1: np.array([[0, 2, 1], [0, 0, 1]])}, {"axis": 0, "reduction": "add"}),
    Case("ScatterND", ((4, 2), (2, 2)), {1: np.array([[3], [1]])}),
    Case("ScatterND", ((4, 2), (2, 2)), {1: np.array([[3], [3]])}, {"reduction": "add"}),
    Case("Trilu", ((3, 4),), attributes={"upper": 0}),
    Case("DepthToSpace", ((1, 8, 2, 3),), attributes={"blocksize": 2}),
    Case("SpaceToDepth", ((1, 2, 4, 6),), attributes={"blocksize": 2}),
    *(Case(op, ((2, 3, 4),), attributes={"axis": axis}) for op in ("Softmax", "LogSoftmax") for axis in (-1, 1)),
    *(
        Case("SoftmaxCrossEntropyLoss", ((4, 3),), {1: np.array([0, 2, 1, 1]), **more}, {"reduction": how, **ignore})
        for how in ("mean", "sum", "none")
        for more in ({}, {2: np.array([0.5, 1.0, 2.0])})
        for ignore in ({}, {"ignore_index": 1})
    ),
    Case("SoftmaxCrossEntropyLoss", ((2, 3, 4),), {1: np.array([[0, 2, 1, 1], [2, 2, 0, 1]])}),
    Case("NegativeLogLikelihoodLoss", ((4, 3),), {1: np.array([0, 2, 1, 1])}),
    Case("LayerNormalization", ((2, 3, 4), (4,), (4,))),
    Case("LayerNormalization", ((2, 3, 4), (3, 4)), attributes={"axis": 1}),
    Case("GroupNormalization", ((2, 4, 3, 2), (4,), (4,)), attributes={"num_groups": 2}, coarse=True),
    Case("InstanceNormalization", ((2, 3, 4, 2), (3,), (3,))),
    Case("BatchNormalization", ((5, 3), (3,), (3,)), {3: np.zeros(3), 4: np.ones(3)}, {"training_mode": 1}, outputs=3),
    Case("BatchNormalization", ((3, 2, 4), (2,), (2,)), {3: np.array([0.1, 0.2]), 4: np.array([2.0, 0.5])}),
    *(
        Case("Conv", shapes, attributes=attributes)
        for shapes, attributes in (
            (((2, 3, 5, 6), (4, 3, 3, 2), (4,)), {}),
            (((2, 3, 7, 6), (4, 3, 3, 3)), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
            (((2, 4, 7, 8), (6, 2, 2, 3), (6,)), {"group": 2, "dilations": [2, 1], "strides": [1, 2]}),
            (((1, 4, 6, 6), (4, 1, 3, 3)), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
            (((2, 2, 9), (3, 2, 3), (3,)), {"pads": [1, 1], "strides": [2]}),
            (((1, 1, 4, 4, 4), (2, 1, 2, 2, 2)), {}),
        )
    ),
    Case("ConvTranspose", ((2, 3, 4, 3), (3, 4, 3, 2), (4,)), attributes={"strides": [2, 1], "pads": [1, 0, 0, 1]}),
    Case("ConvTranspose", ((1, 4, 3, 3), (4, 2, 2, 2)), attributes={
        "group": 2, "output_padding": [1, 0], "strides": [2, 2],
    }),
    *(
        Case("MaxPool", ((2, 2, 6, 6),), attributes={"kernel_shape": [2, 3], **more}, draw=apart)
        for more in ({}, {"strides": [2, 2]}, {"strides": [1, 2], "pads": [1, 1, 0, 1]})
    ),
    *(
        Case("AveragePool", ((2, 2, 6, 5),), attributes={"kernel_shape": [2, 3], **more})
        for more in ({}, {"strides": [2, 2]}, {"pads": [1, 1, 1, 1]}, {"pads": [1, 1, 1, 1], "count_include_pad": 1})
    ),
    Case("GlobalAveragePool", ((2, 3, 4, 5),)),
    Case("GlobalMaxPool", ((2, 3, 4, 5),), draw=apart),
    *(
        Case(op, ((3, 2, 4), (ways, gates * 5, 4), (ways, gates * 5, 5), (ways, 2 * gates * 5)), attributes={
            "hidden_size": 5, "direction": direction, **more,
        })
        for op, gates, more in (("LSTM", 4, {}), ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {}))
        for direction, ways in (("forward", 1), ("reverse", 1), ("bidirectional", 2))
    ),
]  # fmt: skip


def model_of(case: Case) -> tuple[onnx.GraphProto, list[str]]:
    """The sum of an op's first output, weighted so that no two elements count alike."""
    places = [i for i in range(len(case.shapes) + len(case.constants)) if i not in case.constants]
    names = {place: f"x{number}" for number, place in enumerate(places)}
    count = max([*places, *case.constants]) + 1
    inputs = [names.get(i, f"c{i}" if i in case.constants else "") for i in range(count)]
    outputs = [f"y{i}" if i else "y" for i in range(case.outputs)]
    nodes = [
        helper.make_node(case.op, inputs, outputs, "the_op", **dict(case.attributes)),
        helper.make_node("Shape", ["y"], ["shape"]),
        helper.make_node("Size", ["y"], ["size"]),
        helper.make_node("Range", ["zero", "size", "one"], ["line"]),
        helper.make_node("Cast", ["line"], ["numbers"], to=TensorProto.DOUBLE),
        helper.make_node("Reshape", ["numbers", "shape"], ["shaped"]),
        helper.make_node("Cos", ["shaped"], ["weights"]),
        helper.make_node("Mul", ["y", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted"], ["total"], keepdims=0),
    ]
    constants = {f"c{i}": v for i, v in case.constants.items()} | {"zero": np.int64(0), "one": np.int64(1)}
    graph = helper.make_graph(
        nodes,
        "case",
        [
            helper.make_tensor_value_info(names[p], TensorProto.DOUBLE, s)
            for p, s in zip(places, case.shapes, strict=True)
        ],
        [helper.make_tensor_value_info("total", TensorProto.DOUBLE, ())],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return graph, [names[p] for p in places]


def checked(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_gives_what_small_steps_give(case: Case) -> None:
    rng = np.random.default_rng(7)
    draw = case.draw or (lambda rng, shape: rng.normal(size=shape))
    graph, names = model_of(case)
    values = {name: np.asarray(draw(rng, shape)) for name, shape in zip(names, case.shapes, strict=True)}
    step, tolerance = (1e-2, 2e-3) if case.coarse else (1e-6, 1e-5)
    derived = ReferenceEvaluator(checked(gradients(graph, "total", names, OPSET)), new_ops=EXACT)
    total, *found = derived.run(None, values)
    plain = ReferenceEvaluator(checked(graph), new_ops=EXACT)
    assert np.allclose(plain.run(None, values)[0], total, rtol=1e-6, atol=1e-6)
    for name, grad in zip(names, found, strict=True):
        assert grad.shape == values[name].shape
        for place in np.ndindex(*grad.shape):
            if rng.random() > 40 / max(1, grad.size):
                continue  # some forty of each
            ends = []
            for sign in (1, -1):
                moved = values[name].copy()
                moved[place] += sign * step
                ends.append(float(plain.run(None, values | {name: moved})[0]))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert abs(slope - grad[place]) <= tolerance * max(1, abs(slope)), (name, place)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_gives_the_same_for_a_parameter(case: Case) -> None:
    """What is an initializer is a constant to a rule only if the gradient is not taken by it."""
    rng = np.random.default_rng(7)
    draw = case.draw or (lambda rng, shape: rng.normal(size=shape))
    graph, names = model_of(case)
    values = {name: np.asarray(draw(rng, shape)) for name, shape in zip(names, case.shapes, strict=True)}
    wanted = ReferenceEvaluator(checked(gradients(graph, "total", names, OPSET)), new_ops=EXACT).run(None, values)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    derived = gradients(graph, "total", names, OPSET)
    inputs = [i for i in derived.input if i.name not in names]
    del derived.input[:]
    derived.input.extend(inputs)
    found = ReferenceEvaluator(checked(derived), new_ops=EXACT).run(None, {})
    for have, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("is_constant", [True, False])
def test_what_pads_cut_off_gets_no_gradient(is_constant: bool) -> None:
    """By onnxruntime, as ONNX's own evaluator has no negative pads."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pads = ints(-1, 2, 0, -2)
    graph, names = model_of(Case("Pad", ((4, 5),), {1: pads}))
    values: dict[str, np.ndarray] = {names[0]: np.ones((4, 5))}
    if not is_constant:
        (place,) = (i for i, known in enumerate(graph.initializer) if known.name == "c1")
        del graph.initializer[place]
        graph.input.append(helper.make_tensor_value_info("c1", TensorProto.INT64, [4]))
        values["c1"] = pads
    session = onnxruntime.InferenceSession(checked(gradients(graph, "total", names, OPSET)).SerializeToString())
    (found,) = session.run([f"grad/{names[0]}"], values)
    wanted = np.zeros((4, 5))
    wanted[1:, :3] = np.cos(np.arange(15.0)).reshape(3, 5)[:, 2:]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(("left", "right"), [((1, 3), (4, 3)), ((4, 3), (4, 3)), ((4, 3), (1, 3)), ((2, 1, 3), (4, 3))])
def test_a_length_that_nobody_knows_is_summed_over_where_it_is_one(
    left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    """Shapes of a Reshape with -1, as in attention, have no names that could be compared."""
    dims = ",".join("nm"[i] if i < len(left) - 1 else "3" for i in range(len(left)))
    text = f"""g (double[{dims}] x, double[k,3] y, int64[2] s) => (double total) {{
        z = Reshape(y, s)
        sum = Add(x, z)
        square = Mul(sum, sum)
        total = ReduceSum<keepdims=0>(square)
    }}"""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=left), rng.normal(size=right)
    derived = ReferenceEvaluator(checked(gradients(onnx.parser.parse_graph(text), "total", ["x", "y"], OPSET)))
    _, by_x, by_y = derived.run(None, {"x": x, "y": y, "s": ints(-1, 3)})
    both = 2 * (x + y)
    for found, like in ((by_x, x), (by_y, y)):
        wanted = both.sum(axis=tuple(range(both.ndim - like.ndim)))
        wanted = wanted.sum(axis=tuple(i for i, n in enumerate(like.shape) if n == 1 != wanted.shape[i]), keepdims=True)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_length_of_zeros_has_no_direction() -> None:
    graph, names = model_of(Case("ReduceL2", ((2, 2),), {1: ints(1)}, {"keepdims": 0}))
    derived = ReferenceEvaluator(checked(gradients(graph, "total", names, OPSET)), new_ops=EXACT)
    _, found = derived.run(None, {names[0]: np.array([[0.0, 0.0], [3.0, 4.0]])})
    assert np.isfinite(found).all()
    assert not found[0].any()


def test_indices_by_column_have_no_rule() -> None:
    graph, names = model_of(Case("MaxPool", ((1, 1, 4, 4),), attributes={"kernel_shape": [2, 2], "storage_order": 1}))
    with pytest.raises(NotDifferentiable, match="storage_order"):
        gradients(graph, "total", names, OPSET)


def test_every_rule_has_a_case() -> None:
    assert RULES.keys() - {case.op for case in CASES} == {"Dropout", "CastLike", "Celu"}
