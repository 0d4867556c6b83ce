"""The one table of gates: which ops each stands on, and whether it always does or only where an author asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx

from bb_core import keys
from bb_core.compiler.state import State, nodes_of
from bb_core.ir.proto import attribute, set_attribute


@dataclass(frozen=True, slots=True)
class GateRule:
    """Where a gate stands.

    Attributes:
        side: `Recv`, enforced before a payload is decoded; or `Send`, before an Envelope leaves.
        always: Whether every op of that side gets it; otherwise those whose author named it (`g.send(gates=...)`).
    """

    stamped_by: str
    side: str
    gate: str
    always: bool


RULES: Final = {
    rule.stamped_by: rule
    for rule in (
        GateRule("insert_dedup_gate_rx", "Recv", keys.GATE_DEDUP, True),
        GateRule("insert_peer_health_gate_rx", "Recv", keys.GATE_PEER_HEALTH, True),
        GateRule("insert_backoff_gate_rx", "Recv", keys.GATE_BACKOFF, False),
        GateRule("insert_peer_health_gate_tx", "Send", keys.GATE_PEER_HEALTH, True),
        GateRule("insert_backoff_gate_tx", "Send", keys.GATE_BACKOFF, False),
    )
}


def wants(rule: GateRule, node: onnx.NodeProto) -> bool:
    """Whether a rule is about a node."""
    if (node.domain, node.op_type) != (keys.WIRE, rule.side):
        return False
    return rule.always or rule.gate in attribute(node, keys.ASKED, ())


def stamp(model: onnx.ModelProto, state: State, stamped_by: str) -> None:
    """Add a gate to the `gates` of all ops that it stands on."""
    rule = RULES[stamped_by]
    for node in nodes_of(model):
        if wants(rule, node):
            gates = tuple(attribute(node, keys.GATES, ()))
            set_attribute(node, keys.GATES, tuple(sorted({*gates, rule.gate})))
            state.counts["gates"] += 1
