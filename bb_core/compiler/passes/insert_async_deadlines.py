"""Pass 16."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State, nodes_of
from bb_core.ir.proto import attribute, data_inputs, set_attribute
from bb_core.ops.spec import Answer
from bb_core.ops.table import find_spec


def insert_async_deadlines(model: onnx.ModelProto, state: State) -> None:
    """Give every op that waits for peers a deadline, where its author wrote none.

    Needs: declared ops. Leaves: `deadline_ns` on ops that wait for the network and have no `deadline` input, marked
    as a default. Fails with: nothing.
    """
    for node in nodes_of(model):
        spec = find_spec(node.domain, node.op_type)
        if spec is None or spec.answer is not Answer.NETWORK or attribute(node, keys.DEADLINE):
            continue
        given = dict(zip((p.name for p in spec.inputs), data_inputs(node), strict=False))
        if not given.get("deadline"):
            set_attribute(node, keys.DEADLINE, state.options.network_deadline_ns)
            set_attribute(node, keys.DEADLINE_DEFAULT, 1)
