"""The CpuBackend's ONNX ops, one by one, beside onnxruntime on one thread; the limit is one read of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from bb_plugins.backends.cpu.blas import limit_blas
from bb_plugins.backends.cpu.node import Node
from bb_plugins.backends.cpu.table import kernel_of
from bb_plugins.bench.harness import Measure

_RANDOM = np.random.Generator(np.random.Philox(0))
_OPSET = 21


def _f(*shape: int) -> Any:
    return _RANDOM.standard_normal(shape, np.float32)


_LARGE = _f(1024, 1024)
_SAME = {"pads": [1, 1, 1, 1]}
_ROWS: list[tuple[str, str, list[Any], dict[str, Any]]] = [
    ("Gelu, 1M", "Gelu", [_LARGE], {}),
    ("Sigmoid, 1M", "Sigmoid", [_LARGE], {}),
    ("Relu, 1M", "Relu", [_LARGE], {}),
    ("Softmax, 1024 x 1024", "Softmax", [_LARGE], {}),
    ("LayerNormalization, 1024 x 1024", "LayerNormalization", [_LARGE, _f(1024), _f(1024)], {}),
    ("TopK 5 of 1000, 256 rows", "TopK", [_f(256, 1000), np.array([5])], {}),
    ("MatMul, 256 x 256", "MatMul", [_f(256, 256), _f(256, 256)], {}),
    ("Conv 3x3, 8 x 32 x 32 x 32", "Conv", [_f(8, 32, 32, 32), _f(32, 32, 3, 3), _f(32)], _SAME),
    ("Conv 3x3, by channel, 64 x 56 x 56", "Conv", [_f(1, 64, 56, 56), _f(64, 1, 3, 3)], _SAME | {"group": 64}),
    ("MaxPool 2x2, 8 x 32 x 32 x 32", "MaxPool", [_f(8, 32, 32, 32)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("BatchNormalization, 8 x 64 x 28 x 28", "BatchNormalization",
     [_f(8, 64, 28, 28), _f(64), _f(64), _f(64), np.abs(_f(64))], {}),
    ("LSTM, 32 steps of 16 x 64 to 128", "LSTM",
     [_f(32, 16, 64), _f(1, 512, 64), _f(1, 512, 128), _f(1, 1024)], {"hidden_size": 128}),
    ("QuantizeLinear, 1M", "QuantizeLinear", [_LARGE, np.array(0.1, np.float32), np.array(3, np.uint8)], {}),
]  # fmt: skip


def _session(op: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    ort = pytest.importorskip("onnxruntime", reason='onnxruntime is missing: pip install "bytesandbrains[bench]"')
    count = {"LSTM": 3, "TopK": 2}.get(op, 1)
    names, outs = [f"i{k}" for k in range(len(inputs))], [f"o{k}" for k in range(count)]
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in zip(names, inputs, strict=True)
    ]
    node = helper.make_node(op, names, outs, **attributes)
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name=o) for o in outs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("title", "op", "inputs", "attributes"), _ROWS, ids=[r[0] for r in _ROWS])
def test_op(row: Measure, title: str, op: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    """One call of an op, its kernel chosen beforehand as the engine does."""
    limit_blas(1)
    session = _session(op, inputs, attributes)
    feed = {f"i{k}": v for k, v in enumerate(inputs)}
    wanted = (True,) * len(session.get_outputs())
    kernel = kernel_of(Node(op, attributes, {"": _OPSET}, wanted=wanted))
    row(
        title,
        lambda: kernel(*inputs),
        peer=("onnxruntime", lambda: session.run(None, feed)),
        limit=("one read", inputs[0].max),
    )
