"""Concretes that are broken on purpose: for each check of the kit one that fails it, and no other.

Each is one of `whole`, with one thing changed.
"""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

import bb_core as bb
from tests.core.testing.whole import WHOLE, Anyone, Counter, Flat, Half, Linear, Mean, Numpy, Rows


@dataclass(frozen=True, slots=True)
class Broken:
    """A class, the one check that it fails, and what it declares of itself."""

    check: str
    cls: type
    traits: dict[str, Any]


BROKEN: list[Broken] = []


def breaks(check: str, **traits: Any) -> Callable[[type], type]:
    """Say which check a class fails."""

    def mark(cls: type) -> type:
        whole = next(c for c in cls.__mro__ if c in WHOLE)
        if "__bb_name__" not in vars(cls) and check != "has_a_stable_name":
            cls.__bb_name__ = f"tests.broken.{check}"  # type: ignore[attr-defined]
        if cls.__doc__ is None and check != "is_documented":
            cls.__doc__ = "Broken."
        BROKEN.append(Broken(check, cls, {**WHOLE[whole], **traits}))
        return cls

    return mark


# --- common -----------------------------------------------------------------------------------------------------------


@breaks("has_a_stable_name")
class Nameless(Mean):
    pass


@breaks("is_documented")
class Undocumented(Mean):
    pass


@breaks("config_is_frozen")
class Thawed(Mean):
    @dataclass
    class Config:
        quorum: int | None = None
        minimum: int = 1


@breaks("config_round_trips")
class Drifting(Mean):
    @dataclass(frozen=True)
    class Config:
        quorum: int | None = None
        minimum: int = 1
        share: float = 0.5

        def __post_init__(self) -> None:
            object.__setattr__(self, "share", self.share / 2)


@breaks("constructor_does_no_work")
class Working(Mean):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        monotonic()


@breaks("constructor_does_no_work")
class Reading(Mean):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
            file.read(1)


@breaks("constructor_does_no_work")
class Threading(Mean):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


@breaks("ops_run")
class Short(Mean):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        return super().combine(ctx, contributions)[:1]


@breaks("equal_seeds_give_equal_outputs")
class Unseeded(Rows):
    def describe(self, ctx: Any) -> Any:
        return bb.Record(num_samples=len(self.rows), chance=float(np.random.default_rng().random()))


@breaks("inputs_are_not_changed")
class Scaling(Linear):
    def evaluate(self, ctx: Any, batch: Any, labels: Any) -> Any:
        found = super().evaluate(ctx, batch, labels)
        labels *= 1.5
        return found


@breaks("outputs_match_their_types")
class Telling(Mean):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        return super().combine(ctx, contributions)[0], "all is well"


@breaks("outputs_stay_as_they_are")
class Aliased(Linear):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.shown = np.zeros_like(self.w)

    def params(self, ctx: Any) -> Any:
        self.shown = self.shown if self.shown.flags.writeable else self.shown.copy()
        self.shown[:] = self.w
        return self.shown[:]

    def evaluate(self, ctx: Any, batch: Any, labels: Any) -> Any:
        self.shown[:] = 7
        return super().evaluate(ctx, batch, labels)


@breaks("instances_share_nothing")
class Sharing(Mean):
    seen: list[int] = []  # noqa: RUF012

    def combine(self, ctx: Any, contributions: Any) -> Any:
        self.seen.append(len(contributions))
        return super().combine(ctx, contributions)


@breaks("instances_share_nothing")
class SharingCache(Mean):
    _cache = np.zeros(3)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.cache = self._cache

    def snapshot(self) -> Any:
        return {**super().snapshot()}


@breaks("uses_no_global_randomness")
class Dicing(Rows):
    def describe(self, ctx: Any) -> Any:
        return bb.Record(num_samples=len(self.rows), chance=random.random())


@breaks("uses_no_global_randomness")
class DicingByNumpy(Rows):
    def describe(self, ctx: Any) -> Any:
        return bb.Record(num_samples=len(self.rows), chance=float(np.random.random()))


