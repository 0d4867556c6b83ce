"""Federated averaging whose updates travel in a smaller form."""

from __future__ import annotations

import bb_core as bb


class CompressedAveraging(bb.Module):
    """Federated averaging of differences, each compressed on its client (Konecny et al. 2016, section 3).

    What travels back is not a client's parameters but by how much they have changed: differences are small, many of
    them next to nothing, and what a Codec leaves out of them makes a step shorter instead of the model smaller.

    Slots:
        cohort: PeerSelector; chooses the clients of a round.
        model: Model; one on each client and one on the coordinator.
        data: DataSource; a client's own examples.
        codec: Codec; encodes on each client, where it may have a memory, and decodes on the coordinator.
        aggregator: Aggregator; on the coordinator.
        holdout: DataSource; the coordinator's examples for measuring, given as one batch.

    Outputs:
        metrics: Record of `loss_sum`, `correct` and `count` on the held-out batch.
        training: Record of what the Aggregator says of the round.

    Records:
        codec: on each client, what the Codec has said of each update: `node.records("codec")`.
    """

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    codec = bb.CodecSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()

    def __init__(self, clients_per_round: int, epochs: int = 5, deadline: str = "10m") -> None:
        """Set the size of a cohort, the passes over a client's data in a round, and how long a round may take."""
        self.clients_per_round = clients_per_round
        self.epochs = epochs
        self.deadline = deadline

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.clients_per_round, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        # On every client of the cohort.
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=self.epochs, after=loaded)
        encoded, told = self.codec.encode(g, self.model.delta(g, after=loss))
        bb.syscalls.record(g, told, name="codec")
        update, update_stats = g.send((encoded, stats), to=received.sender)
        # On the coordinator, once for each client.
        self.aggregator.contribute(g, self.codec.decode(g, update), update_stats)
        # In the round's own Frame.
        done = self.aggregator.collect(g, clients, deadline=self.deadline, after=received.request)
        step, total = self.aggregator.aggregate(g, after=done)
        updated = self.model.apply_delta(g, step)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        g.output("metrics", self.model.evaluate(g, batch, labels))
        g.output("training", total)
