"""A bootstrap may play a round of its own, and use slots that no body uses."""

from __future__ import annotations

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent, BootstrapCompleted
from tests.support import AVERAGING, Averaging, NumpyBackend, Weight, bring_up, of_kind, outputs, peer


class Warmed(Averaging):
    """Plays a round before the first one that a host asks for."""

    def bootstrap(self, g: bb.Graph) -> None:
        Averaging.body(self, g)


def test_what_peers_send_to_a_bootstrap_is_not_held_back_by_it() -> None:
    loopback = bring_up(Warmed(n=2), AVERAGING, 2)
    coordinator = loopback.nodes[peer(0)]
    coordinator.bootstrap("Warmed", {"round": bb.TRIGGER}, 0)
    loopback.invoke(peer(0), "Warmed", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    (done,) = of_kind(loopback.seen, BootstrapCompleted)
    assert done.target == "Warmed"
    assert [step.value.tolist() for step in of_kind(loopback.seen, AppEvent) if step.port == "params"] == [[1.0], [2.0]]
    assert outputs(loopback.seen)["training"]["peers"] == 2


class Prepared(bb.Module):
    """Fills one slot with what another one gives, which only the bootstrap uses."""

    model = bb.ModelSlot()
    compute = bb.BackendSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        self.model.load_parameters(g, self.compute.neg(g, g.constant(np.float32([3]))))

    def body(self, g: bb.Graph) -> None:
        g.output("params", self.model.params(g, after=g.input("go", bb.types.TRIGGER)))


def test_a_slot_that_only_a_bootstrap_uses_is_filled() -> None:
    artefact = bb.Compiler().bind({"model": Weight, "compute": NumpyBackend}).compile(Prepared())
    node = bb.install(peer(0), [], artefact, ["Prepared"])
    node.invoke("Prepared", {"go": bb.TRIGGER}, 0)
    assert [step.value.tolist() for step in node.poll(0).steps if isinstance(step, AppEvent)] == [[-3.0]]
