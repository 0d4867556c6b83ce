"""Split learning as a Module."""

from __future__ import annotations

import bb_core as bb


class SplitLearning(bb.Module):
    """Train one model of which the lower part lies with the data and the upper part with the coordinator.

    Neither sees the other's part: clients send what their part makes of a batch, with its labels, and get the gradient
    by it back (Gupta & Raskar 2018, section 3). The clients' parts are averaged after each round (SplitFed, Thapa et
    al. 2022, Algorithm 1); the upper part steps with each batch that comes in.

    One invoke is one round. Both models need BackwardThrough, as GraphModel and TorchModel have it.

    Slots:
        cohort: PeerSelector; chooses the clients of a round.
        coordinator: PeerSelector; where a client finds the coordinator.
        lower: Model; batch to activations, on each client, and on the coordinator to measure and to begin with.
        upper: Model; activations to prediction, with the loss, on the coordinator.
        data: DataSource; a client's own examples.
        aggregator: Aggregator; of the lower parts.
        holdout: DataSource; the coordinator's examples for measuring, given as one batch.

    Outputs:
        metrics: Record of `loss_sum`, `correct` and `count` on the held-out batch.
        training: Record of what the Aggregator says of the round.
    """

    cohort = bb.PeerSelectorSlot(peer_class="client")
    coordinator = bb.PeerSelectorSlot()
    lower = bb.ModelSlot()
    upper = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()

    def __init__(self, clients_per_round: int = 10, steps: int = 4, deadline: str = "10m") -> None:
        """Set the size of a cohort, how many batches a client sends in a round, and how long a round may take."""
        self.clients_per_round = clients_per_round
        self.steps = steps
        self.deadline = deadline

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.clients_per_round, after=start)
        received = g.send(self.lower.params(g, after=clients), to=clients)
        # On every client of the cohort: some batches, one after another.
        done = self.lower.load_parameters(g, received)
        for _ in range(self.steps):
            done = self._batch(g, done)
        stats = self.data.describe(g, after=done)
        update, update_stats = g.send((self.lower.params(g, after=done), stats), to=received.sender)
        # On the coordinator: average the lower parts, and measure the whole.
        self.aggregator.contribute(g, update, update_stats)
        collected = self.aggregator.collect(g, clients, deadline=self.deadline, after=received.request)
        params, total = self.aggregator.aggregate(g, after=collected)
        updated = self.lower.load_parameters(g, params)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        measuring = self.lower.set_mode(g, mode="eval", after=updated)
        activations = self.lower.forward(g, batch, after=measuring)
        g.output("metrics", self.upper.evaluate(g, activations, labels))
        g.output("training", total)

    def _batch(self, g: bb.Graph, after: bb.Output) -> bb.Output:
        """Record one batch of a client, up to the coordinator and back. Returns when the client has stepped."""
        batch, labels, _ = self.data.next_batch(g, after=after)
        activations = self.lower.forward(g, batch)
        whom = self.coordinator.current_view(g, after=activations)
        up, up_labels = g.send((activations, labels), to=whom)
        # On the coordinator: the upper part learns, and gives the gradient by what came in.
        _, grad = self.upper.loss_grad(g, self.upper.forward(g, up), up_labels)
        through = self.upper.backward_through(g, grad)
        back = g.send(through, to=up.sender, after=self.upper.step(g, after=through))
        # On the client again, in the Frame that asked: its part learns.
        (down,) = g.unbundle(g.gather(back, deadline=self.deadline), bb.types.TENSOR)
        return self.lower.step(g, after=self.lower.backward(g, down))
