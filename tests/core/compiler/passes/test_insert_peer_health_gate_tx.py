"""The gate 'peer_health' on every Send."""

from __future__ import annotations

import bb_core as bb
from bb_core import keys
from bb_core.ir.proto import attribute
from tests.core.compiler.passes.stage import before, run
from tests.support import Everyone


class Careful(bb.Module):
    """One Send that asks for a gate, one that does not."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        peers = self.cohort.sample(g, n=2, after=x)
        g.output("a", g.send(x, to=peers, gates=["backoff"]))
        g.output("b", g.send(x, to=peers))


def test_it_always_stands_there_and_nowhere_else() -> None:
    model, state = before("insert_peer_health_gate_tx", Careful(), {"cohort": Everyone})
    was = [attribute(n, keys.GATES, ()) for f in model.functions for n in f.node]
    run("insert_peer_health_gate_tx", model, state)
    run("insert_peer_health_gate_tx", model, state)
    nodes = [n for f in model.functions for n in f.node]
    added = [(n.op_type, set(attribute(n, keys.GATES, ())) - set(b)) for n, b in zip(nodes, was, strict=True)]
    assert [n for n, gates in added if gates == {"peer_health"}] == ["Send"] * 2
    assert sum(bool(gates) for _, gates in added) == 2
