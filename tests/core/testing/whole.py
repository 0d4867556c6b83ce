"""One whole Concrete of each Role: they keep every promise, and the broken ones differ from them in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import bb_core as bb


@bb.concrete("tests.whole.Numpy")
class Numpy(bb.roles.Backend):
    """Two ops by numpy."""

    ops = frozenset({"Add", "Relu"})
    has_state: ClassVar[bool] = False

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        if name == "Add":
            return np.add
        if name == "Relu":
            return lambda x: np.asarray(np.maximum(x, 0), x.dtype)
        raise ValueError(f"no op {name!r}")


@bb.concrete("tests.whole.Linear")
class Linear(bb.roles.Model):
    """Least squares of one number by gradient descent."""

    @dataclass(frozen=True, slots=True)
    class Config:
        width: int = 4
        rate: float = 0.05

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.w = np.zeros(config.width + 1, np.float32)
        self.loaded = self.w.copy()
        self.kept = np.zeros_like(self.w)
        self.x: Any = None

    def snapshot(self) -> bb.State:
        return {"w": self.w.copy(), "loaded": self.loaded.copy(), "kept": self.kept.copy(), "x": self.x}

    def restore(self, state: bb.State) -> None:
        self.w, self.loaded, self.kept = (np.array(state[n]) for n in ("w", "loaded", "kept"))
        self.x = state["x"]

    def _checked(self, batch: bb.Tensor) -> bb.Tensor:
        if batch.ndim != 2 or batch.shape[1] != self.config.width:
            raise ValueError(f"a batch of shape {batch.shape}")
        return np.asarray(batch, np.float32).copy()

    def _like(self, vector: bb.Tensor) -> bb.Tensor:
        if vector.shape != self.w.shape:
            raise ValueError(f"a vector of shape {vector.shape}")
        return vector

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        self.x = self._checked(batch)
        return self.x @ self.w[:-1] + self.w[-1]

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        return np.asarray(np.mean((prediction - labels) ** 2), np.float32)

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        grad = (2 * (prediction - labels) / len(labels)).astype(np.float32)
        return self.compute_loss(ctx, prediction, labels), grad

    def backward(self, ctx: bb.Context, grad: bb.Tensor) -> None:
        self.kept = self.kept + np.append(self.x.T @ grad, grad.sum()).astype(np.float32)

    def backward_through(self, ctx: bb.Context, grad: bb.Tensor) -> bb.Tensor:
        self.backward(ctx, grad)
        return np.outer(grad, self.w[:-1]).astype(np.float32)

    def grads(self, ctx: bb.Context) -> bb.Tensor:
        return self.kept.copy()

    def zero_grad(self, ctx: bb.Context) -> None:
        self.kept = np.zeros_like(self.kept)

    def step(self, ctx: bb.Context) -> None:
        self.w = (self.w - np.float32(self.config.rate) * self.kept).astype(np.float32)
        self.zero_grad(ctx)

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        if len(batch) != len(labels):
            raise ValueError("labels are missing")
        kept = self.kept
        self.kept = np.zeros_like(kept)
        loss, grad = self.loss_grad(ctx, self.forward(ctx, batch), labels)
        self.backward(ctx, grad)
        self.step(ctx)
        self.kept = kept
        return loss, bb.Record(num_samples=len(batch))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        loss, count = np.zeros((), np.float32), 0
        for _ in range(epochs):
            count = 0
            for batch, labels in data.epoch(ctx):
                loss, stats = self.train_step(ctx, batch, labels)
                count += stats["num_samples"]
        return loss, bb.Record(num_samples=count)

    def params(self, ctx: bb.Context) -> bb.Tensor:
        return self.w.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        self.w = np.array(self._like(params))
        self.loaded = self.w.copy()

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        self.w = self.w + self._like(delta)

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        return self.w - self.loaded

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        if len(batch) != len(labels):
            raise ValueError("labels are missing")
        off = self._checked(batch) @ self.w[:-1] + self.w[-1] - labels
        return bb.Record(loss_sum=float(np.sum(off**2)), count=len(batch))


@bb.concrete("tests.whole.Flat")
class Flat(bb.roles.Index):
    """Looks at every vector."""

    @dataclass(frozen=True, slots=True)
    class Config:
        dim: int = 8

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.vectors = np.zeros((0, config.dim), np.float32)
        self.ids = np.zeros(0, np.int64)
        self.next = 0

    def snapshot(self) -> bb.State:
        return {"vectors": self.vectors.copy(), "ids": self.ids.copy(), "next": self.next}

    def restore(self, state: bb.State) -> None:
        self.vectors, self.ids, self.next = np.array(state["vectors"]), np.array(state["ids"]), state["next"]

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        given = np.arange(self.next, self.next + len(vectors)) if ids is None else np.array(ids)
        if vectors.shape[1:] != (self.config.dim,) or len(given) != len(vectors):
            raise ValueError(f"vectors of shape {vectors.shape}, {len(given)} ids")
        self.vectors = np.concatenate([self.vectors, vectors])
        self.ids = np.concatenate([self.ids, given])
        self.next = max(self.next, int(given.max(initial=-1)) + 1)
        return given.copy()

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        if query.shape[1:] != (self.config.dim,):
            raise ValueError(f"a query of shape {query.shape}")
        far = ((query[:, None] - self.vectors[None]) ** 2).sum(axis=2)
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        ids = np.full((len(query), k), -1, np.int64)
        scores = np.full((len(query), k), np.inf, np.float32)
        ids[:, : order.shape[1]] = self.ids[order]
        scores[:, : order.shape[1]] = np.take_along_axis(far, order, axis=1)
        return ids, scores

    def remove(self, ctx: bb.Context, ids: bb.Tensor) -> None:
        left = ~np.isin(self.ids, ids)
        self.vectors, self.ids = self.vectors[left], self.ids[left]

    def size(self, ctx: bb.Context) -> bb.Tensor:
        return np.asarray(len(self.ids))


@bb.concrete("tests.whole.Mean")
class Mean(bb.roles.Aggregator):
    """The plain mean."""

    def combine(self, ctx: bb.Context, contributions: list[Any]) -> tuple[bb.Tensor, bb.Record]:
        mean = np.mean([c.update for c in contributions], axis=0).astype(np.float32)
        return mean, bb.Record(peers=len(contributions))


@bb.concrete("tests.whole.Half")
class Half(bb.roles.Codec):
    """Half the bits: f32 to f16."""

    has_state: ClassVar[bool] = False

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[Any, bb.Record]:
        if value.dtype != np.float32:
            raise ValueError(f"a {value.dtype} tensor")
        half = value.astype(np.float16)
        distortion = float(((half.astype(np.float64) - value) ** 2).sum())
        return half, bb.Record(bytes_in=value.nbytes, bytes_out=half.nbytes, distortion=distortion)

    def decode(self, ctx: bb.Context, encoded: Any) -> bb.Tensor:
        if not isinstance(encoded, np.ndarray):
            raise TypeError(f"a {type(encoded).__name__} was never encoded")
        return encoded.astype(np.float32)


@bb.concrete("tests.whole.Rows")
class Rows(bb.roles.DataSource):
    """Ten rows, three at a time, in a new order in each pass."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.rows = np.arange(20, dtype=np.float32).reshape(10, 2)
        self.order: Any = None
        self.at = 0

    def snapshot(self) -> bb.State:
        return {"order": self.order, "at": self.at}

    def restore(self, state: bb.State) -> None:
        self.order, self.at = state["order"], state["at"]

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        if self.order is None:
            self.order, self.at = ctx.rng.permutation(len(self.rows)), 0
        rows = self.order[self.at : self.at + 3]
        self.at += len(rows)
        ended = self.at == len(self.order)
        if ended:
            self.order = None
        return self.rows[rows], rows % 3, bb.Record(num_samples=len(rows), epoch_end=ended)

    def reset(self, ctx: bb.Context) -> None:
        self.order = None

    def describe(self, ctx: bb.Context) -> bb.Record:
        return bb.Record(num_samples=len(self.rows))

    def epoch_arrays(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, int]:
        order = ctx.rng.permutation(len(self.rows))
        return self.rows[order], order % 3, 3


