"""Small networks as ONNX models, for whoever has none: `GraphModel.Config(graph=mlp(64, 128, 10))`.

All are given as bytes, begin with parameters drawn from `seed` alone, and take any number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
IR_VERSION = 10


class _Network:
    """Writes layers one after another."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = np.random.Generator(np.random.Philox(seed))
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, npt.NDArray[Any]] = {}

    def uniform(self, name: str, shape: Sequence[int], fan_in: int) -> str:
        """A parameter, uniform in +-1/sqrt(fan_in)."""
        bound = 1 / np.sqrt(fan_in)
        self.arrays[name] = self.random.uniform(-bound, bound, shape).astype(np.float32)
        return name

    def op(self, op_type: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add a node of one output."""
        out = out or f"{op_type.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [out], out, **attributes))
        return out

    def dense(self, x: str, name: str, n_in: int, n_out: int, out: str = "") -> str:
        """X W + b."""
        weight, bias = self.uniform(f"{name}.weight", (n_in, n_out), n_in), self.uniform(f"{name}.bias", (n_out,), n_in)
        return self.op("Gemm", x, weight, bias, out=out)

    def done(self, shape: Sequence[int], classes: int, out: str) -> bytes:
        """Put the model together."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("batch", TensorProto.FLOAT, ["b", *shape])],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["b", classes])],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="bytesandbrains"
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def mlp(*layers: int, seed: int = 0) -> bytes:
    """Fully connected layers with ReLU between them: batch (b, layers[0]) to logits (b, layers[-1])."""
    if len(layers) < 2:
        raise ValueError(f"layers is {layers}; expected two widths or more")
    net = _Network("mlp", seed)
    x = "batch"
    for number, (n_in, n_out) in enumerate(pairwise(layers)):
        is_last = number == len(layers) - 2
        x = net.dense(x, f"dense{number}", n_in, n_out, "logits" if is_last else "")
        x = x if is_last else net.op("Relu", x)
    return net.done((layers[0],), layers[-1], "logits")


def cnn(side: int = 8, channels: int = 1, width: int = 8, classes: int = 10, seed: int = 0) -> bytes:
    """Twice convolution 3x3, ReLU and pooling 2x2, then one dense layer.

    Shape:
        batch (b, channels, side, side), or (b, channels * side * side), which is given that shape · logits (b, classes)
    """
    net = _Network("cnn", seed)
    net.arrays["picture"] = np.asarray([-1, channels, side, side], np.int64)
    x = net.op("Reshape", "batch", "picture")
    for number, (n_in, n_out) in enumerate(((channels, width), (width, 2 * width))):
        weight = net.uniform(f"conv{number}.weight", (n_out, n_in, 3, 3), 9 * n_in)
        bias = net.uniform(f"conv{number}.bias", (n_out,), 9 * n_in)
        x = net.op("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    left = side // 4
    x = net.op("Flatten", x)
    net.dense(x, "dense", 2 * width * left * left, classes, "logits")
    return net.done((channels * side * side,), classes, "logits")


def transformer(
    tokens: int = 64, width: int = 128, layers: int = 4, heads: int = 4, classes: int = 10, seed: int = 0
) -> bytes:
    """An encoder (Vaswani et al. 2017) that is normalised first, has GELUs of four times the width, and ends in a mean.

    Shape:
        batch (b, tokens, width), embedded already · logits (b, classes)
    """
    if width % heads:
        raise ValueError(f"width is {width}, and heads {heads}; expected a width that they divide")
    net = _Network("transformer", seed)
    net.arrays["parted"] = np.asarray([0, tokens, heads, width // heads], np.int64)
    net.arrays["joined"] = np.asarray([0, tokens, width], np.int64)
    net.arrays["middle"] = np.asarray([1], np.int64)
    x = "batch"
    for number in range(layers):
        x = _encoder_layer(net, x, f"layer{number}", width, heads)
    x = net.op("ReduceMean", _norm(net, x, "norm", width), "middle", keepdims=0)
    net.dense(x, "dense", width, classes, "logits")
    return net.done((tokens, width), classes, "logits")


def _norm(net: _Network, x: str, name: str, width: int) -> str:
    net.arrays[f"{name}.weight"] = np.ones(width, np.float32)
    net.arrays[f"{name}.bias"] = np.zeros(width, np.float32)
    return net.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias")


def _linear(net: _Network, x: str, name: str, n_in: int, n_out: int) -> str:
    """X W + b along the last axis."""
    weight, bias = net.uniform(f"{name}.weight", (n_in, n_out), n_in), net.uniform(f"{name}.bias", (n_out,), n_in)
    return net.op("Add", net.op("MatMul", x, weight), bias)


def _encoder_layer(net: _Network, x: str, name: str, width: int, heads: int) -> str:
    """Attention and a small network, each beside a path around it."""
    shrunk = float((width // heads) ** -0.5)
    scale = net.op("Constant", value_float=shrunk)  # an initializer would be trained
    seen = _norm(net, x, f"{name}.norm0", width)

    def of_heads(part: str, order: list[int]) -> str:
        linear = _linear(net, seen, f"{name}.{part}", width, width)
        return net.op("Transpose", net.op("Reshape", linear, "parted"), perm=order)

    query, key, value = of_heads("query", [0, 2, 1, 3]), of_heads("key", [0, 2, 3, 1]), of_heads("value", [0, 2, 1, 3])
    weights = net.op("Softmax", net.op("Mul", net.op("MatMul", query, key), scale))
    mixed = net.op("Transpose", net.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    x = net.op("Add", x, _linear(net, net.op("Reshape", mixed, "joined"), f"{name}.out", width, width))
    raised = net.op("Gelu", _linear(net, _norm(net, x, f"{name}.norm1", width), f"{name}.up", width, 4 * width))
    return net.op("Add", x, _linear(net, raised, f"{name}.down", 4 * width, width))
