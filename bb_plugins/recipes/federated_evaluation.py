"""Measuring a model on data that stays where it is, as a Module."""

from __future__ import annotations

import bb_core as bb


class FederatedEvaluation(bb.Module):
    """Measure one model on many peers' own data: what each measures are sums, and the coordinator adds them up.

    Slots:
        cohort: PeerSelector; the clients that measure.
        model: Model; one on each client and one on the coordinator, whose parameters are measured.
        data: DataSource; a client's own examples for measuring, given as one batch.

    Outputs:
        metrics: Record of the sums over all clients: `loss_sum`, `correct`, `count` and what else the Model measures.
        measured: Record of what they amount to: `loss`, `accuracy`, `f1`, `top_5`, `rmse`.
        clients: who has answered.
    """

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()

    def __init__(self, clients_per_round: int = 10, deadline: str = "10m", minimum: int = 1) -> None:
        """Set how many clients measure, how long they may take, and how many must have answered by then."""
        self.clients_per_round = clients_per_round
        self.deadline = deadline
        self.minimum = minimum

    def body(self, g: bb.Graph) -> None:
        """Record one measurement."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.clients_per_round, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        loaded = self.model.load_parameters(g, received)
        batch, labels, _ = self.data.next_batch(g, after=loaded)
        answer = g.reply(self.model.evaluate(g, batch, labels), to=received)
        everyone = g.gather(answer, deadline=self.deadline, minimum=self.minimum)
        metrics = bb.opset("bytesandbrains.metrics").total(g, everyone)
        g.output("metrics", metrics)
        g.output("measured", bb.opset("bytesandbrains.metrics").summary(g, metrics))
        g.output("clients", everyone.senders)