@breaks("reads_no_clock")
class Timing(Mean):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        monotonic()
        return super().combine(ctx, contributions)


@breaks("keeps_no_context")
class Keeping(Anyone):
    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        self.ctx = ctx
        return super().sample(ctx, n=n, peer_class=peer_class)


@breaks("keeps_no_context")
class KeepingChance(Anyone):
    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        self.rng = ctx.rng
        return super().sample(ctx, n=n, peer_class=peer_class)


@breaks("laters_are_answered", patience_s=0.01)
class Forgetful(Rows):
    def on_data_loaded(self, ctx: Any) -> Any:
        return ctx.later()


@breaks("laters_are_answered")
class Hiding(Rows):
    def on_data_loaded(self, ctx: Any) -> Any:
        ctx.later(deadline=1)


@breaks("laters_are_answered")
class Uncancellable(Rows):
    def on_data_loaded(self, ctx: Any) -> Any:
        later = ctx.later(5, lambda ctx: later.complete(), None, lambda: self.gone.cancel() or None)
        return later


@breaks("dependencies_are_used")
@bb.depends(backend="compute")
class Idle(Mean):
    pass


@breaks("snapshot_restores")
class Amnesiac(Linear):
    def restore(self, state: Any) -> None:
        super().restore(state)
        self.loaded = np.zeros_like(self.w) + 1


@breaks("snapshot_stays_as_it_is")
class Live(Flat):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.room = np.zeros((64, config.dim), np.float32)

    def snapshot(self) -> Any:
        return {**super().snapshot(), "room": self.room[:]}

    def add(self, ctx: Any, vectors: Any, ids: Any = None) -> Any:
        found = super().add(ctx, vectors, ids)
        self.room[: len(self.vectors)] = self.vectors
        return found


@breaks("errors_are_typed")
class Accidental(Flat):
    def add(self, ctx: Any, vectors: Any, ids: Any = None) -> Any:
        if ids is not None and len(ids) != len(vectors):
            raise IndexError("out of bounds")
        return super().add(ctx, vectors, ids)


@breaks("errors_change_nothing")
class HalfDone(Flat):
    def add(self, ctx: Any, vectors: Any, ids: Any = None) -> Any:
        self.next += int(ids is not None)
        return super().add(ctx, vectors, ids)


# --- Backend ----------------------------------------------------------------------------------------------------------


@breaks("unknown_ops_are_refused")
class Lenient(Numpy):
    def kernel(self, name: str, attributes: Any) -> Any:
        return super().kernel(name if name in self.ops else "Relu", attributes)


@breaks("kernel_Relu")
class Leaky(Numpy):
    def kernel(self, name: str, attributes: Any) -> Any:
        if name == "Relu":
            return lambda x: np.asarray(np.where(x > 0, x, x / 100), x.dtype)
        return super().kernel(name, attributes)


@breaks("kernel_Add")
class Widening(Numpy):
    def kernel(self, name: str, attributes: Any) -> Any:
        return (lambda a, b: np.add(a, b, dtype=np.float64)) if name == "Add" else super().kernel(name, attributes)


# --- Model ------------------------------------------------------------------------------------------------------------


@breaks("loaded_parameters_come_back")
class Rounding(Linear):
    def load_parameters(self, ctx: Any, params: Any) -> None:
        super().load_parameters(ctx, params)
        self.w = self.w.astype(np.float16).astype(np.float32)


@breaks("another_layout_is_refused")
class Obliging(Linear):
    def load_parameters(self, ctx: Any, params: Any) -> None:
        super().load_parameters(ctx, np.resize(params, self.w.shape))


@breaks("a_delta_is_added")
class Doubling(Linear):
    def apply_delta(self, ctx: Any, delta: Any) -> None:
        super().apply_delta(ctx, delta)
        self.w = self.w + (delta if abs(float(delta[0])) < 0.2 else 0 * delta)


