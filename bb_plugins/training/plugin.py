"""Registers the gradient rules of ONNX's ops."""

from __future__ import annotations

from typing import Any, Final

import bb_core as bb

FAMILIES: Final = {
    "elementwise": (
        "Abs Add Cast CastLike Celu Clip Cos Div Dropout Elu Erf Exp Gelu HardSigmoid Identity LeakyRelu Log Max Mean"
        " Min Mul Neg PRelu Pow Reciprocal Relu Selu Sigmoid Sin Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu"
        " Where"
    ),
    "linear": "Conv ConvTranspose Einsum Gemm MatMul",
    "losses": "LogSoftmax NegativeLogLikelihoodLoss Softmax SoftmaxCrossEntropyLoss",
    "normalisation": "BatchNormalization LayerNormalization",
    "reductions": (
        "CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"
        " ReduceSumSquare"
    ),
    "shaping": (
        "Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape ScatterElements ScatterND Slice"
        " SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze"
    ),
    "windows": "AveragePool GlobalAveragePool GlobalMaxPool MaxPool",
}
"""The ops that have a rule, by the module of `bb_plugins.training.rules` that has it."""


@bb.hookimpl
def bb_register_gradients(gradients: Any) -> None:
    """Add the rules, by the table that their modules fill."""
    for ops in FAMILIES.values():
        for op in ops.split():
            gradients.add(op, "bb_plugins.training.rules:RULES")
