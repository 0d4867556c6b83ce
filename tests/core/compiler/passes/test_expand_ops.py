"""Ops that stand for several are replaced, and defaults written."""

from __future__ import annotations

from bb_core.ir.proto import attribute
from tests.core.compiler.passes.programs import Asking
from tests.core.compiler.passes.stage import alone, before, run, text


def test_a_gather_becomes_what_adds_and_what_waits() -> None:
    lines = text(alone("expand_ops", Asking()))["Asking"]
    assert lines[4:6] == [
        "Gather_0.contribute.done = Gather.Contribute(Send_1.received0) {gather=Gather_0}",
        "Gather_0.senders, Gather_0.values0 = Gather.Collect(Sample_0.peers, Send_0.request) "
        "{deadline_ns=5000000000, gather=Gather_0, minimum=1, n=0}",
    ]


def test_it_is_idempotent() -> None:
    model, state = before("expand_ops", Asking())
    run("expand_ops", model, state)
    once = model.SerializeToString(deterministic=True)
    run("expand_ops", model, state)
    assert model.SerializeToString(deterministic=True) == once


def test_a_default_that_is_absent_is_written() -> None:
    model, state = before("expand_ops", Asking())
    gather = next(n for n in model.functions[0].node if n.op_type == "Gather")
    del gather.attribute[:]
    run("expand_ops", model, state)
    collect = next(n for n in model.functions[0].node if n.op_type == "Gather.Collect")
    assert (attribute(collect, "n"), attribute(collect, "minimum")) == (0, 1)
