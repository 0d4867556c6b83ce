"""What the gate passes share."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import nodes_of
from bb_core.ir.proto import attribute, source_of


def first_send_with(model: onnx.ModelProto, gate: str) -> str:
    """Say where the first Send is that asks for a gate; empty when none does."""
    for node in nodes_of(model):
        if (node.domain, node.op_type) == (keys.WIRE, "Send") and gate in attribute(node, keys.GATES, ()):
            return f"the Send at {source_of(node)} asks for the gate {gate!r}"
    return ""
