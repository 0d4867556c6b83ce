"""The ops of `ai.onnx` that onnxruntime computes on a CPU, and that fit the Role: tensors in and out, nothing random.

A table and not a question to onnxruntime, so that a program can be compiled where it is not installed. Tests hold it
against the kernels that an installed onnxruntime has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

ONE_OUTPUT: Final = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AffineGrid", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh",
    "AveragePool", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "BlackmanWindow", "Cast",
    "Ceil", "Celu", "Clip", "Col2Im", "Compress", "Concat", "ConstantOfShape", "Conv", "ConvInteger",
    "ConvTranspose", "Cos", "Cosh", "CumSum", "DFT", "DeformConv", "DepthToSpace", "DequantizeLinear", "Det", "Div",
    "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "GridSample", "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
    "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "LpNormalization", "LpPool", "MatMul", "MatMulInteger", "Max", "MaxRoiPool", "MaxUnpool", "Mean",
    "MeanVarianceNormalization", "MelWeightMatrix", "Min", "Mish", "Mod", "Mul", "Neg", "NonMaxSuppression",
    "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
    "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence",
    "RoiAlign", "Round", "STFT", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Sqrt", "Squeeze", "Sub",
    "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})  # fmt: skip

FIRST_OUTPUT: Final = frozenset({"BatchNormalization", "Dropout", "LayerNormalization", "MaxPool", "Unique"})
"""Ops with further outputs that may be left out, and are."""

SEVERAL: Final[Mapping[str, Callable[[Mapping[str, Any], Sequence[Any]], int]]] = {
    "DynamicQuantizeLinear": lambda attributes, inputs: 3,
    "If": lambda attributes, inputs: len(attributes["then_branch"].output),
    "Loop": lambda attributes, inputs: len(attributes["body"].output) - 1,  # its first says whether to go on
    "Scan": lambda attributes, inputs: len(attributes["body"].output),
    "Split": lambda attributes, inputs: attributes.get("num_outputs") or len(inputs[1]),
    "TopK": lambda attributes, inputs: 2,
}
"""Op -> how many outputs it has, by its attributes and inputs."""

OPS: Final = ONE_OUTPUT | FIRST_OUTPUT | SEVERAL.keys()


def outputs_of(name: str, attributes: Mapping[str, Any], inputs: Sequence[Any]) -> int:
    """Return how many outputs an op of `OPS` has."""
    return SEVERAL[name](attributes, inputs) if name in SEVERAL else 1
