"""A trial: a graph is run once, op by op, to see what shapes its values have for inputs of these shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.graph import Graph
from bb_plugins.backends.cpu.plans.program import ABSENT, Known, Op, known_of

_UNFIXED: Final = frozenset({
    "Compress", "ConcatFromSequence", "If", "Loop", "NonMaxSuppression", "NonZero", "Optional", "OptionalGetElement",
    "OptionalHasElement", "Scan", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence", "StringSplit", "Unique",
})  # fmt: skip
"""Ops whose outputs have shapes that depend on what is in the inputs."""

_SHAPED_BY: Final = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2), "ConstantOfShape": (0,),
    "DFT": (1, 2), "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Resize": (1, 2, 3), "STFT": (1, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,),
} | {f"Reduce{kind}": (1,) for kind in (
    "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
)}  # fmt: skip
"""Op -> the inputs that say what shape its output has."""

_DRAWS: Final = frozenset({
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Ops that draw numbers, and are never constant."""


def trial(graph: Graph, inputs: Sequence[Any]) -> tuple[list[Known], list[Op]]:
    """Run a graph, and return what is known of each of its values, and those of its ops that are not constant."""
    known = [Known() for _ in range(graph.size)]
    known[ABSENT] = Known(fixed=True)
    values: list[Any] = [None] * graph.size
    for at, value in graph.constants:
        values[at], known[at] = value, known_of(value, constant=True, fixed=True)
    for at, value in zip(graph.inputs_at, inputs, strict=True):
        values[at], known[at] = value, known_of(value, constant=False, fixed=True)
    ops = []
    for step in graph.steps:
        op = Op(step.node, step.kernel, step.inputs, step.outputs)
        found = step.kernel(*[values[i] for i in step.inputs])
        constant, fixed = _is_constant(op, known), _is_fixed(op, known)
        for at, value in zip(step.outputs, found if type(found) is tuple else (found,), strict=False):
            if at:
                values[at] = np.asarray(value) if isinstance(value, np.generic) else value
                known[at] = known_of(values[at], constant=constant, fixed=fixed)
        if not constant:
            ops.append(op)
        for at in step.over:
            values[at] = None
    return known, ops


def _is_constant(op: Op, known: Sequence[Known]) -> bool:
    if op.node.op in ("Shape", "Size"):
        return known[op.inputs[0]].fixed
    if op.node.op in _DRAWS or op.node.op in _UNFIXED or op.node.domain:
        return False
    return all(v == ABSENT or known[v].constant is not None for v in op.inputs)


def _is_fixed(op: Op, known: Sequence[Known]) -> bool:
    if op.node.op in _UNFIXED or op.node.domain:
        return False
    if not all(known[v].fixed for v in op.inputs):
        return False
    return all(known[v].constant is not None for v in _shapers(op))


def _shapers(op: Op) -> Iterator[int]:
    for index in _SHAPED_BY.get(op.node.op, ()):
        if index < len(op.inputs) and op.inputs[index] != ABSENT:
            yield op.inputs[index]
