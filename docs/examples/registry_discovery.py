"""Clients know the registry alone, and it knows nobody: they announce themselves, and it draws each round's cohort."""

import sys

import bb_core as bb
from bb_core.steps import AppEvent
from bb_core.testing import Loopback
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.data_sources.partition import iid
from bb_plugins.protocols.global_registry import GlobalRegistry
from bb_plugins.recipes.federated_averaging import FederatedAveraging

CLIENTS = 8
MINUTE = 60 * 10**9


class Discovered(bb.Module):
    """Federated averaging among clients that come and go."""

    registry = bb.ProtocolSlot(GlobalRegistry)

    def __init__(self) -> None:
        self.learning = FederatedAveraging(clients_per_round=4, epochs=3)

    def body(self, g: bb.Graph) -> None:
        """Record what a client does when its host has started it, and what the coordinator does in a round."""
        with g.place(on="client"):
            started = bb.syscalls.lifecycle(g, phase="start")
        self.registry.announce(g, after=started)  # once: from then on the client announces itself by timers of its own
        out = self.learning(g, round=g.input("round", bb.types.TRIGGER))
        g.output("metrics", out.metrics)
        g.output("training", out.training)


def main() -> int:
    """Let clients start, train, die and come back, in virtual time."""
    digits = load_digits()
    artefact = (
        bb.Compiler()
        .bind({"learning.cohort": "bytesandbrains.GlobalRegistryServer"})  # a Protocol and a PeerSelector in one
        .bind({"learning.model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .bind({"learning.aggregator": "bytesandbrains.FedAvg", "registry": "bytesandbrains.GlobalRegistryClient"})
        .compile(Discovered(), late=["learning.data", "learning.holdout"])
    )
    coordinator = bb.PeerId.from_int(0)
    source = "bytesandbrains.ArrayDataSource"
    size = len(digits.test_labels)
    holdout = bb.use(source, inputs=digits.test_inputs, labels=digits.test_labels, batch_size=size)
    network = Loopback([bb.install(coordinator, [], artefact, ["Discovered"], {"learning.holdout": holdout})])
    shares = iid(digits.train_labels, CLIENTS, seed=0)
    for number in range(CLIENTS):
        data = bb.use(source, inputs=digits.train_inputs, labels=digits.train_labels, indices=shares[number])
        site = {"learning.data": data, "registry": {"server": str(coordinator)}}
        client = bb.install(bb.PeerId.from_int(number + 1), [], artefact, ["Discovered@client"], site)
        client.fire_lifecycle("start", network.now)
        network.add(client)

    def one_round() -> tuple[float, int]:
        network.seen.clear()
        network.invoke(coordinator, "Discovered", {"round": bb.TRIGGER})
        network.run_to(network.now + MINUTE)
        given = {s.step.port: s.step.value for s in network.seen if isinstance(s.step, AppEvent)}
        return given["metrics"]["correct"] / given["metrics"]["count"], int(given["training"]["peers"])

    network.run_to(MINUTE)
    rounds = [one_round() for _ in range(5)]
    asleep = [network.remove(bb.PeerId.from_int(n)) for n in range(1, 6)]
    network.run_to(network.now + 2 * MINUTE)  # longer than an announce counts: three of eight are there
    rounds += [one_round() for _ in range(2)]
    for client in asleep:
        network.add(client)
    network.run_to(network.now + MINUTE)
    rounds += [one_round() for _ in range(3)]
    print("accuracy by round:", " ".join(f"{accuracy:.3f}" for accuracy, _ in rounds))
    print("clients by round:", " ".join(f"{peers:5}" for _, peers in rounds))
    good = [peers for _, peers in rounds] == [4, 4, 4, 4, 4, 3, 3, 4, 4, 4] and rounds[-1][0] > 0.85
    print("registry_discovery:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
