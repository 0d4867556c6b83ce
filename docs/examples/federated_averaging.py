"""Federated averaging on handwritten digits, in one process: `python docs/examples/federated_averaging.py`."""

import bb_core as bb
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.data_sources.partition import dirichlet

CLIENTS = 20


class FederatedAveraging(bb.Module):
    """One round: the coordinator sends its model out, its cohort trains, the coordinator averages and measures."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=CLIENTS, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        # From here on: on every client.
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=5, after=loaded)
        update, update_stats = g.send((self.model.params(g, after=loss), stats), to=received.sender)
        # And from here on: on the coordinator again.
        self.aggregator.contribute(g, update, update_stats)
        done = self.aggregator.collect(g, clients, deadline="30s", after=received.request)
        params, _ = self.aggregator.aggregate(g, after=done)
        updated = self.model.load_parameters(g, params)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        g.output("metrics", self.model.evaluate(g, batch, labels))


def main() -> None:
    """Train, and write what was learnt to a file that any ONNX runtime reads."""
    digits = load_digits()
    shares = dirichlet(digits.train_labels, CLIENTS, alpha=0.5, seed=0)
    train = {"inputs": digits.train_inputs, "labels": digits.train_labels}
    result = bb.run(
        FederatedAveraging(),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use("bytesandbrains.MLP", layers=(64, 128, 10), learning_rate=0.1),
            "compute": "bytesandbrains.CpuBackend",
            "data": bb.each("bytesandbrains.ArrayDataSource", lambda n: {**train, "indices": shares[n]}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(
                "bytesandbrains.ArrayDataSource",
                inputs=digits.test_inputs,
                labels=digits.test_labels,
                batch_size=len(digits.test_labels),
                shuffle=False,
            ),
        },
        peers={"client": CLIENTS},
        rounds=30,
    )
    for number, outputs in enumerate(result.metrics, 1):
        if number % 5 == 0:
            print(f"round {number:3}: accuracy {outputs['metrics']['correct'] / outputs['metrics']['count']:.4f}")
    result.save("digits.onnx")


if __name__ == "__main__":
    main()
