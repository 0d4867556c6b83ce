"""What is asked of a Model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bb_core.roles import DataSource
from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Subject, Tour
from bb_core.testing.traits import ModelTraits
from bb_core.testing.values import same, short
from bb_core.values import Record

TRAITS = ModelTraits


class Toy(DataSource):
    """Two batches in a fixed order."""

    def __init__(self, batches: list[tuple[Any, Any]]) -> None:
        super().__init__(None)
        self._batches = batches
        self._at = 0

    def next_batch(self, ctx: Any) -> Any:
        """Return the next batch."""
        batch, labels = self._batches[self._at % len(self._batches)]
        self._at += 1
        return batch, labels, Record(num_samples=len(batch), epoch_end=self._at % len(self._batches) == 0)

    def reset(self, ctx: Any) -> None:
        """Begin anew."""
        self._at = 0

    def epoch(self, ctx: Any) -> Iterator[tuple[Any, Any]]:
        """Yield both."""
        yield from self._batches

    def describe(self, ctx: Any) -> Record:
        """Count."""
        return Record(num_samples=sum(len(b) for b, _ in self._batches))


def batch_of(subject: Subject, number: int) -> tuple[Any, Any]:
    """Make a batch that can be learnt: labels follow from the examples."""
    traits, random = subject.traits, subject.random(number)
    batch = random.standard_normal((traits.batch_size, *traits.example_shape)).astype(np.float32)
    flat = batch.reshape(traits.batch_size, -1)
    if traits.classes is None:
        rule = subject.random(77).standard_normal((flat.shape[1], int(np.prod(traits.label_shape, dtype=int))))
        return batch, (flat @ rule).astype(np.float32).reshape(traits.batch_size, *traits.label_shape)
    rule = subject.random(77).standard_normal((flat.shape[1], traits.classes))
    return batch, (flat @ rule).argmax(axis=1).astype(np.int64)


def tour(subject: Subject) -> Tour:
    """Play what the Model can do: predict, learn by parts, by steps and by passes, and exchange parameters."""
    batch, labels = batch_of(subject, 0)
    params = (yield Call("params")) if subject.has("params") else None
    yield from _each(subject, Call("set_mode", (), {"mode": "train"}))
    if subject.has("forward"):
        yield from _by_parts(subject, batch, labels)
    toy = Toy([batch_of(subject, n) for n in range(2)])
    yield from _each(
        subject,
        Call("train_step", (batch, labels)),
        Call("train_epochs", (toy,), {"epochs": 2}),
        Call("params"),
        Call("delta"),
    )
    if params is not None:
        yield from _each(
            subject, Call("apply_delta", (np.full_like(params, 0.01),)), Call("load_parameters", (params,))
        )
    yield from _each(subject, Call("evaluate", (batch, labels)), Call("params"), Call("delta"))


def _by_parts(subject: Subject, batch: Any, labels: Any) -> Tour:
    prediction = yield Call("forward", (batch,))
    yield from _each(subject, Call("compute_loss", (prediction, labels)))
    if subject.has("loss_grad", "backward"):
        _, grad = yield Call("loss_grad", (prediction, labels))
        yield Call("backward", (grad,))
        yield from _each(subject, Call("grads"), Call("step"), Call("zero_grad"))


def _each(subject: Subject, *calls: Call) -> Tour:
    """Make those Calls that the Model has."""
    for call in calls:
        if subject.has(call.method):
            yield call


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """Vectors and batches of another layout."""
    batch, labels = batch_of(subject, 0)
    wide = np.concatenate([batch, batch], axis=-1) if batch.ndim > 1 else batch[:0]
    found = []
    if subject.has("params"):
        params = np.asarray(subject.stage().do("params"))
        longer = np.concatenate([params, params[:1]])
        found += [
            (f"a vector of {longer.size} parameters", Call(m, (longer,)))
            for m in ("load_parameters", "apply_delta")
            if subject.has(m)
        ]
    found += [("examples of another shape", Call("forward", (wide,)))] if subject.has("forward") else []
    for method in ("train_step", "evaluate"):
        if subject.has(method):
            found.append(("examples of another shape", Call(method, (wide, labels))))
            found.append(("too few labels", Call(method, (batch, labels[:-1]))))
    return found


def loaded_parameters_come_back(subject: Subject) -> None:
    """Params after LoadParameters is what was loaded."""
    subject.needs("params", "load_parameters")
    stage = subject.stage()
    params = stage.do("params")
    wanted = (np.asarray(params) + subject.random().standard_normal(params.shape)).astype(params.dtype)
    stage.do("load_parameters", wanted.copy())
    found = stage.do("params")
    expect(same(found, wanted), f"{short(wanted)} was loaded, {short(found)} came back")


def another_layout_is_refused(subject: Subject) -> None:
    """LoadParameters and ApplyDelta refuse a vector of another length."""
    if not subject.traits.fixed_layout:
        raise Skip("it declares fixed_layout=False")
    subject.needs("params")
    for method in ("load_parameters", "apply_delta"):
        if not subject.has(method):
            continue
        stage = subject.stage()
        params = stage.do("params")
        for wrong in (np.concatenate([params, params]), params[:-1]):
            try:
                stage.do(method, wrong)
            except Exception:  # which error is another check's question
                continue
            expect(False, f"{method} takes a vector of {wrong.size} instead of {params.size}")


def a_delta_is_added(subject: Subject) -> None:
    """ApplyDelta adds to the parameters."""
    subject.needs("params", "apply_delta")
    stage = subject.stage()
    before = np.asarray(stage.do("params"))
    delta = (0.1 * subject.random().standard_normal(before.shape)).astype(before.dtype)
    stage.do("apply_delta", delta.copy())
    _close(stage.do("params"), before + delta, "the sum is")


def delta_is_since_the_last_load(subject: Subject) -> None:
    """Delta is the parameters minus those of the last LoadParameters."""
    subject.needs("params", "load_parameters", "delta", "apply_delta")
    stage = subject.stage()
    params = stage.do("params")
    stage.do("apply_delta", np.full_like(params, 0.5))
    stage.do("load_parameters", params.copy())
    stage.do("apply_delta", np.full_like(params, 0.25))
    _close(stage.do("delta"), np.full_like(params, 0.25), "since the last load that is")


def training_lowers_the_loss(subject: Subject) -> None:
    """Training on one batch again and again lowers its loss."""
    if not subject.traits.learns:
        raise Skip("it declares learns=False")
    stage, (batch, labels) = subject.stage(), batch_of(subject, 0)
    if subject.has("train_step"):
        losses = [float(stage.do("train_step", batch, labels)[0]) for _ in range(subject.traits.steps)]
    elif subject.has("train_epochs"):
        toy = Toy([(batch, labels)])
        losses = [float(stage.do("train_epochs", toy, epochs=1)[0]) for _ in range(subject.traits.steps)]
    else:
        raise Skip("it has neither train_step nor train_epochs")
    expect(losses[-1] < losses[0], f"the loss went from {losses[0]:.5g} to {losses[-1]:.5g} in {len(losses)} steps")


def training_counts_its_examples(subject: Subject) -> None:
    """The stats of training say how many examples it saw: `num_samples`, of one pass."""
    stage, batches = subject.stage(), [batch_of(subject, n) for n in range(2)]
    size = subject.traits.batch_size
    found = {}
    if subject.has("train_step"):
        found["train_step"] = (stage.do("train_step", *batches[0])[1], size)
    if subject.has("train_epochs"):
        found["train_epochs"] = (stage.do("train_epochs", Toy(batches), epochs=3)[1], 2 * size)
    if not found:
        raise Skip("it has neither train_step nor train_epochs")
    for method, (stats, wanted) in found.items():
        count = stats.get("num_samples")
        expect(count == wanted, f"{method} saw {wanted} examples, and its stats say num_samples={count!r}")


def gradients_are_those_of_the_loss(subject: Subject) -> None:
    """A small step along the gradients changes the loss by as much as they say."""
    subject.needs("forward", "compute_loss", "loss_grad", "backward", "grads", "params", "load_parameters")
    stage, (batch, labels) = subject.stage(), batch_of(subject, 0)
    params = np.asarray(stage.do("params"), np.float64)

    def loss_at(where: Any) -> float:
        stage.do("load_parameters", where.astype(np.float32))
        return float(stage.do("compute_loss", stage.do("forward", batch), labels))

    stage.do("load_parameters", params.astype(np.float32))
    _, grad = stage.do("loss_grad", stage.do("forward", batch), labels)
    stage.do("backward", grad)
    grads = np.asarray(stage.do("grads"), np.float64)
    norm = float(np.linalg.norm(grads))
    expect(norm > 0, "the gradients of a loss that can be lowered are zero")
    step = 1e-2 * grads / norm
    rise = (loss_at(params + step) - loss_at(params - step)) / 2
    expect(
        abs(rise - 1e-2 * norm) <= 0.05 * 1e-2 * norm + 1e-6,
        f"along the gradients the loss rises by {rise:.4g}; they say {1e-2 * norm:.4g}",
    )


def what_flows_through_is_the_gradient_by_the_batch(subject: Subject) -> None:
    """BackwardThrough gives the gradient by the batch: along it the loss changes by as much as it says."""
    subject.needs("forward", "compute_loss", "loss_grad", "backward_through")
    stage, (batch, labels) = subject.stage(), batch_of(subject, 0)
    if subject.has("params", "apply_delta"):  # a model may begin with zeros, through which nothing flows
        params = np.asarray(stage.do("params"))
        stage.do("apply_delta", (0.1 * subject.random().standard_normal(params.shape)).astype(params.dtype))

    def loss_at(where: Any) -> float:
        return float(stage.do("compute_loss", stage.do("forward", where.astype(batch.dtype)), labels))

    _, grad = stage.do("loss_grad", stage.do("forward", batch), labels)
    found = np.asarray(stage.do("backward_through", grad), np.float64)
    expect(found.shape == batch.shape, f"it has the shape {found.shape}, the batch {batch.shape}")
    norm = float(np.linalg.norm(found))
    expect(norm > 0, "the gradient by the batch is zero")
    step = 1e-2 * found / norm
    rise = (loss_at(batch + step) - loss_at(batch - step)) / 2
    expect(
        abs(rise - 1e-2 * norm) <= 0.05 * 1e-2 * norm + 1e-6,
        f"along the gradient the loss rises by {rise:.4g}; it says {1e-2 * norm:.4g}",
    )


def gradients_add_up_until_zeroed(subject: Subject) -> None:
    """Backward adds to the gradients that are kept; ZeroGrad forgets them."""
    subject.needs("forward", "loss_grad", "backward", "grads", "zero_grad")
    stage, (batch, labels) = subject.stage(), batch_of(subject, 0)

    def backward() -> Any:
        _, grad = stage.do("loss_grad", stage.do("forward", batch), labels)
        stage.do("backward", grad)
        return np.asarray(stage.do("grads")).copy()

    once = backward()
    _close(backward(), 2 * once, "twice the first gradients are")
    stage.do("zero_grad")
    _close(stage.do("grads"), np.zeros_like(once), "after ZeroGrad they are")


def a_step_is_made_of_its_parts(subject: Subject) -> None:
    """TrainStep is Forward, LossGrad, Backward and Step in one."""
    subject.needs("train_step", "forward", "loss_grad", "backward", "step", "params")
    (batch, labels), whole, parts = batch_of(subject, 0), subject.stage(), subject.stage()
    whole.do("train_step", batch, labels)
    _, grad = parts.do("loss_grad", parts.do("forward", batch), labels)
    parts.do("backward", grad)
    parts.do("step")
    _close(whole.do("params"), parts.do("params"), "its parts give")


def measures_add_up(subject: Subject) -> None:
    """Evaluate of a batch is the sum of that of its halves: `loss_sum`, `correct` and `count` can be added."""
    subject.needs("evaluate")
    batch, labels = batch_of(subject, 0)
    stage, half = subject.stage(), len(batch) // 2
    whole = stage.do("evaluate", batch, labels)
    first = stage.do("evaluate", batch[:half].copy(), labels[:half].copy())
    second = stage.do("evaluate", batch[half:].copy(), labels[half:].copy())
    for name in ("loss_sum", "correct", "count"):
        if name in whole:
            total = float(first[name]) + float(second[name])
            near = abs(float(whole[name]) - total) <= 1e-4 * max(1.0, abs(total))
            expect(near, f"{name} is {whole[name]} on a batch, and {total} on its halves")


def measuring_trains_nothing(subject: Subject) -> None:
    """Evaluate and Forward leave the parameters as they are."""
    subject.needs("params")
    stage, (batch, labels) = subject.stage(), batch_of(subject, 0)
    before = stage.do("params")
    for method, inputs in (("evaluate", (batch, labels)), ("forward", (batch,))):
        if subject.has(method):
            stage.do(method, *inputs)
            expect(same(stage.do("params"), before), f"{method} changes the parameters")


def _close(found: Any, wanted: Any, what: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    slack = 1e-4 * float(np.abs(wanted).max(initial=1e-2))
    near = found.shape == wanted.shape and float(np.abs(found - wanted).max(initial=0.0)) <= slack
    expect(near, f"it gives {short(found)}; {what} {short(wanted)}")


CHECKS = checks(
    loaded_parameters_come_back,
    another_layout_is_refused,
    a_delta_is_added,
    delta_is_since_the_last_load,
    training_lowers_the_loss,
    training_counts_its_examples,
    gradients_are_those_of_the_loss,
    what_flows_through_is_the_gradient_by_the_batch,
    gradients_add_up_until_zeroed,
    a_step_is_made_of_its_parts,
    measures_add_up,
    measuring_trains_nothing,
    tours=True,
)
