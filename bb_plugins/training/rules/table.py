"""The table of gradient rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import onnx

from bb_core.plugins import installed_plugins
from bb_plugins.training.tape import Tape

Grads = Sequence[str | None]
Rule = Callable[[Tape, onnx.NodeProto, Sequence[str | None]], Sequence[str | None]]

RULES: Final[dict[str, Rule]] = {}
"""By op of ai.onnx: what the modules beside this one have. Plugins have others; `find_rule` knows all."""

CONSTANT: Final = frozenset({
    "ArgMax", "ArgMin", "BitShift", "Ceil", "ConstantOfShape", "Constant", "Equal", "EyeLike", "Floor", "Greater",
    "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "OneHot", "Or", "And", "Xor", "Range",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Round", "Shape", "Sign", "Size",
})  # fmt: skip
"""Ops through which nothing flows back: their outputs are no smooth function of their inputs."""

SAVED: Final[dict[str, int]] = {}
"""How many outputs an op must have so that its rule can use them."""


def find_rule(op: str, domain: str = "") -> Rule | None:
    """Return the rule that a plugin, first of all this one, has registered for an op."""
    gradients = installed_plugins().gradients
    entry = gradients.find(op, "" if domain == "ai.onnx" else domain)
    return None if entry is None else gradients.resolve(entry)


def lets_nothing_through(node: onnx.NodeProto) -> bool:
    """Whether no gradient flows back through a node."""
    return node.op_type in CONSTANT and find_rule(node.op_type, node.domain) is None


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register the rule of some ops."""

    def register(function: Rule) -> Rule:
        for op in ops:
            RULES[op] = function
        return function

    return register


def saves(op: str, outputs: int) -> None:
    """Say that an op's rule uses so many of its outputs: the graph is made to compute them."""
    SAVED[op] = outputs
