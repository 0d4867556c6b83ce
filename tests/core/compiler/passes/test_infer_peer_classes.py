"""Every op has a home, and every Send a class to go to."""

from __future__ import annotations

import pytest

import bb_core as bb
from bb_core import errors, keys
from bb_core.ir.proto import attribute, metadata
from tests.core.compiler.passes.programs import ASKING, GOSSIP, Asking, Gossip
from tests.core.compiler.passes.stage import alone, before, run, text


def test_values_live_where_they_are_received() -> None:
    lines = text(alone("infer_peer_classes", Asking(), ASKING), attrs=(), home=True)["Asking"]
    assert [line.partition(" = ")[2].partition("(")[0] + line[line.index(" @") :] for line in lines] == [
        "Sample @", "Send @", "Neg @client", "Send @client", "Gather.Contribute @", "Gather.Collect @", "Stack @",
        "Output @",
    ]  # fmt: skip


def test_an_answer_goes_back_and_is_marked() -> None:
    model = alone("infer_peer_classes", Asking(), ASKING)
    sends = [n for n in model.functions[0].node if n.op_type == "Send"]
    assert [metadata(n)[keys.DESTINATION] for n in sends] == ["client", ""]
    assert [attribute(n, keys.REPLY, 0) for n in sends] == [0, 1]


def test_equals_send_to_their_own_class() -> None:
    model = alone("infer_peer_classes", Gossip(), GOSSIP)
    assert {metadata(n)[keys.HOME] for n in model.functions[0].node} == {""}


class Misplaced(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        with g.place(on="elsewhere"):
            g.output("y", self.backend.neg(g, x))


def test_a_place_that_the_data_contradicts_is_refused() -> None:
    model, state = before("infer_peer_classes", Misplaced(), {})
    run("infer_peer_classes", model, state)
    with pytest.raises(errors.CompileError, match="is placed on class 'elsewhere', and reads 'x'"):
        state.raise_errors("infer_peer_classes")
