"""Pass 13."""

from __future__ import annotations

import onnx

from bb_core.compiler.passes.gates import stamp
from bb_core.compiler.state import State


def insert_backoff_gate_rx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that refuses what a peer in cooldown sends, where the author of the Send asked for it.

    It is not on every Recv: a peer that was hard to reach may well have the answer that is waited for.

    Needs: Recvs. Leaves: `backoff` among the gates of those that ask. Fails with: nothing.
    """
    stamp(model, state, "insert_backoff_gate_rx")
