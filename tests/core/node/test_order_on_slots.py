"""Ops on one slot keep the order of the program; an op that fails, or is not asked for, holds no other back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.steps import AppEvent, OpFailed, SendEnvelope
from tests.support import Everyone, Weight, peer

ONE = np.ones(1, np.float32)


def node_of(module: bb.Module, **bindings: Any) -> bb.Node:
    return bb.install(peer(0), [], bb.Compiler().bind(bindings).compile(module), [type(module).__name__])


class LoadOrAsk(bb.Module):
    """Two inputs, of which a host gives one or the other; each has an op of its own on one slot."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        self.model.load_parameters(g, g.input("params", bb.f32[1]))
        g.output("now", self.model.params(g, after=g.input("ask", bb.types.TRIGGER)))


def test_an_op_on_a_slot_runs_without_an_earlier_one_whose_input_was_not_given() -> None:
    node = node_of(LoadOrAsk(), model=Weight)
    node.invoke("LoadOrAsk", {"ask": bb.TRIGGER}, 0)
    assert [step.port for step in node.poll(0).steps] == ["now"]
    node.invoke("LoadOrAsk", {"params": ONE, "ask": bb.TRIGGER}, 0)  # given both, the order of the program holds
    assert [step.value.tolist() for step in node.poll(0).steps] == [[1.0]]
    assert node.component("model").log == ["params", "load 1", "params"]


class TellOrAsk(bb.Module):
    """Two inputs, each of which goes to the same peers; their slot keeps no state at all."""

    peers = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        for name in ("x", "y"):
            value = g.input(name, bb.f32[1])
            g.output(f"{name}_there", g.send(value, to=self.peers.current_view(g, after=value)))


def test_a_second_send_to_the_same_peers_runs_without_the_first() -> None:
    node = node_of(TellOrAsk(), peers=Everyone)
    node.add_peer(peer(1), peer_class="client")
    for name in ("x", "y"):
        node.invoke("TellOrAsk", {name: ONE}, 0)
        assert [type(step) for step in node.poll(0).steps] == [SendEnvelope], name


@bb.concrete("tests.Fragile")
class Fragile(Weight):
    """Cannot be loaded."""

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        raise ArithmeticError("no")


class Chain(bb.Module):
    """An op on a slot that fails, one that needs its value and never runs, and one that only comes later."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        loaded = self.model.load_parameters(g, x)
        self.model.apply_delta(g, x, after=loaded)
        g.output("params", self.model.params(g, after=x))


@pytest.mark.parametrize("restored", [False, True])
def test_what_only_comes_after_an_op_that_failed_runs_and_what_needs_its_value_does_not(restored: bool) -> None:
    node = node_of(Chain(), model=Fragile)
    node.invoke("Chain", {"x": ONE}, 0)
    if restored:
        node.restore(node.snapshot())
    assert [type(step) for step in node.poll(0).steps] == [OpFailed, AppEvent]
    assert node.component("model").log == ["params"]
    assert node.stats() == dict.fromkeys(node.stats(), 0)