@breaks("delta_is_since_the_last_load")
class SinceTheBeginning(Linear):
    def load_parameters(self, ctx: Any, params: Any) -> None:
        loaded = self.loaded
        super().load_parameters(ctx, params)
        self.loaded = loaded + 1


@breaks("training_lowers_the_loss")
class Still(Linear):
    @dataclass(frozen=True, slots=True)
    class Config:
        width: int = 4
        rate: float = 0.0


@breaks("training_counts_its_examples")
class Miscounting(Linear):
    def train_epochs(self, ctx: Any, data: Any, *, epochs: int = 1) -> Any:
        loss, stats = super().train_epochs(ctx, data, epochs=epochs)
        return loss, bb.Record(num_samples=epochs * stats["num_samples"])


@breaks("gradients_are_those_of_the_loss")
class Steep(Linear):
    def compute_loss(self, ctx: Any, prediction: Any, labels: Any) -> Any:
        return np.asarray(2 * super().compute_loss(ctx, prediction, labels), np.float32)

    def backward_through(self, ctx: Any, grad: Any) -> Any:
        return 2 * super().backward_through(ctx, grad)


@breaks("what_flows_through_is_the_gradient_by_the_batch")
class Loud(Linear):
    def backward_through(self, ctx: Any, grad: Any) -> Any:
        return 2 * super().backward_through(ctx, grad)


@breaks("gradients_add_up_until_zeroed")
class Replacing(Linear):
    def backward(self, ctx: Any, grad: Any) -> None:
        self.kept = np.zeros_like(self.kept)
        super().backward(ctx, grad)


@breaks("a_step_is_made_of_its_parts")
class Hasty(Linear):
    def train_step(self, ctx: Any, batch: Any, labels: Any) -> Any:
        before = self.w
        found = super().train_step(ctx, batch, labels)
        self.w = (before + np.float32(1.5) * (self.w - before)).astype(np.float32)
        return found


@breaks("measures_add_up")
class Averaged(Linear):
    def evaluate(self, ctx: Any, batch: Any, labels: Any) -> Any:
        found = super().evaluate(ctx, batch, labels)
        return bb.Record(loss_sum=found["loss_sum"] / found["count"], count=found["count"])


@breaks("measuring_trains_nothing")
class Peeking(Linear):
    peeks = 0

    def snapshot(self) -> Any:
        return {**super().snapshot(), "peeks": self.peeks}

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.peeks = state["peeks"]

    def params(self, ctx: Any) -> Any:
        return super().params(ctx) + np.float32(self.peeks)

    def evaluate(self, ctx: Any, batch: Any, labels: Any) -> Any:
        found = super().evaluate(ctx, batch, labels)
        self.peeks += 1
        return found


# --- Index ------------------------------------------------------------------------------------------------------------


@breaks("ids_name_one_vector_each")
class Renaming(Flat):
    def add(self, ctx: Any, vectors: Any, ids: Any = None) -> Any:
        return super().add(ctx, vectors, None if ids is None or len(ids) != len(vectors) else ids + 1)


@breaks("size_counts")
class Capacious(Flat):
    def size(self, ctx: Any) -> Any:
        return np.asarray(len(self.ids) if len(self.ids) < 24 else 32 if len(self.ids) == 24 else len(self.ids))


@breaks("what_is_stored_is_found")
class Blind(Flat):
    def search(self, ctx: Any, query: Any, *, k: int) -> Any:
        return super().search(ctx, query if k > 1 else -query, k=k)


@breaks("nearest_come_first")
class Shuffled(Flat):
    def search(self, ctx: Any, query: Any, *, k: int) -> Any:
        ids, scores = super().search(ctx, query, k=k)
        return (ids[:, ::-1].copy(), np.roll(scores, 1, axis=1)) if (ids >= 0).all() and k == 5 else (ids, scores)


@breaks("fewer_than_k_are_filled_up")
class Ragged(Flat):
    def search(self, ctx: Any, query: Any, *, k: int) -> Any:
        return super().search(ctx, query, k=min(k, max(len(self.ids), 1)))


