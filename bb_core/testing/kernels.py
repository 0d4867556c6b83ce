"""Cases of ONNX ops, over shapes, element types and attributes, and the oracle that they are held against.

The oracle is `onnx.reference`, ONNX's own implementation in plain numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bb_core.ir.proto import attributes as attributes_of
from bb_core.ir.schemas import OPSET

Inputs = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One call of an op."""

    attributes: Mapping[str, Any]
    inputs: Inputs

    def __str__(self) -> str:
        ins = ", ".join("-" if v is None else f"{v.dtype}{list(v.shape)}" for v in self.inputs)
        attrs = ", ".join(f"{k}={v!r}" for k, v in self.attributes.items())
        return f"({ins}{'; ' if attrs else ''}{attrs})"


PAIRS: Final = (((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (2,)), ((0, 3), (3,)), ((1,), (1,)))
SHAPES: Final = ((3, 4), (), (0, 3), (2, 3, 4), (1,), (17,))


class _Draw:
    """Draws arrays of one element type."""

    def __init__(self, random: np.random.Generator, dtype: str) -> None:
        self._random = random
        self.dtype = np.dtype(dtype)

    def __call__(self, *shape: int) -> Any:
        return np.asarray(self._random.standard_normal(shape) * 2, self.dtype)

    def positive(self, *shape: int) -> Any:
        return np.asarray(self._random.uniform(0.1, 3.0, shape), self.dtype)

    def unit(self, *shape: int) -> Any:
        return np.asarray(self._random.uniform(-0.9, 0.9, shape), self.dtype)

    def truth(self, *shape: int) -> Any:
        return np.asarray(self._random.integers(0, 2, shape), np.bool_)


def _i(*values: int) -> Any:
    return np.asarray(values, np.int64)


Make = Callable[[_Draw], Iterator[tuple[dict[str, Any], Inputs]]]


def _each(*attributes: dict[str, Any], draw: str = "__call__", shapes: Sequence[tuple[int, ...]] = SHAPES) -> Make:
    def make(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
        for attrs in attributes or ({},):
            for shape in shapes:
                yield attrs, (getattr(d, draw)(*shape),)

    return make


def _pairs(draw: str = "__call__", right: str = "") -> Make:
    def make(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
        for a, b in PAIRS:
            yield {}, (getattr(d, draw)(*a), getattr(d, right or draw)(*b))

    return make


def _reduce(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    for keep in (0, 1):
        for axes in ((1,), (0, 2), (-1,), None):
            inputs = (d.positive(2, 3, 4),) if axes is None else (d.positive(2, 3, 4), _i(*axes))
            yield {"keepdims": keep}, inputs
    yield {"noop_with_empty_axes": 1}, (d.positive(2, 3),)


def _arg(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    for attrs in ({}, {"axis": 1, "keepdims": 0}, {"axis": -1}, {"axis": 0, "select_last_index": 1}):
        yield attrs, (np.asarray([[1, 2, 2], [1, 0, 2]], d.dtype),)


def _matmul(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    for a, b in (((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((0, 4), (4, 5)), ((2, 1, 3, 4), (5, 4, 2))):
        yield {}, (d(*a), d(*b))


def _gemm(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d(3, 4), d(4, 5))
    for c in ((5,), (3, 1), (), (3, 5)):
        yield {}, (d(3, 4), d(4, 5), d(*c))
    yield {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, (d(4, 3), d(5, 4), d(3, 5))


def _reshape(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    for shape, wanted in (((2, 6), (3, 4)), ((2, 6), (0, -1)), ((2, 3), (-1,)), ((), (1, 1))):
        yield {}, (d(*shape), _i(*wanted))
    yield {"allowzero": 1}, (d(0, 3), _i(3, 0))


def _transpose(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d(2, 3, 4),)
    yield {}, (d(3),)
    yield {"perm": [0, 2, 1]}, (d(2, 3, 4),)


def _concat(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {"axis": 1}, (d(2, 1), d(2, 3))
    yield {"axis": -1}, (d(2, 1), d(2, 3), d(2, 0))
    yield {"axis": 0}, (d(2),)


def _where(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d.truth(3, 4), d(3, 4), d(4))
    yield {}, (d.truth(4), d(3, 4), d())


def _cast(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    for to in (1, 6, 7, 11):
        yield {"to": to}, (d(3, 4),)
        yield {"to": to}, (d(0),)


def _clip(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d(3, 4), d.dtype.type(-1) + np.zeros((), d.dtype), np.ones((), d.dtype))
    yield {}, (d(3, 4),)


def _gather(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d(5, 2), _i(0, 4, -1))
    yield {"axis": 1}, (d(2, 5), np.asarray([[0, 1], [3, -1]]))


def _slice(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
    yield {}, (d(5, 4), _i(1, 0), _i(4, 3))
    yield {}, (d(5, 4), _i(-1), _i(-6), _i(0), _i(-2))


def _axes_input(*axes: int, shape: tuple[int, ...]) -> Make:
    def make(d: _Draw) -> Iterator[tuple[dict[str, Any], Inputs]]:
        yield {}, (d(*shape), _i(*axes))

    return make


_SOFT = _each(*({"axis": a} for a in (-1, 0, 1)), shapes=((3, 4), (2, 3, 4)))
_SIGNED = ("Abs", "Ceil", "Cos", "Exp", "Floor", "Identity", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin",
           "Softplus",
           "Softsign", "Tan", "Tanh", "Erf", "HardSwish", "Mish", "Sinh", "Cosh", "Asinh", "Atan", "IsNaN")  # fmt: skip
_REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
               "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
_CASES: Final[dict[str, Make]] = {
    **{op: _each() for op in _SIGNED},
    **{op: _each(draw="positive") for op in ("Log", "Sqrt", "Reciprocal")},
    **{op: _each(draw="unit") for op in ("Asin", "Acos", "Atanh")},
    **{op: _each({}, {"alpha": 0.3}) for op in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu")},
    **{op: _each() for op in ("HardSigmoid", "Selu", "Gelu")},
    **{op: _pairs() for op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Greater", "Less", "GreaterOrEqual",
                               "LessOrEqual", "PRelu")},
    **{op: _pairs(right="positive") for op in ("Div",)},
    "Pow": _pairs(draw="positive"),
    **{op: _pairs(draw="truth") for op in ("And", "Or", "Xor")},
    "Not": _each(draw="truth"),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Softmax": _SOFT,
    "LogSoftmax": _SOFT,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Where": _where,
    "Cast": _cast,
    "Clip": _clip,
    "Gather": _gather,
    "Slice": _slice,
    "Flatten": _each({}, {"axis": 0}, {"axis": -1}, shapes=((2, 3, 4), (3, 1))),
    "Shape": _each(shapes=((2, 3), (), (0,))),
    "Size": _each(shapes=((2, 3), (), (0,))),
    "Squeeze": _axes_input(0, 2, shape=(1, 3, 1)),
    "Unsqueeze": _axes_input(0, -1, shape=(3, 2)),
    "Expand": _axes_input(2, 3, 4, shape=(3, 1)),
    "Tile": _axes_input(2, 3, shape=(2, 2)),
}  # fmt: skip
"""Op -> its cases. What is not here is left out with a reason, and is its author's to test."""

_NOT_SQUARED = ("PRelu",)  # its slope must fit into its input
_NO_SCALARS = ("ArgMax", "ArgMin")


def cases(op: str, dtypes: Sequence[str], random: np.random.Generator) -> list[Case]:
    """Return the cases of an op, for each element type; none when the table has no such op."""
    make = _CASES.get(op)
    if make is None:
        return []
    found = [Case(attrs, inputs) for dtype in dtypes for attrs, inputs in make(_Draw(random, dtype))]
    if op in _NOT_SQUARED:
        found = [c for c in found if np.broadcast_shapes(*(v.shape for v in c.inputs)) == c.inputs[0].shape]
    return found


def _node(op: str, case: Case) -> Any:
    from onnx import helper

    ins = [f"x{n}" for n in range(len(case.inputs))]
    return helper.make_node(op, ins, ["y"], name=op, **case.attributes)


def kernel_of(backend: Any, op: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
    """Ask a Backend for a kernel, with the attributes as the engine reads them from a program."""
    found: Callable[..., Any] = backend.kernel(op, attributes_of(_node(op, Case(attributes, ()))))
    return found


def oracle(op: str, case: Case) -> list[Any]:
    """Compute a case by ONNX's reference implementation."""
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    infos = [
        helper.make_tensor_value_info(f"x{n}", helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in enumerate(case.inputs)
    ]
    graph = helper.make_graph([_node(op, case)], "case", infos, [ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    with np.errstate(all="ignore"):
        found: Any = ReferenceEvaluator(model).run(None, {f"x{n}": v for n, v in enumerate(case.inputs)})
    return list(found)
