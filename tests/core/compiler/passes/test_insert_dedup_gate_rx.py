"""The gate 'dedup' on every Recv."""

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
    model, state = before("insert_dedup_gate_rx", Careful(), {"cohort": Everyone})
    was = [attribute(n, keys.GATES, ()) for f in model.functions for n in f.node]
    run("insert_dedup_gate_rx", model, state)
    run("insert_dedup_gate_rx", model, state)
    nodes = [n for f in model.functions for n in f.node]
    added = [(n.op_type, set(attribute(n, keys.GATES, ())) - set(b)) for n, b in zip(nodes, was, strict=True)]
    assert [n for n, gates in added if gates == {"dedup"}] == ["Recv"] * 2
    assert sum(bool(gates) for _, gates in added) == 2
