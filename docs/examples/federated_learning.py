"""Clients find the coordinator through a registry, rounds begin by themselves, and end when the model is good enough.

One artefact for all. A client that starts announces itself to the coordinator, whose registry is also what cohorts are
drawn from; the coordinator's first round is invoked, all others follow until the slot `stop` says that it is enough.
"""

import sys
from typing import Any

import bb_core as bb
from bb_core.steps import AppEvent, OpFailed
from bb_core.testing import Loopback
from bb_plugins.protocols.global_registry import GlobalRegistry
from bb_plugins.protocols.rounds import Rounds

CLIENTS, TARGET = 20, 0.95
MINUTE = 60 * 10**9


class FederatedLearning(bb.Module):
    """Announce, then train round by round."""

    registry = bb.ProtocolSlot(GlobalRegistry)
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()
    stop = bb.ProtocolSlot(Rounds)

    def body(self, g: bb.Graph) -> None:
        """A client's announce, once its host has started it; one round; and whether there is another."""
        with g.place(on="client"):
            started = bb.syscalls.lifecycle(g, phase="start")
        self.registry.announce(g, after=started)
        clients = self.cohort.sample(g, n=CLIENTS, after=g.input("round", bb.types.TRIGGER))
        received = g.send(self.model.params(g, after=clients), to=clients)
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=5, after=loaded)
        update, update_stats = g.reply((self.model.params(g, after=loss), stats), to=received)
        self.aggregator.contribute(g, update, update_stats)
        done = self.aggregator.collect(g, clients, deadline="30s", after=received.request)
        params, total = self.aggregator.aggregate(g, after=done)
        batch, labels, _ = self.holdout.next_batch(g, after=self.model.load_parameters(g, params))
        metrics = self.model.evaluate(g, batch, labels)
        more, ended = self.stop.judge(g, metrics)
        g.again("round", more)
        g.output("metrics", metrics)
        g.output("training", total)
        g.output("ended", ended)


def main() -> int:
    """Bring up a coordinator and twenty clients that know it alone, on a network in virtual time."""
    artefact = (
        bb.Compiler()
        .bind({"cohort": "bytesandbrains.GlobalRegistryServer", "registry": "bytesandbrains.GlobalRegistryClient"})
        .bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .bind({"aggregator": "bytesandbrains.FedAvg"})
        .bind({"stop": bb.use("bytesandbrains.StopRule", target=TARGET, rounds=60)})
        .compile(FederatedLearning(), late=["data", "holdout"])
    )
    coordinator = bb.PeerId.from_int(0)
    dataset = "bytesandbrains.Dataset"
    site: dict[str, Any] = {"holdout": bb.use(dataset, part="test")}
    network = Loopback([bb.install(coordinator, [], artefact, ["FederatedLearning"], site)])
    for number in range(CLIENTS):
        site = {
            "data": bb.use(dataset, share=number, shares=CLIENTS),
            "registry": {"server": str(coordinator)},
        }
        client = bb.install(bb.PeerId.from_int(number + 1), [], artefact, ["FederatedLearning@client"], site)
        client.fire_lifecycle("start", network.now)
        network.add(client)
    network.run_to(MINUTE)  # the clients announce themselves
    network.invoke(coordinator, "FederatedLearning", {"round": bb.TRIGGER})
    network.run_to(60 * MINUTE)
    given = [s.step for s in network.seen if isinstance(s.step, AppEvent)]
    accuracy = [s.value["correct"] / s.value["count"] for s in given if s.port == "metrics"]
    (ended,) = [s.value for s in given if s.port == "ended"]
    peers = {s.value["peers"] for s in given if s.port == "training"}
    failed = [s.step for s in network.seen if isinstance(s.step, OpFailed)]
    print("accuracy by round:", " ".join(f"{a:.3f}" for a in accuracy))
    print(f"{ended['rounds']} rounds over {CLIENTS} clients, then: {ended['reason']}")
    good = accuracy[-1] >= TARGET > accuracy[-2] and len(accuracy) == ended["rounds"] and peers == {CLIENTS}
    good = good and not failed
    print("federated_learning:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
