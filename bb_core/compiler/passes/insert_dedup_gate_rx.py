"""Pass 11."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State, nodes_of
from bb_core.ir.entries import is_recv
from bb_core.ir.proto import attribute, set_attribute


def insert_dedup_gate_rx(model: onnx.ModelProto, state: State) -> None:
    """Stamp the duplicate gate on every Recv: what has been seen is dropped before a payload is decoded.

    A duplicate is told by (source, kind, request id, site), so equal payloads of two peers or two rounds both count.

    Needs: Recvs. Leaves: `dedup` among the gates of each. Fails with: nothing.
    """
    for node in nodes_of(model):
        if is_recv(node):
            gates = tuple(attribute(node, keys.GATES, ()))
            set_attribute(node, keys.GATES, tuple(sorted({*gates, keys.GATE_DEDUP})))