@breaks("what_is_removed_is_gone")
class Hoarding(Flat):
    def remove(self, ctx: Any, ids: Any) -> None:
        return None


@breaks("another_length_is_refused")
class Cutting(Flat):
    def search(self, ctx: Any, query: Any, *, k: int) -> Any:
        return super().search(ctx, query[:, : self.config.dim], k=k)


# --- Aggregator -------------------------------------------------------------------------------------------------------


class _Remembering(Mean):
    """Knows in which order the updates of a round came."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.arrived: list[bb.PeerId] = []

    def snapshot(self) -> Any:
        return {**super().snapshot(), "arrived": list(self.arrived)}

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.arrived = list(state["arrived"])

    def contribute(self, ctx: Any, update: Any, stats: Any) -> Any:
        super().contribute(ctx, update, stats)
        self.arrived.append(ctx.source)

    def reset(self, ctx: Any) -> Any:
        super().reset(ctx)
        self.arrived = []


@breaks("order_of_arrival_does_not_matter")
class FirstCome(_Remembering):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        first, self.arrived = self.arrived[0], []
        return next(c.update for c in contributions if c.source == first), bb.Record(peers=len(contributions))


@breaks("a_duplicate_replaces")
class Counted(_Remembering):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        times = [self.arrived.count(c.source) for c in contributions]
        self.arrived = []
        mean = np.average([c.update for c in contributions], axis=0, weights=times).astype(np.float32)
        return mean, bb.Record(peers=len(contributions))


@breaks("a_collection_may_begin_first")
class Impatient(Mean):
    def collect(self, ctx: Any, cohort: Any, quorum: Any = None, minimum: Any = None, deadline: Any = None) -> Any:
        early = not self._waiting
        return super().collect(ctx, cohort, 3 if early and minimum is None else quorum, minimum, deadline)

    def reset(self, ctx: Any) -> Any:
        super().reset(ctx)
        self._waiting = {-1: {}}  # so that only a new one is impatient


@breaks("a_missed_quorum_fails")
class Modest(Mean):
    def collect(self, ctx: Any, cohort: Any, quorum: Any = None, minimum: Any = None, deadline: Any = None) -> Any:
        return super().collect(ctx, cohort, quorum, 1, deadline)


@breaks("equal_updates_come_out")
class Shrinking(Mean):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        mean, stats = super().combine(ctx, contributions)
        equal = all(np.array_equal(c.update, contributions[0].update) for c in contributions)
        return (mean * np.float32(0.9) if equal else mean), stats


@breaks("the_result_lies_between_the_updates")
class Overshooting(Mean):
    def combine(self, ctx: Any, contributions: Any) -> Any:
        updates = np.asarray([c.update for c in contributions])
        mean, stats = super().combine(ctx, contributions)
        return (mean + 10 * np.ptp(updates, axis=0)).astype(np.float32), stats


@breaks("not_finite_is_refused")
class Trusting(Mean):
    def accept(self, ctx: Any, contribution: Any) -> None:
        if not np.issubdtype(contribution.update.dtype, np.floating):
            super().accept(ctx, contribution)

    def combine(self, ctx: Any, contributions: Any) -> Any:
        mean, stats = super().combine(ctx, contributions)
        return np.nan_to_num(mean), stats


@breaks("reset_forgets")
class Remembering(Mean):
    def reset(self, ctx: Any) -> Any:
        return None


# --- Codec ------------------------------------------------------------------------------------------------------------


@breaks("shape_and_type_come_back")
class Flattening(Half):
    def decode(self, ctx: Any, encoded: Any) -> Any:
        return super().decode(ctx, encoded).reshape(-1)


@breaks("the_error_is_as_declared")
class Coarse(Half):
    def encode(self, ctx: Any, value: Any) -> Any:
        half, stats = super().encode(ctx, np.round(value) if value.dtype == np.float32 else value)
        return half, stats.merge(distortion=float(((half.astype(np.float64) - value) ** 2).sum()))


@breaks("sizes_are_true")
class Boasting(Half):
    def encode(self, ctx: Any, value: Any) -> Any:
        half, stats = super().encode(ctx, value)
        return half, stats.merge(bytes_out=half.nbytes // 2)


@breaks("sizes_are_true")
class Undercounting(Half):
    """Counts one field of its Record."""

    def encode(self, ctx: Any, value: Any) -> Any:
        half, stats = super().encode(ctx, value)
        return bb.Record(half=half, scale=np.ones(4, np.float32)), stats

    def decode(self, ctx: Any, encoded: Any) -> Any:
        return super().decode(ctx, encoded["half"] if isinstance(encoded, bb.Record) else encoded)


@breaks("distortion_is_true")
class Flattering(Half):
    def encode(self, ctx: Any, value: Any) -> Any:
        half, stats = super().encode(ctx, value)
        return half, stats.merge(distortion=0.0)


@breaks("what_is_encoded_can_travel")
class Homebound(Half):
    def encode(self, ctx: Any, value: Any) -> Any:
        half, stats = super().encode(ctx, value)
        return {"half": half}, stats

    def decode(self, ctx: Any, encoded: Any) -> Any:
        return super().decode(ctx, encoded["half"] if isinstance(encoded, dict) else encoded)


# --- DataSource -------------------------------------------------------------------------------------------------------


@breaks("batches_are_counted")
class Padded(Rows):
    def next_batch(self, ctx: Any) -> Any:
        batch, labels, stats = super().next_batch(ctx)
        return batch, labels, stats.merge(num_samples=3)


@breaks("a_pass_has_each_example_once")
class Mislabelled(Rows):
    def describe(self, ctx: Any) -> Any:
        return bb.Record(num_samples=12)


@breaks("reset_begins_anew")
class Unresettable(Rows):
    def reset(self, ctx: Any) -> None:
        return None

    def epoch(self, ctx: Any) -> Any:
        self.order = None
        return super().epoch(ctx)


@breaks("epoch_gives_the_same")
class Reversed(Rows):
    def epoch(self, ctx: Any) -> Any:
        return reversed(list(super().epoch(ctx)))


@breaks("epoch_arrays_give_the_same")
class Unshuffled(Rows):
    def epoch_arrays(self, ctx: Any) -> Any:
        return self.rows, np.arange(len(self.rows)) % 3, 3


# --- PeerSelector -----------------------------------------------------------------------------------------------------


@breaks("never_this_node", sees_all=False)
class Selfish(Anyone):
    def current_view(self, ctx: Any, *, peer_class: str = "") -> Any:
        return bb.PeerList(sorted([ctx.peer_id, *ctx.peers()]))

    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        return bb.PeerList(self.current_view(ctx)[:n])


@breaks("never_one_twice")
class Repeating(Anyone):
    def current_view(self, ctx: Any, *, peer_class: str = "") -> Any:
        known = list(ctx.peers())
        return bb.PeerList([*known[:1], *known])


@breaks("samples_are_sorted")
class Unsorted(Anyone):
    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        return bb.PeerList(reversed(super().sample(ctx, n=n)))


@breaks("never_more_than_asked_for")
class Generous(Anyone):
    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        return super().sample(ctx, n=n + 1)


@breaks("chosen_from_the_view")
class Inventive(Anyone):
    def current_view(self, ctx: Any, *, peer_class: str = "") -> Any:
        return bb.PeerList(sorted(bb.PeerId.from_int(n + 50) for n in range(len(ctx.peers()))))


@breaks("works_alone")
class Sociable(Anyone):
    def sample(self, ctx: Any, *, n: int, peer_class: str = "") -> Any:
        if not ctx.peers():
            raise ValueError("nobody is there")
        return super().sample(ctx, n=n)


# --- Protocol ---------------------------------------------------------------------------------------------------------


@breaks("nodes_agree_in_spite_of_loss")
class Deaf(Counter):
    def hear(self, ctx: Any, rumour: Any) -> Any:
        found = super().hear(ctx, rumour)
        self.count += 1
        return found


gc.collect()  # what the class bodies have left behind is no test's
