"""Pass 11."""

from __future__ import annotations

import onnx

from bb_core.compiler.passes.gates import stamp
from bb_core.compiler.state import State


def insert_dedup_gate_rx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the duplicate gate on every Recv: what has been seen is dropped before a payload is decoded.

    A duplicate is told by (source, kind, request id, site), so equal payloads of two peers or two rounds both count.

    Needs: Recvs. Leaves: `dedup` among the gates of each. Fails with: nothing.
    """
    stamp(model, state, "insert_dedup_gate_rx")
