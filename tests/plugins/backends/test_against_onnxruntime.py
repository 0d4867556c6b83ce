"""Kernels on random shapes and attributes beside onnxruntime, where ONNX's node tests have few or none."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.backends.cpu.graph import Model

ort = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "bytesandbrains[bench]"')


class Draw:
    """Shapes, attributes and values of one seed."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.values = np.random.Generator(np.random.Philox(seed))

    def f(self, *shape: int) -> np.ndarray:
        return self.values.standard_normal(shape).astype(np.float32)

    def some(self, low: int, high: int, count: int) -> list[int]:
        return [self.choose.randint(low, high) for _ in range(count)]


def check(op: str, inputs: list[np.ndarray | None], outputs: int = 1, opset: int = 21, **attributes: Any) -> None:
    names = [f"i{k}" if v is not None else "" for k, v in enumerate(inputs)]
    given = {n: v for n, v in zip(names, inputs, strict=True) if v is not None}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()
    ]
    outs = [f"o{k}" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, **attributes)], "g", infos, [onnx.ValueInfoProto(name=o) for o in outs]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for theirs, ours in zip(session.run(None, given), Model(model).run(list(given.values())), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def window(d: Draw, rank: int) -> dict[str, Any]:
    return {"strides": d.some(1, 3, rank), "dilations": d.some(1, 2, rank), "pads": d.some(0, 2, 2 * rank)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions(rank: int, seed: int) -> None:
    d = Draw(seed)
    groups = d.choose.choice([1, 1, 2, 3])
    channels, filters = groups * d.choose.randint(1, 3), groups * d.choose.randint(1, 3)
    if seed % 4 == 0:
        groups = filters = channels  # one filter for each channel
    kernel, space, move = d.some(1, 3, rank), d.some(6, 9, rank), window(d, rank)
    bias = d.f(filters) if seed % 2 else None
    check("Conv", [d.f(2, channels, *space), d.f(filters, channels // groups, *kernel), bias], group=groups, **move)
    extra = [min(1, s - 1) for s in move["strides"]] if seed % 3 else [0] * rank
    weight = d.f(channels, filters // groups, *kernel)
    check("ConvTranspose", [d.f(2, channels, *space), weight, bias], group=groups, output_padding=extra, **move)


def test_a_convolution_of_many_large_images() -> None:
    d = Draw(0)
    check("Conv", [d.f(9, 16, 60, 60), d.f(8, 8, 3, 3)], group=2)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank: int, seed: int) -> None:
    d = Draw(seed)
    kernel, x = d.some(1, 3, rank), d.f(2, 3, *d.some(6, 9, rank))
    move = window(d, rank) | {"kernel_shape": kernel, "ceil_mode": seed % 2}
    move["pads"] = [d.choose.randrange(k) for k in kernel * 2]
    check("MaxPool", [x], 2, storage_order=seed % 3 % 2, **move)
    check("AveragePool", [x], count_include_pad=seed % 2, **move)
    check("LpPool", [x], p=1 + seed % 3, opset=18, **move)
    strides = [min(s, k) for s, k in zip(move["strides"], kernel, strict=True)]  # onnxruntime wants no gaps here
    same = {"kernel_shape": kernel, "strides": strides, "auto_pad": ("SAME_UPPER", "SAME_LOWER")[seed % 2]}
    check("MaxPool", [x], **same)
    check("AveragePool", [x], **same)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(("op", "gates", "states"), [("RNN", 1, 1), ("GRU", 3, 1), ("LSTM", 4, 2)])
def test_recurrent_layers(op: str, gates: int, states: int, seed: int) -> None:
    d = Draw(seed)
    direction = ("forward", "reverse", "bidirectional")[seed % 3]
    ways, times, rows, wide, hidden = 1 + (seed % 3 == 2), 5, 3, 4, 6
    options: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if seed % 4 == 1:
        options["clip"] = 0.5
    if op == "GRU":
        options["linear_before_reset"] = seed % 2
    if op == "LSTM" and seed % 5 == 0:
        options["input_forget"] = 1
    if seed % 7 == 3:
        functions = {"RNN": ["Relu"], "GRU": ["HardSigmoid", "Softsign"], "LSTM": ["Sigmoid", "Relu", "Softplus"]}
        options["activations"] = functions[op] * ways
    initial = [d.f(ways, rows, hidden) if seed % 2 else None for _ in range(states)]
    inputs = [
        d.f(times, rows, wide),
        d.f(ways, gates * hidden, wide),
        d.f(ways, gates * hidden, hidden),
        d.f(ways, 2 * gates * hidden) if seed % 2 else None,
        np.array([5, 3, 1], np.int32) if seed % 4 == 0 else None,
        *initial,
        *([d.f(ways, 3 * hidden)] if op == "LSTM" and seed % 4 < 2 else []),
    ]
    while inputs[-1] is None:
        inputs.pop()
    check(op, inputs, states + 1, opset=14, **options)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64, np.float64])
def test_arithmetic_of_every_width(kind: type[np.generic]) -> None:
    d = Draw(np.dtype(kind).itemsize)
    a, b = np.abs(d.f(3, 4)) * 20 + 1, np.abs(d.f(4)) * 5 + 1
    if np.dtype(kind).kind != "u":
        a, b = a * d.values.choice([-1, 1], a.shape), b * d.values.choice([-1, 1], b.shape)
    a, b = a.astype(kind), b.astype(kind)
    for op in ("Add", "Sub", "Mul", "Div", "Greater", "Less", "Equal"):
        check(op, [a, b])
    check("Mod", [a, b], fmod=int(np.dtype(kind).kind == "f"))
    for op in ("Abs", "Sign"):
        check(op, [a])


@pytest.mark.parametrize("seed", range(8))
def test_quantised_products(seed: int) -> None:
    d = Draw(seed)

    def u(*shape: int) -> np.ndarray:
        return d.values.integers(0, 256, shape).astype(np.uint8)

    wide = 40 if seed % 2 else 400  # with the second a sum leaves float32
    check("MatMulInteger", [u(3, wide), u(wide, 5), u(1)[0:1].reshape(()), u(1).reshape(())])
    check("ConvInteger", [u(1, 2, 6, 6), u(3, 2, 3, 3), u(1).reshape(()), u(1).reshape(())], pads=[1, 0, 2, 1])
    check("DynamicQuantizeLinear", [d.f(3, 4)], 3)


@pytest.mark.parametrize("seed", range(4))
def test_regions(seed: int) -> None:
    d = Draw(seed)
    corners = np.abs(d.f(3, 4)).cumsum(1) * 3
    image = np.array([[0], [1], [1]], np.float32)
    check("MaxRoiPool", [d.f(2, 2, 9, 9), np.hstack([image, corners])], pooled_shape=[2, 3], spatial_scale=0.7)
    check(
        "RoiAlign", [d.f(2, 2, 9, 9), corners, np.array([0, 1, 1])], opset=16, output_height=2, output_width=3,
        sampling_ratio=seed, spatial_scale=0.7, mode=("avg", "max")[seed % 2],
    )  # fmt: skip


@pytest.mark.parametrize("largest", [0, 1])
def test_topk_takes_the_earlier_of_equal_ones(largest: int) -> None:
    d = Draw(largest)
    for x in (d.f(5, 200), np.round(d.f(5, 200), 1), np.round(d.f(5, 200)), np.zeros((5, 200), np.float32)):
        for count in (1, 3, 150):
            check("TopK", [x, np.array([count])], 2, largest=largest)


@pytest.mark.parametrize("op", ["Erf", "Gelu"])
def test_compiled_activations_agree_with_the_plain_ones(op: str) -> None:
    kernel = CpuBackend(CpuBackend.Config()).kernel(op, {})
    x = np.concatenate([np.linspace(-6, 6, 9999), [0, np.inf, np.nan, 1e-30, -1e-30, 1e30]]).astype(np.float32)
    large = kernel(x)
    due = [math.erf(v) if op == "Erf" else 0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(large, np.float32(due), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(large[:1000], kernel(x[:1000]), rtol=1e-6, atol=1e-6)
