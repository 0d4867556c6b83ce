"""What waits for peers has a deadline."""

from __future__ import annotations

import bb_core as bb
from bb_core import keys
from bb_core.ir.proto import attribute
from tests.core.compiler.passes.programs import ASKING, Asking
from tests.core.compiler.passes.stage import alone


class Patient(Asking):
    """Gathers without a deadline."""

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        g.output("all", g.stack(g.gather(g.reply(self.backend.neg(g, asked), to=asked))))
        g.output("later", bb.syscalls.after(g, bb.syscalls.on_trigger(g, x), delay="1h"))


def test_one_without_gets_the_compilers_and_is_marked() -> None:
    model = alone("insert_async_deadlines", Patient(), ASKING, network_deadline_ns=9)
    found = {n.op_type: attribute(n, keys.DEADLINE) for f in model.functions for n in f.node}
    assert found["Gather.Collect"] == 9
    assert found["After"] is None, "it waits for the clock, not for peers"
    marked = [n.op_type for f in model.functions for n in f.node if attribute(n, keys.DEADLINE_DEFAULT)]
    assert marked == ["Gather.Collect"]


def test_one_that_is_written_stays() -> None:
    model = alone("insert_async_deadlines", Asking(), ASKING, network_deadline_ns=9)
    (collect,) = [n for f in model.functions for n in f.node if n.op_type == "Gather.Collect"]
    assert attribute(collect, keys.DEADLINE) == 5 * 10**9
    assert not attribute(collect, keys.DEADLINE_DEFAULT)
