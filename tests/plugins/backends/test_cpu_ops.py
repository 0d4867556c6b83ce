"""Every op of CpuBackend against ONNX's reference implementation, on a table of shapes and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bb_core.errors import RoleError
from bb_core.ir.schemas import OPSET
from bb_plugins.backends.cpu.backend import CpuBackend, primitive

RANDOM = np.random.Generator(np.random.Philox(0))


def f(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


PAIRS = [(f(3, 4), f(3, 4)), (f(3, 4), f(4)), (f(2, 1, 4), f(3, 1)), (f(), f(2)), (f(0, 3), f(3))]
ONE = [(f(3, 4),), (f(),), (f(0, 3),), (f(2, 3, 4) * 10,)]
AXES = [(f(2, 3, 4), i(1)), (f(2, 3, 4), i(0, 2)), (f(2, 3, 4), i(-1)), (f(2, 3, 4),)]

CASES: list[tuple[str, dict[str, Any], list[tuple[np.ndarray, ...]]]] = [
    *((name, {}, PAIRS) for name in ("Add", "Sub", "Mul", "Div", "Equal", "Greater", "Less")),
    ("Div", {}, [(np.array([7, -7, 7, -7, 6]), np.array([2, 2, -2, -2, 3]))]),
    *((name, {}, ONE) for name in ("Abs", "Exp", "Identity", "Neg", "Relu", "Sigmoid", "Tanh")),
    *((name, {}, [(np.abs(f(3, 4)) + 1,), (np.abs(f(0, 2)),)]) for name in ("Log", "Sqrt")),
    *((name, {"axis": axis}, [(f(3, 4),), (f(2, 3, 4) * 10,)])
      for name in ("Softmax", "LogSoftmax") for axis in (-1, 0, 1)),
    ("MatMul", {}, [(f(3, 4), f(4, 5)), (f(2, 3, 4), f(4, 5)), (f(4), f(4, 5)), (f(0, 4), f(4, 5))]),
    ("Gemm", {}, [(f(3, 4), f(4, 5)), (f(3, 4), f(4, 5), f(5)), (f(3, 4), f(4, 5), f(3, 1))]),
    ("Gemm", {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, [(f(4, 3), f(5, 4), f(3, 5))]),
    *((name, {"keepdims": keep}, AXES) for name in ("ReduceSum", "ReduceMean", "ReduceMax") for keep in (0, 1)),
    ("ReduceSum", {"noop_with_empty_axes": 1}, [(f(2, 3),)]),
    ("ArgMax", {"axis": 1, "keepdims": 0}, [(f(3, 4),)]),
    ("ArgMax", {"axis": 0, "select_last_index": 1}, [(np.array([[1, 2], [1, 2]], np.float32),)]),
    ("Reshape", {}, [(f(2, 6), i(3, 4)), (f(2, 6), i(0, -1)), (f(2, 3), i(-1))]),
    ("Reshape", {"allowzero": 1}, [(f(0, 3), i(3, 0))]),
    ("Transpose", {}, [(f(2, 3, 4),), (f(3),)]),
    ("Transpose", {"perm": [0, 2, 1]}, [(f(2, 3, 4),)]),
    ("Cast", {"to": 7}, [(f(3) * 10,)]),
    ("Cast", {"to": 10}, [(f(3),)]),
    ("Concat", {"axis": 1}, [(f(2, 1), f(2, 3)), (f(2, 1), f(2, 3), f(2, 0))]),
    ("Where", {}, [(f(3, 4) > 0, f(3, 4), f(4))]),
]  # fmt: skip


def reference(name: str, attributes: dict[str, Any], inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    names = [f"in{n}" for n in range(len(inputs))]
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(name, names, ["out"], **attributes)], "g", infos, [onnx.ValueInfoProto(name="out")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    (out,) = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(out)


@pytest.mark.parametrize(
    ("name", "attributes", "inputs"),
    [(n, a, x) for n, a, many in CASES for x in many],
    ids=lambda v: v if isinstance(v, str) else "x".join(str(a.shape) for a in v) if isinstance(v, tuple) else str(v),
)
def test_an_op_agrees_with_onnx(name: str, attributes: dict[str, Any], inputs: tuple[np.ndarray, ...]) -> None:
    for array in inputs:
        array.flags.writeable = False
    ours = CpuBackend(CpuBackend.Config()).kernel(name, attributes)(*inputs)
    theirs = reference(name, attributes, inputs)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
    assert not any(np.shares_memory(ours, a) for a in inputs if name == "Identity")


def test_extreme_logits_stay_finite() -> None:
    backend = CpuBackend(CpuBackend.Config())
    x = np.array([[1e4, -1e4, 0]], np.float32)
    for name in ("Softmax", "LogSoftmax", "Sigmoid"):
        assert np.isfinite(backend.kernel(name, {})(x)).all()


def test_an_unknown_name_gets_the_nearest() -> None:
    backend = CpuBackend(CpuBackend.Config())
    with pytest.raises(RoleError, match="did you mean 'MatMul'"):
        backend.kernel("Matmul", {})
    with pytest.raises(RoleError, match="did you mean 'mlp_train'"):
        primitive("mlp_trian")


def test_numpy_helper_reads_what_the_ops_make() -> None:
    out = CpuBackend(CpuBackend.Config()).kernel("Transpose", {})(f(2, 3))
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(numpy_helper.to_array(numpy_helper.from_array(out)), out)
