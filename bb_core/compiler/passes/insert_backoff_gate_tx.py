"""Pass 15."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.passes.gates import first_send_with
from bb_core.compiler.state import State


def insert_backoff_gate_tx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the gate that holds back what goes to a peer that asked to wait.

    Needs: Sends that ask for it. Leaves: `backoff` among the gates of each. Fails with: nothing.
    """
    raise NotImplementedError


def needs_backoff_gate_tx(model: onnx.ModelProto) -> str:
    """Name the first Send whose author asked for the gate."""
    return first_send_with(model, keys.GATE_BACKOFF)
