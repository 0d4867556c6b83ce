"""A function for each class of peers, and order on stateful slots."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.ir.proto import control_inputs, metadata
from tests.core.compiler.passes.programs import (
    ASKING,
    GOSSIP,
    GREETING,
    ORDERED,
    Asking,
    Gossip,
    Greeting,
    Ordered,
)
from tests.core.compiler.passes.stage import alone, text
from tests.support import AVERAGING, Averaging


def test_the_program_is_cut_at_its_network_edges() -> None:
    model = alone("partition_by_wire_ops", Asking(), ASKING)
    ops = {f.name: [n.op_type for n in f.node] for f in model.functions}
    assert ops == {
        "Asking": ["Sample", "Send", "Recv", "Gather.Contribute", "Gather.Collect", "Stack", "Output"],
        "Asking@client": ["Recv", "Neg", "Send"],
    }
    onnx.checker.check_model(model)


def test_bodies_come_first_and_bootstraps_are_cut_too() -> None:
    model = alone("partition_by_wire_ops", Greeting(), GREETING)
    names = ["Greeting", "Greeting@client", "Greeting#bootstrap", "Greeting@client#bootstrap"]
    assert [f.name for f in model.functions] == names
    assert [metadata(f)[keys.PHASE] for f in model.functions] == ["body", "body", "bootstrap", "bootstrap"]


def test_equals_keep_send_and_recv_in_one_function() -> None:
    lines = text(alone("partition_by_wire_ops", Gossip(), GOSSIP), attrs=())
    assert list(lines) == ["Gossip"]
    assert [line.partition(" = ")[2].partition("(")[0] for line in lines["Gossip"]] == [
        "Params", "Sample", "Send", "Recv", "LoadParameters",
    ]  # fmt: skip


def test_ops_on_one_slot_get_an_edge_where_they_have_none() -> None:
    part = alone("partition_by_wire_ops", Ordered(), ORDERED).functions[0]
    controls = {n.op_type: control_inputs(n) for n in part.node if n.op_type != "Output"}
    assert controls == {
        "LoadParameters": [],
        "ApplyDelta": ["LoadParameters_0.done"],
        "Params": ["x", "ApplyDelta_0.done"],
    }


def test_ops_of_two_entries_are_not_tied_together() -> None:
    part = alone("partition_by_wire_ops", Averaging(), AVERAGING).functions[0]
    contribute = next(n for n in part.node if n.op_type == "Contribute")
    assert control_inputs(contribute) == []
