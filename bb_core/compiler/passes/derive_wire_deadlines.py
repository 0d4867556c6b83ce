"""Pass 2."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State, nodes_of
from bb_core.ir.proto import attribute, set_attribute


def derive_wire_deadlines(model: onnx.ModelProto, state: State) -> None:
    """Give every Send the time within which its Envelope must be handed over.

    It bounds delivery alone: what a peer computes after that is bounded by the collect or gather that waits for it.

    Needs: Sends. Leaves: `delivery_ns` on each that had none. Fails with: nothing.
    """
    for node in nodes_of(model):
        if (node.domain, node.op_type) == (keys.WIRE, "Send") and not attribute(node, keys.DELIVERY):
            set_attribute(node, keys.DELIVERY, state.options.per_hop_budget_ns)
