"""Pass 13."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.passes.gates import first_send_with
from bb_core.compiler.state import State


def insert_backoff_gate_rx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that refuses what comes from a peer that was told to wait and did not.

    Needs: Recvs that ask for it. Leaves: `backoff` among the gates of each. Fails with: nothing.
    """
    raise NotImplementedError


def needs_backoff_gate_rx(model: onnx.ModelProto) -> str:
    """Name the first Send whose author asked for the gate."""
    return first_send_with(model, keys.GATE_BACKOFF)
