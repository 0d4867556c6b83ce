"""Pass 15."""

from __future__ import annotations

import onnx

from bb_core.compiler.passes.gates import stamp
from bb_core.compiler.state import State


def insert_backoff_gate_tx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that leaves peers in cooldown out of what is sent, where the author of the Send asked for it.

    A peer cools down for longer after each failure to reach it.

    Needs: Sends. Leaves: `backoff` among the gates of those that ask. Fails with: nothing.
    """
    stamp(model, state, "insert_backoff_gate_tx")
