"""Small Concretes and helpers for tests: enough to see what the engine does, and nothing to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.ids import PeerId
from bb_core.steps import AppEvent, Step
from bb_core.testing import Loopback, Network, Seen


def peer(number: int) -> PeerId:
    """A peer id."""
    return PeerId.from_int(number)


@bb.concrete("tests.Weight")
class Weight(bb.roles.Model):
    """One number. Training adds what is in the data; `log` keeps the ops that ran, in order."""

    @dataclass(frozen=True, slots=True)
    class Config:
        start: float = 0.0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.value = np.full(1, config.start, np.float32)
        self.log: list[str] = []

    def snapshot(self) -> bb.State:
        return {"value": self.value.copy(), "log": list(self.log)}

    def restore(self, state: bb.State) -> None:
        self.value[:], self.log = state["value"], list(state["log"])

    def params(self, ctx: bb.Context) -> bb.Tensor:
        self.log.append("params")
        return self.value.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        self.log.append(f"load {float(params[0]):g}")
        self.value[:] = params

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        self.log.append(f"add {float(delta[0]):g}")
        self.value += delta

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        self.log.append("train")
        total = sum(float(batch.sum()) for _ in range(epochs) for batch, _ in data.epoch(ctx))
        self.value += np.float32(total)
        return np.zeros((), np.float32), bb.Record(num_samples=1)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        return bb.Record(correct=float(self.value[0]), count=1)

    def parameters(self) -> bb.Tensor:
        return self.value.copy()


@bb.concrete("tests.Numbers")
class Numbers(bb.roles.DataSource):
    """A list of numbers, one batch."""

    @dataclass(frozen=True, slots=True)
    class Config:
        numbers: tuple[float, ...] = (1.0,)

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        batch = np.asarray(self.config.numbers, np.float32)
        return batch, np.zeros(len(batch), np.int64), bb.Record(num_samples=len(batch), epoch_end=True)

    def epoch(self, ctx: bb.Context) -> Any:
        batch, labels, _ = self.next_batch(ctx)
        yield batch, labels


@bb.concrete("tests.Mean")
class Mean(bb.roles.Aggregator):
    """The plain mean."""

    @dataclass(frozen=True, slots=True)
    class Config:
        quorum: int | None = None
        minimum: int = 1

    def combine(self, ctx: bb.Context, contributions: list[Any]) -> tuple[bb.Tensor, bb.Record]:
        total = sum(float(c.update[0]) for c in contributions)
        return np.full(1, total / len(contributions), np.float32), bb.Record(peers=len(contributions))


@bb.concrete("tests.Everyone")
class Everyone(bb.roles.PeerSelector):
    """All peers of the class."""

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        return bb.PeerList(ctx.peers(peer_class or None)[:n])

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        return bb.PeerList(ctx.peers(peer_class or None))


@bb.concrete("tests.Itself")
class Itself(Everyone):
    """All peers of the class, and this Node too, which is no peer of its own."""

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        return bb.PeerList(self.current_view(ctx, peer_class=peer_class)[:n])

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        return bb.PeerList(sorted([ctx.peer_id, *ctx.peers(peer_class or None)]))


@bb.concrete("tests.NumpyBackend")
class NumpyBackend(bb.roles.Backend):
    """A few ops by numpy."""

    ops = frozenset({"Add", "Mul", "Identity", "Neg"})
    _BODIES: Mapping[str, Callable[..., Any]] = {  # never changed
        "Add": np.add,
        "Mul": np.multiply,
        "Identity": np.copy,
        "Neg": np.negative,
    }

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        return self._BODIES[name]


class Averaging(bb.Module):
    """A federated round of `Weight`s."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()

    def __init__(self, n: int = 3, deadline: str = "10s") -> None:
        self.n = n
        self.deadline = deadline

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.n, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, after=loaded)
        update, update_stats = g.send((self.model.params(g, after=loss), stats), to=received.sender)
        self.aggregator.contribute(g, update, update_stats)
        done = self.aggregator.collect(g, clients, deadline=self.deadline, after=received.request)
        params, total = self.aggregator.aggregate(g, after=done)
        g.output("training", total)
        g.output("params", params)
        self.model.load_parameters(g, params)


AVERAGING = {"cohort": Everyone, "model": Weight, "data": Numbers, "aggregator": Mean}


def bring_up(
    module: bb.Module,
    bindings: Mapping[str, Any],
    clients: int,
    *,
    network: Network | None = None,
    config_of: Callable[[int], Mapping[str, Any]] = lambda n: {},
    options: bb.NodeConfig | None = None,
    seed: int = 0,
) -> Loopback:
    """A coordinator, peer 0, and its clients, peers 1 and up."""
    artefact = bb.Compiler().bind(bindings).compile(module)
    nodes = [bb.install(peer(0), [], artefact, [module.name], config_of(0), options)]
    for number in range(1, clients + 1):
        nodes.append(bb.install(peer(number), [], artefact, [f"{module.name}@client"], config_of(number), options))
        nodes[0].add_peer(peer(number), peer_class="client")
    return Loopback(nodes, network, seed)


def one_round(loopback: Loopback, module: str = "Averaging", port: str = "round") -> dict[str, Any]:
    """Invoke the coordinator, run until all is quiet, and return its outputs."""
    loopback.invoke(peer(0), module, {port: bb.TRIGGER})
    loopback.run_until_quiet()
    return outputs(loopback.seen)


def outputs(seen: list[Seen]) -> dict[str, Any]:
    """The AppEvents' values by port."""
    return {s.step.port: s.step.value for s in seen if isinstance(s.step, AppEvent)}


def kinds(seen: list[Seen]) -> list[str]:
    """The class names of Steps."""
    return [type(s.step).__name__ for s in seen]


def of_kind(seen: list[Seen], kind: type[Step]) -> list[Any]:  # type: ignore[valid-type]  # a member of the union
    """The Steps of one class."""
    return [s.step for s in seen if isinstance(s.step, kind)]
