"""A Node can say why it waits, and what it holds."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb
from bb_core.steps import SendEnvelope
from tests.core.compiler.passes import programs
from tests.support import AVERAGING, Averaging, Weight, peer

SECOND = 10**9


def coordinator(module: bb.Module, bindings: dict[str, Any], clients: int = 2) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    node = bb.install(peer(0), [], artefact, [module.name])
    for n in range(1, clients + 1):
        node.add_peer(peer(n), peer_class="client")
    return node


def test_an_idle_node_waits_for_nothing() -> None:
    node = coordinator(Averaging(), AVERAGING)
    assert node.explain() == []
    assert node.stats() | {"peers": 0} == dict.fromkeys(node.stats(), 0)


def test_a_round_says_who_has_not_answered_until_when_and_where() -> None:
    node = coordinator(Averaging(), AVERAGING)
    exec_id = node.invoke("Averaging", {"round": bb.TRIGGER}, 5)
    sent = [s for s in node.poll(5).steps if isinstance(s, SendEnvelope)]
    (waiting,) = node.explain()
    assert (waiting.target, waiting.exec_id, waiting.op, waiting.slot) == (
        "Averaging",
        exec_id,
        "Collect",
        "aggregator",
    )
    assert waiting.peers == (peer(1), peer(2))
    assert waiting.until == 5 + 10 * SECOND
    assert "support.py:" in str(waiting)
    assert str(peer(2)) in str(waiting)
    client = bb.install(peer(1), [], bb.Compiler().bind(AVERAGING).compile(Averaging()), ["Averaging@client"])
    client.receive(sent[0].data, 0, source=peer(0))
    (back,) = [s for s in client.poll(0).steps if isinstance(s, SendEnvelope)]
    node.receive(back.data, 6, source=peer(1))
    node.poll(6)
    assert node.explain()[0].peers == (peer(2),)
    stats = node.stats()
    assert (stats["frames"], stats["laters"], stats["requests"], stats["timers"]) == (1, 1, 1, 2)
    node.poll(11 * SECOND)
    assert node.explain() == []
    assert node.stats()["frames"] == node.stats()["laters"] == node.stats()["values"] == 0


def test_a_gather_says_it_too() -> None:
    node = coordinator(programs.Asking(), programs.ASKING)
    node.invoke("Asking", {"x": np.ones(2, np.float32)}, 0)
    node.poll(0)
    (waiting,) = node.explain()
    assert (waiting.op, waiting.peers, waiting.until) == ("Gather.Collect", (peer(1), peer(2)), 5 * SECOND)


@bb.concrete("tests.Patient")
class Patient(Weight):
    """Answers when the test wants it to."""

    def params(self, ctx: bb.Context) -> Any:
        self.later = ctx.later()
        return self.later


def test_a_frame_that_waits_for_slots_names_who_holds_them() -> None:
    node = coordinator(programs.Ordered(), {"model": Patient})
    first, second = (node.invoke("Ordered", {"x": np.ones(1, np.float32)}, 0) for _ in range(2))
    node.poll(0)
    told = [str(w) for w in node.explain()]
    assert [w.exec_id for w in node.explain()] == [first, second]
    assert "model.Params waits for its answer" in told[0]
    assert f"waits for the slots model, which Frame {first} holds" in told[1]
    node.component("model").later.complete(np.ones(1, np.float32))
    node.poll(0)
    assert [w.exec_id for w in node.explain()] == [second]


def test_what_waits_for_a_bootstrap_says_so() -> None:
    class Prepared(bb.Module):
        model = bb.ModelSlot()

        def bootstrap(self, g: bb.Graph) -> None:
            self.model.load_parameters(g, g.input("seed", bb.f32[1]))

        def body(self, g: bb.Graph) -> None:
            g.output("y", self.model.params(g, after=g.input("x", bb.f32[1])))

    node = bb.install(peer(0), [], bb.Compiler().bind({"model": Weight}).compile(Prepared()), ["Prepared"])
    node.invoke("Prepared", {"x": np.ones(1, np.float32)}, 0)
    node.poll(0)
    (waiting,) = node.explain()
    assert "model.Params waits for the bootstrap of Prepared" in str(waiting)
    assert "test_explain.py" in waiting.where
    assert node.stats()["bootstraps_pending"] == node.stats()["held_for_bootstrap"] == 1
