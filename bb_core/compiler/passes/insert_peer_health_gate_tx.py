"""Pass 14."""

from __future__ import annotations

import onnx

from bb_core.compiler.passes.gates import stamp
from bb_core.compiler.state import State


def insert_peer_health_gate_tx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that leaves blocked peers out of what is sent, on every Send.

    The others get theirs; a Step says who was left out.

    Needs: Sends. Leaves: `peer_health` among the gates of each. Fails with: nothing.
    """
    stamp(model, state, "insert_peer_health_gate_tx")
