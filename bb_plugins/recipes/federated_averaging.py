"""Federated averaging as a Module."""

from __future__ import annotations

import bb_core as bb
from bb_plugins.protocols.rounds import Rounds


class FederatedAveraging(bb.Module):
    """Train one model on data that stays where it is (McMahan et al. 2017, Algorithm 1).

    One invoke is one round, or, with `repeats`, all of them. The coordinator sends its model to a cohort; each client
    of it trains on its own data and sends its parameters back; the coordinator averages them, and measures the result
    on data that it has held out.

    Slots:
        cohort: PeerSelector; chooses the clients of a round.
        model: Model; one on each client and one on the coordinator.
        data: DataSource; a client's own examples.
        aggregator: Aggregator; on the coordinator.
        holdout: DataSource; the coordinator's examples for measuring, given as one batch.
        stop: Protocol; with `repeats`, says after each round whether there is another.

    Outputs:
        metrics: Record of `loss_sum`, `correct` and `count` on the held-out batch.
        training: Record of what the Aggregator says of the round, such as `num_samples`.
        ended: With `repeats`, Record of `rounds` and `reason`, after the last.
    """

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()
    holdout = bb.DataSourceSlot()
    stop = bb.ProtocolSlot(Rounds)

    def __init__(
        self, clients_per_round: int = 10, epochs: int = 5, deadline: str = "10m", *, repeats: bool = False
    ) -> None:
        """Set how rounds are played.

        Args:
            clients_per_round: Size of a cohort; all clients, if there are fewer.
            epochs: Passes over a client's data in a round.
            deadline: How long a round may take.
            repeats: Begin the next round by itself, until the Concrete in `stop` ends it.
        """
        self.clients_per_round = clients_per_round
        self.epochs = epochs
        self.deadline = deadline
        self.repeats = repeats

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.clients_per_round, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        # From here on this runs on every client of the cohort.
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=self.epochs, after=loaded)
        trained = self.model.params(g, after=loss)
        update, update_stats = g.send((trained, stats), to=received.sender)
        # And from here on it runs on the coordinator again, once for each client.
        self.aggregator.contribute(g, update, update_stats)
        # In the round's own Frame: wait for the cohort, then average and measure.
        done = self.aggregator.collect(g, clients, deadline=self.deadline, after=received.request)
        params, total = self.aggregator.aggregate(g, after=done)
        updated = self.model.load_parameters(g, params)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        metrics = self.model.evaluate(g, batch, labels)
        g.output("metrics", metrics)
        g.output("training", total)
        if self.repeats:
            more, ended = self.stop.judge(g, metrics)
            g.again("round", more)
            g.output("ended", ended)
