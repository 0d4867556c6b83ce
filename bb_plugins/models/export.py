"""Writes a trained network as a plain ONNX file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""Old enough for every runtime in use, new enough for Gemm and Relu as they are."""
IR_VERSION = 8


def export_mlp(layers: tuple[int, ...], params: npt.NDArray[np.float32], path: str) -> None:
    """Write Gemm and Relu nodes with the parameters as initializers.

    Args:
        layers: Width of the input and of each layer.
        params: (d,) f32, as `bb_plugins.models.mlp.MLP` lays them out.
        path: File to write.
    """
    nodes, tensors = [], []
    at, value, last = 0, "batch", len(layers) - 2
    for layer, (n_in, n_out) in enumerate(pairwise(layers)):
        weight = params[at : at + n_in * n_out].reshape(n_in, n_out)
        bias = params[at + n_in * n_out : at + (n_in + 1) * n_out]
        at += (n_in + 1) * n_out
        names = f"weight_{layer}", f"bias_{layer}"
        tensors += [numpy_helper.from_array(a, n) for a, n in zip((weight, bias), names, strict=True)]
        out = "logits" if layer == last else f"sum_{layer}"
        nodes.append(helper.make_node("Gemm", [value, *names], [out], f"gemm_{layer}"))
        if layer != last:
            value = f"hidden_{layer}"
            nodes.append(helper.make_node("Relu", [out], [value], f"relu_{layer}"))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("batch", TensorProto.FLOAT, ["n", layers[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", layers[-1]])],
        tensors,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="bytesandbrains")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
