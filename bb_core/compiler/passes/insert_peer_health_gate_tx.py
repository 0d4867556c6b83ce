"""Pass 14."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.passes.gates import first_send_with
from bb_core.compiler.state import State


def insert_peer_health_gate_tx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that holds back what goes to a peer that is down or blocked.

    Needs: Sends that ask for it. Leaves: `peer_health` among the gates of each. Fails with: nothing.
    """
    raise NotImplementedError


def needs_peer_health_gate_tx(model: onnx.ModelProto) -> str:
    """Name the first Send whose author asked for the gate."""
    return first_send_with(model, keys.GATE_PEER_HEALTH)
