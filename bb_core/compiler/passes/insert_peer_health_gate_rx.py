"""Pass 12."""

from __future__ import annotations

import onnx

from bb_core.compiler.passes.gates import stamp
from bb_core.compiler.state import State


def insert_peer_health_gate_rx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that refuses what a blocked peer sends, before a payload is decoded, on every Recv.

    Who is blocked, or alone allowed, is the Node's to say.

    Needs: Recvs. Leaves: `peer_health` among the gates of each. Fails with: nothing.
    """
    stamp(model, state, "insert_peer_health_gate_rx")
