"""Which ops there are, from which opset on, and what makes their kernels. This is the only list of them.

A row names the opsets in which the meaning of an op changed; new element types alone make no entry. The kernel is the
one of the newest entry that is not above the opset asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from bb_core.errors import RoleError, did_you_mean
from bb_plugins.backends.cpu.node import Kernel, Make, Node, plain, widened
from bb_plugins.backends.cpu.ops import (
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    losses,
    normalisation,
    pooling,
    quantised,
    random,
    recurrent,
    reductions,
    regions,
    resizing,
    sampling,
    sequences,
    shaping,
    signals,
    text,
)
from bb_plugins.backends.cpu.ops.by_function import by_function
from bb_plugins.backends.cpu.ops.elementwise import aligned, folded, like_input, of_alpha

_SOFTMAX = reductions.normalising(reductions.softmax)
_LOG_SOFTMAX = reductions.normalising(reductions.log_softmax)
_HARDMAX = reductions.normalising(reductions.hardmax)
_SUM = reductions.reducing(reductions.total)
_MEAN = reductions.reducing(reductions.average)
_PROD = reductions.reducing(reductions.product)
_MAX = reductions.reducing(reductions.highest)
_MIN = reductions.reducing(reductions.lowest)
_L1 = reductions.reducing(reductions.length1, lone=np.abs)
_L2 = reductions.reducing(reductions.length2, lone=np.abs)
_SQUARES = reductions.reducing(reductions.squares, lone=np.square)
_LOG_SUM = reductions.reducing(reductions.log_sum, lone=np.log)
_LOG_SUM_EXP = reductions.reducing(reductions.log_sum_exp)

_TRAINING = "ai.onnx.preview.training"

OPS: Final[Mapping[tuple[str, str], Mapping[int, Make]]] = {
    # elementwise: arithmetic
    ("", "Abs"): {6: plain(np.abs)},
    ("", "Add"): {6: aligned(np.add), 7: plain(np.add)},
    ("", "Ceil"): {6: plain(np.ceil)},
    ("", "Clip"): {6: elementwise.clip_by_attribute, 11: plain(elementwise.clip)},
    ("", "Div"): {6: aligned(elementwise.divide), 7: plain(elementwise.divide)},
    ("", "Erf"): {9: plain(widened(elementwise.erf))},
    ("", "Exp"): {6: plain(np.exp)},
    ("", "Floor"): {6: plain(np.floor)},
    ("", "Log"): {6: plain(np.log)},
    ("", "Max"): {6: folded(np.maximum)},
    ("", "Mean"): {6: plain(elementwise.mean)},
    ("", "Min"): {6: folded(np.minimum)},
    ("", "Mod"): {10: elementwise.modulo},
    ("", "Mul"): {6: aligned(np.multiply), 7: plain(np.multiply)},
    ("", "Neg"): {6: plain(np.negative)},
    ("", "Pow"): {1: aligned(np.power), 7: elementwise.power},
    ("", "Reciprocal"): {6: like_input(lambda x: 1 / x)},
    ("", "Round"): {11: plain(np.rint)},
    ("", "Sign"): {9: plain(np.sign)},
    ("", "Sqrt"): {6: plain(np.sqrt)},
    ("", "Sub"): {6: aligned(np.subtract), 7: plain(np.subtract)},
    ("", "Sum"): {6: folded(np.add)},
    # elementwise: angles
    ("", "Acos"): {7: plain(np.arccos)},
    ("", "Acosh"): {9: plain(np.arccosh)},
    ("", "Asin"): {7: plain(np.arcsin)},
    ("", "Asinh"): {9: plain(np.arcsinh)},
    ("", "Atan"): {7: plain(np.arctan)},
    ("", "Atanh"): {9: plain(np.arctanh)},
    ("", "Cos"): {7: plain(np.cos)},
    ("", "Cosh"): {9: plain(np.cosh)},
    ("", "Sin"): {7: plain(np.sin)},
    ("", "Sinh"): {9: plain(np.sinh)},
    ("", "Tan"): {7: plain(np.tan)},
    ("", "Tanh"): {6: plain(np.tanh)},
    # elementwise: comparison, logic, bits, types
    ("", "And"): {1: aligned(np.logical_and), 7: plain(np.logical_and)},
    ("", "BitCast"): {26: elementwise.bit_cast},
    ("", "BitShift"): {11: elementwise.bit_shift},
    ("", "BitwiseAnd"): {18: plain(np.bitwise_and)},
    ("", "BitwiseNot"): {18: plain(np.bitwise_not)},
    ("", "BitwiseOr"): {18: plain(np.bitwise_or)},
    ("", "BitwiseXor"): {18: plain(np.bitwise_xor)},
    ("", "Cast"): {6: elementwise.cast},
    ("", "CastLike"): {15: elementwise.cast_like},
    ("", "Equal"): {1: aligned(elementwise.equal), 7: plain(elementwise.equal)},
    ("", "Greater"): {1: aligned(np.greater), 7: plain(np.greater)},
    ("", "GreaterOrEqual"): {12: plain(np.greater_equal)},
    ("", "IsInf"): {10: elementwise.is_inf},
    ("", "IsNaN"): {9: plain(np.isnan)},
    ("", "Less"): {1: aligned(np.less), 7: plain(np.less)},
    ("", "LessOrEqual"): {12: plain(np.less_equal)},
    ("", "Not"): {1: plain(np.logical_not)},
    ("", "Or"): {1: aligned(np.logical_or), 7: plain(np.logical_or)},
    ("", "Where"): {9: plain(np.where)},
    ("", "Xor"): {1: aligned(np.logical_xor), 7: plain(np.logical_xor)},
    # elementwise: activations
    ("", "Celu"): {12: of_alpha(1.0, elementwise.celu)},
    ("", "Elu"): {6: of_alpha(1.0, elementwise.elu)},
    ("", "Gelu"): {20: elementwise.gelu},
    ("", "HardSigmoid"): {6: elementwise.hard_sigmoid},
    ("", "HardSwish"): {14: like_input(elementwise.hard_swish)},
    ("", "LeakyRelu"): {6: of_alpha(0.01, elementwise.leaky)},
    ("", "Mish"): {18: like_input(lambda x: x * np.tanh(elementwise.softplus(x)))},
    ("", "PRelu"): {6: plain(elementwise.prelu_by_channel), 7: plain(elementwise.prelu)},
    ("", "Relu"): {6: plain(elementwise.relu)},
    ("", "Selu"): {6: elementwise.selu},
    ("", "Shrink"): {9: elementwise.shrink},
    ("", "Sigmoid"): {6: plain(elementwise.sigmoid)},
    ("", "Softplus"): {1: plain(elementwise.softplus)},
    ("", "Softsign"): {1: like_input(lambda x: x / (1 + np.abs(x)))},
    ("", "SwiGLU"): {28: by_function},
    ("", "Swish"): {24: of_alpha(1.0, elementwise.swish)},
    ("", "ThresholdedRelu"): {10: of_alpha(1.0, lambda x, alpha: np.where(x > alpha, x, 0))},
    # along axes
    ("", "ArgMax"): {1: reductions.arg_extreme(np.argmax)},
    ("", "ArgMin"): {1: reductions.arg_extreme(np.argmin)},
    ("", "CumProd"): {26: reductions.running(np.cumprod, 1)},
    ("", "CumSum"): {11: reductions.running(np.cumsum, 0)},
    ("", "Hardmax"): {1: _HARDMAX[1], 13: _HARDMAX[0]},
    ("", "LogSoftmax"): {1: _LOG_SOFTMAX[1], 13: _LOG_SOFTMAX[0]},
    ("", "ReduceL1"): {1: _L1(False), 18: _L1(True)},
    ("", "ReduceL2"): {1: _L2(False), 18: _L2(True)},
    ("", "ReduceLogSum"): {1: _LOG_SUM(False), 18: _LOG_SUM(True)},
    ("", "ReduceLogSumExp"): {1: _LOG_SUM_EXP(False), 18: _LOG_SUM_EXP(True)},
    ("", "ReduceMax"): {1: _MAX(False), 18: _MAX(True)},
    ("", "ReduceMean"): {1: _MEAN(False), 18: _MEAN(True)},
    ("", "ReduceMin"): {1: _MIN(False), 18: _MIN(True)},
    ("", "ReduceProd"): {1: _PROD(False), 18: _PROD(True)},
    ("", "ReduceSum"): {1: _SUM(False), 13: _SUM(True)},
    ("", "ReduceSumSquare"): {1: _SQUARES(False), 18: _SQUARES(True)},
    ("", "Softmax"): {1: _SOFTMAX[1], 13: _SOFTMAX[0]},
    ("", "TopK"): {1: reductions.top_k},
    # shapes
    ("", "CenterCropPad"): {18: shaping.center_crop_pad},
    ("", "Concat"): {4: shaping.concat},
    ("", "Constant"): {1: shaping.constant},
    ("", "ConstantOfShape"): {9: shaping.constant_of_shape},
    ("", "DepthToSpace"): {1: shaping.depth_to_space},
    ("", "Expand"): {8: plain(shaping.expand)},
    ("", "EyeLike"): {9: shaping.eye_like},
    ("", "Flatten"): {1: shaping.flatten},
    ("", "Identity"): {1: plain(shaping.identity)},
    ("", "Pad"): {2: shaping.pad_by_attribute, 11: shaping.pad},
    ("", "Range"): {11: plain(shaping.range_)},
    ("", "Reshape"): {5: shaping.reshape},
    ("", "ReverseSequence"): {10: shaping.reverse_sequence},
    ("", "Shape"): {1: shaping.shape},
    ("", "Size"): {1: plain(shaping.size)},
    ("", "Slice"): {1: shaping.slice_by_attribute, 10: shaping.slice_},
    ("", "SpaceToDepth"): {1: shaping.space_to_depth},
    ("", "Split"): {2: shaping.split},
    ("", "Squeeze"): {1: shaping.squeeze_by_attribute, 13: shaping.squeeze},
    ("", "Tile"): {6: plain(shaping.tile)},
    ("", "Transpose"): {1: shaping.transpose},
    ("", "Trilu"): {14: shaping.trilu},
    ("", "Unique"): {11: shaping.unique},
    ("", "Unsqueeze"): {1: shaping.unsqueeze_by_attribute, 13: shaping.unsqueeze},
    # places
    ("", "Compress"): {9: indexing.compress},
    ("", "Gather"): {1: indexing.gather},
    ("", "GatherElements"): {11: indexing.gather_elements},
    ("", "GatherND"): {11: indexing.gather_nd},
    ("", "NonZero"): {9: plain(indexing.non_zero)},
    ("", "OneHot"): {9: indexing.one_hot},
    ("", "Scatter"): {9: indexing.scatter_elements},
    ("", "ScatterElements"): {11: indexing.scatter_elements},
    ("", "ScatterND"): {11: indexing.scatter_nd},
    ("", "TensorScatter"): {24: indexing.tensor_scatter},
    # products
    ("", "Det"): {11: plain(linear.determinant)},
    ("", "Einsum"): {12: linear.einsum},
    ("", "Gemm"): {6: linear.gemm},
    ("", "MatMul"): {1: plain(linear.matmul)},
    # convolution and pooling
    ("", "AveragePool"): {1: pooling.average_pool},
    ("", "Col2Im"): {18: convolution.col2im},
    ("", "Conv"): {1: convolution.conv},
    ("", "ConvTranspose"): {1: convolution.conv_transpose},
    ("", "GlobalAveragePool"): {1: pooling.over_all_space(pooling.global_average)},
    ("", "GlobalLpPool"): {2: pooling.over_all_space(pooling.global_lp)},
    ("", "GlobalMaxPool"): {1: pooling.over_all_space(pooling.global_max)},
    ("", "LpPool"): {2: pooling.lp_pool},
    ("", "MaxPool"): {1: pooling.max_pool},
    ("", "MaxUnpool"): {9: pooling.max_unpool},
    # normalisation
    ("", "BatchNormalization"): {6: normalisation.batch_normalization},
    ("", "Dropout"): {6: normalisation.dropout_by_attribute, 12: normalisation.dropout},
    ("", "GroupNormalization"): {18: normalisation.group_normalization},
    ("", "InstanceNormalization"): {6: normalisation.instance_normalization},
    ("", "LRN"): {1: normalisation.lrn},
    ("", "LayerNormalization"): {17: normalisation.layer_normalization},
    ("", "LpNormalization"): {1: normalisation.lp_normalization},
    ("", "MeanVarianceNormalization"): {9: normalisation.mean_variance_normalization},
    ("", "RMSNormalization"): {23: normalisation.rms_normalization},
    # recurrent layers and attention
    ("", "Attention"): {23: by_function},
    ("", "CausalConvWithState"): {27: by_function},
    ("", "GRU"): {7: recurrent.layer(recurrent.gru_step, 3, 1, ("sigmoid", "tanh"))},
    ("", "LSTM"): {7: recurrent.layer(recurrent.lstm_step, 4, 2, ("sigmoid", "tanh", "tanh"))},
    ("", "LinearAttention"): {27: by_function},
    ("", "RNN"): {7: recurrent.layer(recurrent.rnn_step, 1, 1, ("tanh",))},
    ("", "RotaryEmbedding"): {23: by_function},
    ("ai.onnx.preview", "FlexAttention"): {1: by_function},
    # quantised tensors
    ("", "ConvInteger"): {10: quantised.conv_integer},
    ("", "DequantizeLinear"): {10: quantised.dequantize},
    ("", "DynamicQuantizeLinear"): {11: plain(quantised.dynamic_quantize)},
    ("", "MatMulInteger"): {10: plain(quantised.matmul_integer)},
    ("", "QLinearConv"): {10: quantised.q_linear_conv},
    ("", "QLinearMatMul"): {10: plain(quantised.q_linear_matmul)},
    ("", "QuantizeLinear"): {10: quantised.quantize},
    # control flow, sequences, optional values
    ("", "ConcatFromSequence"): {11: sequences.concat_from},
    ("", "If"): {1: control.if_},
    ("", "Loop"): {1: control.loop},
    ("", "Optional"): {15: sequences.optional},
    ("", "OptionalGetElement"): {15: plain(sequences.get_element)},
    ("", "OptionalHasElement"): {15: plain(sequences.has_element)},
    ("", "Scan"): {8: control.scan_of_batch, 9: control.scan},
    ("", "SequenceAt"): {11: plain(sequences.at)},
    ("", "SequenceConstruct"): {11: plain(sequences.construct)},
    ("", "SequenceEmpty"): {11: sequences.empty},
    ("", "SequenceErase"): {11: plain(sequences.erase)},
    ("", "SequenceInsert"): {11: plain(sequences.insert)},
    ("", "SequenceLength"): {11: plain(sequences.length)},
    ("", "SequenceMap"): {17: control.sequence_map},
    ("", "SplitToSequence"): {11: sequences.split_to},
    # images
    ("", "AffineGrid"): {20: by_function},
    ("", "DeformConv"): {19: sampling.deform_conv},
    ("", "GridSample"): {16: sampling.grid_sample},
    ("", "MaxRoiPool"): {1: regions.max_roi_pool},
    ("", "NonMaxSuppression"): {10: regions.non_max_suppression},
    ("", "Resize"): {10: resizing.resize_by_scales, 11: resizing.resize},
    ("", "RoiAlign"): {10: regions.roi_align},
    ("", "Upsample"): {9: resizing.resize_by_scales},
    # signals
    ("", "BlackmanWindow"): {17: by_function},
    ("", "DFT"): {17: signals.dft_by_attribute, 20: signals.dft},
    ("", "HammingWindow"): {17: by_function},
    ("", "HannWindow"): {17: by_function},
    ("", "MelWeightMatrix"): {17: signals.mel_weights},
    ("", "STFT"): {17: signals.stft},
    # random draws
    ("", "Bernoulli"): {15: random.bernoulli},
    ("", "Multinomial"): {7: random.multinomial},
    ("", "RandomNormal"): {1: random.of_shape(random.normal)},
    ("", "RandomNormalLike"): {1: random.like(random.normal)},
    ("", "RandomUniform"): {1: random.of_shape(random.uniform)},
    ("", "RandomUniformLike"): {1: random.like(random.uniform)},
    # text
    ("", "RegexFullMatch"): {20: text.full_match},
    ("", "StringConcat"): {20: plain(text.concat)},
    ("", "StringNormalizer"): {10: text.normalize},
    ("", "StringSplit"): {20: text.split},
    ("", "TfIdfVectorizer"): {9: text.tf_idf},
    # losses and optimizers
    ("", "NegativeLogLikelihoodLoss"): {12: losses.negative_log_likelihood},
    ("", "SoftmaxCrossEntropyLoss"): {12: losses.softmax_cross_entropy},
    (_TRAINING, "Adagrad"): {1: losses.optimizer(1, losses.adagrad)},
    (_TRAINING, "Adam"): {1: losses.optimizer(2, losses.adam)},
    (_TRAINING, "Momentum"): {1: losses.optimizer(1, losses.momentum)},
}

NAMES: Final = frozenset(f"{domain}.{name}" if domain else name for domain, name in OPS)
"""The ops that have a kernel; those of a domain that is not ONNX's own are named with it."""
OLDEST: Final = 6
"""Opset from which on nearly all ops are there; the rows tell the rest."""
NEWEST: Final = 28
"""Newest opset whose changes the rows have been read for."""


def kernel_of(node: Node) -> Kernel:
    """Make the kernel of an op.

    Raises:
        RoleError: there is none, or none of so old a version.
    """
    versions = OPS.get((node.domain, node.op))
    if versions is None:
        where = f" of {node.domain}" if node.domain else ""
        raise RoleError(f"CpuBackend has no op {node.op!r}{where}", hint=did_you_mean(node.op, NAMES))
    since = max((v for v in versions if v <= node.version), default=None)
    if since is None:
        raise RoleError(
            f"CpuBackend has no {node.op} of opset {node.version}",
            expected=f"opset {min(versions)} or later",
            hint="convert the model with onnx.version_converter",
        )
    return versions[since](node)


def gives_several(domain: str, op: str) -> bool:
    """Say whether a kernel returns a tuple: it does if ONNX lets the op have more than one output."""
    from onnx import defs

    return bool(defs.get_schema(op, domain).max_output > 1)
