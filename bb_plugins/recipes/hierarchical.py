"""Federated averaging by way of edges, as a Module."""

from __future__ import annotations

import bb_core as bb


class Hierarchical(bb.Module):
    """Average in two tiers: each edge averages its own clients, the coordinator averages the edges.

    An edge sends its mean with the number of examples that are in it, so that the coordinator's mean is that over all
    clients (Liu, Zhang, Song & Letaief 2020, Algorithm 1 with one edge round for each cloud round). The coordinator
    sends and receives as many models as there are edges, not clients.

    Slots:
        edges: PeerSelector; the edges of a round.
        members: PeerSelector; on each edge, the clients that are its own.
        model: Model; one on each client and one on the coordinator. Edges only pass parameters on.
        data: DataSource; a client's own examples.
        edge_aggregator: Aggregator; on each edge. Its stats go up, so it must count, as FedAvg does.
        aggregator: Aggregator; on the coordinator.
        holdout: DataSource; the coordinator's examples for measuring, given as one batch.

    Outputs:
        metrics: Record of `loss_sum`, `correct` and `count` on the held-out batch.
        training: Record of what the coordinator's Aggregator says of the round: `num_samples` of all clients, `peers`,
            the edges.
    """

    edges = bb.PeerSelectorSlot(peer_class="edge")
    members = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    edge_aggregator = bb.AggregatorSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()

    def __init__(
        self, edges_per_round: int = 10, clients_per_edge: int = 10, epochs: int = 5, deadline: str = "10m"
    ) -> None:
        """Set the sizes of the cohorts, the passes over a client's data, and how long a round may take.

        An edge has half of that time for its clients, so that what they send in time is in time at the coordinator.
        """
        self.edges_per_round = edges_per_round
        self.clients_per_edge = clients_per_edge
        self.epochs = epochs
        self.deadline = bb.types.parse_duration(deadline)

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        edges = self.edges.sample(g, n=self.edges_per_round, after=start)
        at_edge = g.send(self.model.params(g, after=edges), to=edges)
        # On each edge: on to its clients.
        members = self.members.sample(g, n=self.clients_per_edge, after=at_edge)
        received = g.send(at_edge, to=members)
        # On each client: train.
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=self.epochs, after=loaded)
        update, update_stats = g.send((self.model.params(g, after=loss), stats), to=received.sender)
        # On the edge: average, and send the mean up with what is in it.
        self.edge_aggregator.contribute(g, update, update_stats)
        done = self.edge_aggregator.collect(g, members, deadline=self.deadline // 2, after=received.request)
        mean, counts = self.edge_aggregator.aggregate(g, after=done)
        up, up_counts = g.send((mean, counts), to=at_edge.sender)
        # On the coordinator: average the edges, and measure.
        self.aggregator.contribute(g, up, up_counts)
        collected = self.aggregator.collect(g, edges, deadline=self.deadline, after=at_edge.request)
        params, total = self.aggregator.aggregate(g, after=collected)
        updated = self.model.load_parameters(g, params)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        g.output("metrics", self.model.evaluate(g, batch, labels))
        g.output("training", total)