@bb.concrete("tests.whole.Anyone")
class Anyone(bb.roles.PeerSelector):
    """Peers of the address book, drawn evenly."""

    has_state: ClassVar[bool] = False

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        return bb.PeerList(ctx.peers(peer_class or None))

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        known = ctx.peers(peer_class or None)
        chosen = ctx.rng.choice(len(known), size=min(n, len(known)), replace=False) if known else []
        return bb.PeerList(sorted(known[i] for i in chosen))


class Counting(bb.roles.Protocol):
    """Counts what it hears."""

    protocol = "tests.counting"

    @bb.roles.op("Hear", outputs="count")
    def hear(self, ctx: bb.Context, rumour: bb.Tensor) -> bb.Tensor:
        raise NotImplementedError


@bb.concrete("tests.whole.Counter")
class Counter(Counting):
    """Counts in memory."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.count = 0

    def snapshot(self) -> bb.State:
        return {"count": self.count}

    def restore(self, state: bb.State) -> None:
        self.count = state["count"]

    def hear(self, ctx: bb.Context, rumour: bb.Tensor) -> bb.Tensor:
        self.count += 1
        return np.asarray(self.count)


class Telling(bb.Module):
    """Tells a rumour to the other peer, until it has confirmed it."""

    protocol = bb.ProtocolSlot(Counting)

    def body(self, g: bb.Graph) -> None:
        rumour, peers = g.input("rumour", bb.f32), g.input("peers", bb.types.PEER_LIST)
        there = g.send(rumour, to=peers, ack=True)
        g.output("heard", self.protocol.hear(g, there))


WHOLE: dict[type, dict[str, Any]] = {
    Numpy: {},
    Linear: {"classes": None},
    Flat: {},
    Mean: {},
    Half: {"max_error": 1e-3},
    Rows: {},
    Anyone: {},
    Counter: {
        "program": Telling,
        "start": ("Telling", {"rumour": np.ones(2, np.float32), "peers": bb.PeerList([bb.PeerId.from_int(1)])}),
        "peers": {"peers": 1},
        "agreed": lambda concretes: [c.count for c in concretes] == [1],
    },
}
"""Each with the traits that it declares."""
