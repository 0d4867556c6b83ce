"""Every Send is followed by where its values arrive."""

from __future__ import annotations

from tests.core.compiler.passes.programs import ASKING, GREETING, Asking, Greeting
from tests.core.compiler.passes.stage import alone, before, run, text


def test_a_send_keeps_its_request_and_the_recv_gets_the_rest() -> None:
    lines = text(alone("synthesize_wire_recvs", Asking(), ASKING), attrs=(), home=True)["Asking"]
    assert lines[1:3] == [
        "Send_0.request = Send(Sample_0.peers, x) @",
        "Send_0.sender, Send_0.received0 = Recv() @client",
    ]


def test_bootstraps_too_and_names_stay_unique() -> None:
    model = alone("synthesize_wire_recvs", Greeting(), GREETING)
    for function in model.functions:
        names = [n.name for n in function.node]
        assert len(set(names)) == len(names)
        assert [n.op_type for n in function.node].count("Recv") == 1


def test_it_is_idempotent() -> None:
    model, state = before("synthesize_wire_recvs", Asking(), ASKING)
    run("synthesize_wire_recvs", model, state)
    once = model.SerializeToString(deterministic=True)
    run("synthesize_wire_recvs", model, state)
    assert model.SerializeToString(deterministic=True) == once
