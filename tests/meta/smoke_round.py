"""One round between one Node and two clients, by an installed package alone; run as a script by `test_packaging`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bb_core as bb


@bb.concrete("smoke.Everyone")
class Everyone(bb.roles.PeerSelector):
    """All peers of the class."""

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        """Take the first `n`."""
        return bb.PeerList(ctx.peers(peer_class or None)[:n])


@bb.concrete("smoke.Weight")
class Weight(bb.roles.Model):
    """One number, which every load adds one to."""

    @dataclass(frozen=True, slots=True)
    class Config:
        """No options."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.value = np.zeros(1, np.float32)

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Give the number."""
        return self.value.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Take a number, and add one."""
        self.value[:] = params + 1

    def parameters(self) -> bb.Tensor:
        """Give the number to the host."""
        return self.value.copy()


@bb.concrete("smoke.Mean")
class Mean(bb.roles.Aggregator):
    """The plain mean."""

    @dataclass(frozen=True, slots=True)
    class Config:
        """Waits for all."""

        quorum: int | None = None
        minimum: int = 1

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Average."""
        mean = np.mean([c.update for c in contributions], axis=0, dtype=np.float64).astype(np.float32)
        return mean, bb.Record(peers=len(contributions))


class Round(bb.Module):
    """Out to the clients and back."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    aggregator = bb.AggregatorSlot()

    def body(self, g: bb.Graph) -> None:
        """Record the round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=2, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        loaded = self.model.load_parameters(g, received)
        update = g.send(self.model.params(g, after=loaded), to=received.sender)
        self.aggregator.contribute(g, update)
        done = self.aggregator.collect(g, clients, deadline="10s", after=received.request)
        params, total = self.aggregator.aggregate(g, after=done)
        g.output("peers", total)
        g.output("params", params)


def main() -> None:
    """Run it and print what came back."""
    bindings = {"cohort": Everyone, "model": Weight, "aggregator": Mean}
    result = bb.run(Round(), bindings=bindings, peers={"client": 2}, rounds=1)
    (metrics,) = result.metrics
    print(metrics["peers"]["peers"], float(metrics["params"][0]), bb.__file__)


if __name__ == "__main__":
    main()
