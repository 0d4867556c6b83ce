"""Coordinator and client on one Node: the round sends to itself, and ends."""

import sys

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent
from bb_core.testing import Loopback
from bb_plugins.data_sources.digits import load_digits

ROUNDS = 5


class Learning(bb.Module):
    """A federated round whose cohort is given with the invoke."""

    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        """Record one round; who takes part is an input, so the class of peers is named after it."""
        clients = g.input("clients", bb.types.PEER_LIST)
        received = g.send(self.model.params(g, after=clients), to=clients)
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=1, after=loaded)
        update, update_stats = g.reply((self.model.params(g, after=loss), stats), to=received)
        self.aggregator.contribute(g, update, update_stats)
        done = self.aggregator.collect(g, clients, deadline="30s", after=received.request)
        params, _ = self.aggregator.aggregate(g, after=done)
        batch, labels, _ = self.holdout.next_batch(g, after=self.model.load_parameters(g, params))
        g.output("metrics", self.model.evaluate(g, batch, labels))


def main() -> int:
    """Train on one Node that hosts both targets. While it waits for itself, the coordinator's Frame holds no slot."""
    digits = load_digits()
    artefact = (
        bb.Compiler()
        .bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .bind({"aggregator": "bytesandbrains.FedAvg"})
        .compile(Learning(), late=["data", "holdout"])
    )
    me = bb.PeerId.from_int(0)
    source = "bytesandbrains.ArrayDataSource"
    site = {
        "data": bb.use(source, inputs=digits.train_inputs, labels=digits.train_labels),
        "holdout": bb.use(
            source, inputs=digits.test_inputs, labels=digits.test_labels, batch_size=len(digits.test_labels)
        ),
    }
    node = bb.install(me, [], artefact, ["Learning", "Learning@clients"], site)
    network = Loopback([node])
    accuracy = []
    for _ in range(ROUNDS):
        network.seen.clear()
        network.invoke(me, "Learning", {"clients": bb.PeerList([me])})
        network.run_until_quiet()
        (metrics,) = [s.step.value for s in network.seen if isinstance(s.step, AppEvent)]
        accuracy.append(metrics["correct"] / metrics["count"])
    print("accuracy by round:", " ".join(f"{a:.3f}" for a in accuracy), f"({network.envelopes} Envelopes to itself)")
    good = node.is_idle and network.envelopes == 2 * ROUNDS and accuracy[-1] > 0.9 and np.isfinite(accuracy).all()
    print("single_node_federated_learning:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
