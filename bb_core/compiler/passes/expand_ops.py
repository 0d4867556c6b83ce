"""Pass 4."""

from __future__ import annotations

import onnx

from bb_core.compiler.state import State, nodes_of
from bb_core.ir.proto import source_of
from bb_core.ops.table import find_spec


def expand_ops(model: onnx.ModelProto, state: State) -> None:
    """Replace composite ops (Bundle, Gather) by the ops that they stand for.

    Needs: declared ops. Leaves: none whose declaration names this pass. Fails with: MalformedProgram.
    """
    raise NotImplementedError


def needs_expand_ops(model: onnx.ModelProto) -> str:
    """Name the first op that must be expanded."""
    for node in nodes_of(model):
        spec = find_spec(node.domain, node.op_type)
        if spec is not None and spec.expanded_by == "expand_ops":
            return f"{node.op_type} at {source_of(node)}"
    return ""
