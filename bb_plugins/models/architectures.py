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

    def normal(self, name: str, shape: Sequence[int]) -> str:
        """A parameter, normal with deviation 0.02."""
        self.arrays[name] = self.random.standard_normal(shape, np.float32) * np.float32(0.02)
        return name

    def ops(self, op_type: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node of several outputs."""
        outs = [f"{op_type.lower()}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), outs, outs[0], **attributes))
        return outs

    def linear(self, x: str, name: str, n_in: int, n_out: int) -> str:
        """X W + b, of the last axis; the bias begins at 0."""
        weight = self.normal(f"{name}.weight", (n_in, n_out))
        self.arrays[f"{name}.bias"] = np.zeros(n_out, np.float32)
        return self.op("Add", self.op("MatMul", x, weight), f"{name}.bias")

    def normalised(self, x: str, name: str, width: int) -> str:
        """Layer normalisation of the last axis."""
        self.arrays[f"{name}.scale"] = np.ones(width, np.float32)
        self.arrays[f"{name}.bias"] = np.zeros(width, np.float32)
        return self.op("LayerNormalization", x, f"{name}.scale", f"{name}.bias", axis=-1)

    def done(self, shape: Sequence[int], classes: int, out: str) -> bytes:
        """Put a model of real numbers and classes together."""
        return self.finish(
            helper.make_tensor_value_info("batch", TensorProto.FLOAT, ["b", *shape]),
            helper.make_tensor_value_info(out, TensorProto.FLOAT, ["b", classes]),
        )

    def finish(self, taken: onnx.ValueInfoProto, given: onnx.ValueInfoProto) -> bytes:
        """Put the model together."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [taken],
            [given],
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
    x = net.op("ReduceMean", net.normalised(x, "norm", width), "middle", keepdims=0)
    net.dense(x, "dense", width, classes, "logits")
    return net.done((tokens, width), classes, "logits")


def _encoder_layer(net: _Network, x: str, name: str, width: int, heads: int) -> str:
    """Attention and a small network, each beside a path around it."""
    shrunk = float((width // heads) ** -0.5)
    scale = net.op("Constant", value_float=shrunk)  # an initializer would be trained
    seen = net.normalised(x, f"{name}.norm0", width)

    def of_heads(part: str, order: list[int]) -> str:
        linear = net.linear(seen, f"{name}.{part}", width, width)
        return net.op("Transpose", net.op("Reshape", linear, "parted"), perm=order)

    query, key, value = of_heads("query", [0, 2, 1, 3]), of_heads("key", [0, 2, 3, 1]), of_heads("value", [0, 2, 1, 3])
    weights = net.op("Softmax", net.op("Mul", net.op("MatMul", query, key), scale))
    mixed = net.op("Transpose", net.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    x = net.op("Add", x, net.linear(net.op("Reshape", mixed, "joined"), f"{name}.out", width, width))
    raised = net.op("Gelu", net.linear(net.normalised(x, f"{name}.norm1", width), f"{name}.up", width, 4 * width))
    return net.op("Add", x, net.linear(raised, f"{name}.down", 4 * width, width))


def gpt(
    vocabulary: int = 50257, length: int = 64, layers: int = 12, width: int = 768, heads: int = 12, seed: int = 0
) -> bytes:
    """A decoder of the shape of GPT-2 (Radford et al. 2019); without arguments GPT-2 small, of 124 million weights.

    Normalised before attention and network, GELU by tanh, one matrix for embedding and logits, learnt positions. The
    weights begin normal with deviation 0.02. Its causal mask and the divisor of its scores are initializers too, and
    not to be trained: `frozen=("mask", "depth")`.

    Shape:
        tokens (b, length) i64 · logits (b, length, vocabulary)
    """
    if width % heads:
        raise ValueError(f"width is {width} and heads is {heads}; expected a width that they divide")
    net = _Network("gpt", seed)
    net.normal("embedding", (vocabulary, width))
    net.normal("positions", (length, width))
    net.arrays["split"] = np.asarray([0, length, heads, width // heads], np.int64)
    net.arrays["joined"] = np.asarray([0, length, width], np.int64)
    net.arrays["mask"] = np.triu(np.full((length, length), -1e9, np.float32), 1)
    x = net.op("Add", net.op("Gather", "embedding", "tokens", axis=0), "positions")
    for layer in range(layers):
        x = net.op(
            "Add", x, _attention(net, net.normalised(x, f"{layer}.norm1", width), f"{layer}.attention", width, heads)
        )
        hidden = net.linear(net.normalised(x, f"{layer}.norm2", width), f"{layer}.up", width, 4 * width)
        x = net.op("Add", x, net.linear(net.op("Gelu", hidden, approximate="tanh"), f"{layer}.down", 4 * width, width))
    x = net.normalised(x, "norm", width)
    net.op("MatMul", x, net.op("Transpose", "embedding", perm=[1, 0]), out="logits")
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["b", length])
    return net.finish(tokens, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", length, vocabulary]))


def _attention(net: _Network, x: str, name: str, width: int, heads: int) -> str:
    """Causal self-attention (Vaswani et al. 2017, section 3.2.2)."""
    parts = net.ops("Split", 3, net.linear(x, f"{name}.in", width, 3 * width), axis=-1, num_outputs=3)
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])  # queries and values by position, keys by depth
    q, k, v = (net.op("Transpose", net.op("Reshape", p, "split"), perm=o) for p, o in zip(parts, orders, strict=True))
    net.arrays.setdefault("depth", np.asarray((width // heads) ** 0.5, np.float32))
    scores = net.op("Add", net.op("Div", net.op("MatMul", q, k), "depth"), "mask")
    mixed = net.op("Transpose", net.op("MatMul", net.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return net.linear(net.op("Reshape", mixed, "joined"), f"{name}.out", width, width)
