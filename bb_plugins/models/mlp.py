"""`MLP`: a multilayer perceptron that classifies, trained by SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


class Plan(NamedTuple):
    """All that a training kernel reads and writes, in arrays that stay where they are.

    Shape:
        sizes (L+1,) i64 · params, grads (d,) f32 · velocity (d,) f32, or empty without
        momentum · acts, deltas (rows * sum(sizes[1:]),) f32, with room for
        `rows` examples · rate (2,) f32: learning rate and momentum
    """

    rows: int
    sizes: I64
    params: F32
    grads: F32
    velocity: F32
    acts: F32
    deltas: F32
    rate: F32


_MODES: Final = ("train", "eval")


@bb.concrete("bytesandbrains.MLP")
@bb.depends(backend="compute")
class MLP(bb.roles.Model):
    """Fully connected layers, ReLU between them, softmax cross-entropy at the end.

    The parameters are one flat vector: for each layer its weight (n_in, n_out) row by row, then its bias (n_out,). They
    begin uniform in +-1/sqrt(n_in), drawn from `seed` alone, so that all Nodes of one configuration begin alike.

    Shape:
        batch (b, layers[0]) f32 · labels (b,) integers in 0..layers[-1]-1 · prediction (b, layers[-1]) f32, logits ·
        params, grads, delta (d,) f32
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """Layout and optimizer."""

        layers: tuple[int, ...] = (64, 128, 10)
        """Width of the input and of each layer."""
        learning_rate: float = 0.1
        """Step of SGD; above 0."""
        momentum: float = 0.0
        """Share of the last step that goes into this one; 0 <= momentum < 1. Forgotten when parameters are loaded."""
        seed: int = 0
        """Of the first parameters."""

        def __post_init__(self) -> None:
            if len(self.layers) < 2 or min(self.layers) < 1:
                raise ValueError(f"layers is {self.layers}; expected two widths or more, each at least 1")
            if not 0 < self.learning_rate < float("inf"):
                raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")
            if not 0 <= self.momentum < 1:
                raise ValueError(f"momentum is {self.momentum}; expected 0 <= momentum < 1")
            if self.seed < 0:
                raise ValueError(f"seed is {self.seed}; expected 0 or more")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._plan = plan_of(config, rows=0)
        self._loaded: bb.Tensor = self._plan.params.copy()
        self._kept: F32 | None = None  # gradients of Backward, from the first one on
        self._input: F32 | None = None
        self._primitives: dict[str, Callable[..., Any]] = {}

    # --- parameters ---------------------------------------------------------------------------------------------------

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters."""
        return self._plan.params.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another layout."""
        self._loaded = self._like_params(params)  # values are frozen, so the reference is as good as a copy
        np.copyto(self._plan.params, self._loaded)
        if self.config.momentum:
            self._plan.velocity[:] = 0

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        np.add(self._plan.params, self._like_params(delta), out=self._plan.params)

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters (at first: minus those it began with)."""
        return self._plan.params - self._loaded

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._plan.params.copy()

    def snapshot(self) -> bb.State:
        """Return the parameters, what the optimizer keeps, and the input of a Forward that may want its Backward."""
        plan = self._plan
        return {
            "params": plan.params.copy(),
            "velocity": plan.velocity.copy(),
            "loaded": self._loaded,
            "kept": None if self._kept is None else self._kept.copy(),
            "input": self._input,
            "activations": None if self._input is None else plan.acts.copy(),
            "rows": plan.rows,
        }

    def restore(self, state: bb.State) -> None:
        """Take them over; refuse parameters of another layout."""
        self._plan = with_room(self._plan, state["rows"])
        np.copyto(self._plan.params, self._like_params(state["params"]))
        if self.config.momentum:
            np.copyto(self._plan.velocity, self._like_params(state["velocity"]))
        self._loaded, self._input = self._like_params(state["loaded"]), state["input"]
        self._kept = None if state["kept"] is None else self._like_params(state["kept"]).copy()
        if state["activations"] is not None:
            np.copyto(self._plan.acts, state["activations"])

    # --- one op at a time ---------------------------------------------------------------------------------------------

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict. Keeps the activations, for a Backward in the same Frame."""
        self._input = self._ready(batch)
        return self._forward(ctx, self._input).copy()

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        """Return the mean loss of predictions, a scalar."""
        return self.loss_grad(ctx, prediction, labels)[0]

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the mean loss and its gradient by the prediction, for Backward."""
        logits = _mutable(prediction, np.float32)
        grad = np.empty_like(logits)
        loss = self._primitive(ctx, "softmax_cross_entropy")(logits, self._classes(labels, len(logits)), grad)
        return _scalar(loss), grad

    def backward(self, ctx: bb.Context, grad: bb.Tensor) -> None:
        """Add the parameters' gradients of the last Forward to those kept, given the gradient by its prediction."""
        if self._input is None or grad.shape != (len(self._input), self.config.layers[-1]):
            raise RoleError("Backward has no Forward of its shape before it", expected="the gradient of its prediction")
        plan, rows = with_grads(self._plan), len(self._input)
        _last(plan.deltas, plan.sizes, rows)[:] = grad
        backward = self._primitive(ctx, "mlp_backward")
        backward(plan.params, plan.sizes, self._input, plan.acts, plan.deltas, plan.grads)
        self._kept = self._gathered()
        self._kept += plan.grads

    def zero_grad(self, ctx: bb.Context) -> None:
        """Set the kept gradients to zero."""
        self._kept = None

    def grads(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the kept gradients."""
        return self._gathered().copy()

    def step(self, ctx: bb.Context) -> None:
        """Run SGD once on the kept gradients, then set them to zero."""
        plan = self._plan
        self._primitive(ctx, "sgd")(plan.params, self._gathered(), plan.velocity, plan.rate[0], plan.rate[1])
        self._kept = None

    # --- whole batches, whole data sources ----------------------------------------------------------------------------

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Train on one batch."""
        x = self._ready(batch)
        self._plan = with_grads(self._plan)
        total = self._primitive(ctx, "mlp_train")(self._plan, x, self._classes(labels, len(x)), len(x))
        return _scalar(total / len(x)), bb.Record(num_samples=len(x))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Train `epochs` times on all of a DataSource; `loss` is the last pass's mean."""
        train = self._primitive(ctx, "mlp_train")
        self._plan = with_grads(self._plan)
        total, count = 0.0, 0
        for _ in range(epochs):
            total, count = 0.0, 0
            for batch, labels, size in _passes(ctx, data):
                if not len(batch):
                    continue
                x = self._ready(batch, min(size, len(batch)))
                total += train(self._plan, x, self._classes(labels, len(x)), size)
                count += len(x)
        if count == 0:
            raise RoleError("the DataSource gave no examples", expected="at least one batch", hint="check its indices")
        # A client that trains once in ten rounds must not hold what it needs only meanwhile: as much as its parameters.
        self._plan, self._input = without_scratch(self._plan), None
        return _scalar(total / count), bb.Record(num_samples=count)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Measure without training: `loss_sum`, `correct` and `count`."""
        x = self._ready(batch)
        classes = self._classes(labels, len(x))
        logits = self._forward(ctx, x)
        correct = int(np.count_nonzero(logits.argmax(axis=1) == classes))
        loss = self._primitive(ctx, "softmax_cross_entropy")(logits, classes, np.empty_like(logits))
        return bb.Record(loss_sum=float(loss) * len(x), correct=correct, count=len(x))

    def set_mode(self, ctx: bb.Context, *, mode: str) -> None:
        """Switch between `train` and `eval`, which are alike for a network without dropout."""
        if mode not in _MODES:
            raise RoleError(f"the mode is {mode!r}", expected=" or ".join(_MODES))

    def export(self, path: str) -> None:
        """Write the network as an ONNX model: input `batch` (n, layers[0]), output `logits` (n, layers[-1])."""
        from bb_plugins.models.export import export_mlp

        export_mlp(self.config.layers, self._plan.params, path)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _gathered(self) -> F32:
        """The gradients of Backward since the last Step; none is zeros."""
        return np.zeros_like(self._plan.params) if self._kept is None else self._kept

    def _forward(self, ctx: bb.Context, x: F32) -> F32:
        plan = self._plan
        self._primitive(ctx, "mlp_forward")(plan.params, plan.sizes, x, plan.acts)
        return _last(plan.acts, plan.sizes, len(x))

    def _primitive(self, ctx: bb.Context, name: str) -> Callable[..., Any]:
        found = self._primitives.get(name)
        if found is None:
            found = self._primitives[name] = ctx.dependency("compute").primitive(name)
        return found

    def _ready(self, batch: bb.Tensor, rows: int | None = None) -> F32:
        """Return a batch as the kernels take it, with room for the activations of all its rows, or of so many."""
        width = self.config.layers[0]
        x = _mutable(batch, np.float32)
        if x.ndim != 2 or x.shape[1] != width or not len(x):
            raise RoleError(f"a batch has the shape {batch.shape}", expected=f"(b, {width}) with b at least 1")
        self._plan = with_room(self._plan, len(x) if rows is None else rows)
        return cast(F32, x)

    def _classes(self, labels: bb.Tensor, rows: int) -> I64:
        classes = _mutable(labels, np.int64)
        if classes.shape != (rows,):
            raise RoleError(f"labels have the shape {labels.shape}", expected=f"({rows},), one for each example")
        return cast(I64, classes)

    def _like_params(self, vector: bb.Tensor) -> bb.Tensor:
        plan = self._plan
        if vector.shape != plan.params.shape or vector.dtype != np.float32:
            raise RoleError(
                f"the parameters are a {vector.dtype} of shape {vector.shape}",
                expected=f"float32 of shape {plan.params.shape}, for layers {self.config.layers}",
            )
        return vector


def _passes(ctx: bb.Context, data: bb.roles.DataSource) -> Iterator[tuple[bb.Tensor, bb.Tensor, int]]:
    """Yield what makes up one pass, with the batch size: the whole at once if it is in memory, else batch by batch."""
    whole = data.epoch_arrays(ctx)
    if whole is not None:
        yield whole
        return
    for batch, labels in data.epoch(ctx):
        yield batch, labels, len(batch)


def plan_of(config: MLP.Config, rows: int) -> Plan:
    """Allocate a network and draw its first parameters."""
    sizes = np.asarray(config.layers, np.int64)
    params = _first_params(config)
    rate = np.asarray([config.learning_rate, config.momentum], np.float32)
    empty = np.empty(0, np.float32)
    velocity = np.zeros_like(params) if config.momentum else empty  # plain SGD has none
    plan = Plan(0, sizes, params, empty, velocity, empty, empty, rate)
    return with_room(plan, rows)


def with_room(plan: Plan, rows: int) -> Plan:
    """Return a plan whose activations have room for so many rows: the same one when they have."""
    if rows <= plan.rows:
        return plan
    plan = with_grads(plan)
    wanted = rows * int(plan.sizes[1:].sum())
    return plan._replace(rows=rows, acts=np.empty(wanted, np.float32), deltas=np.empty(wanted, np.float32))


def with_grads(plan: Plan) -> Plan:
    """Return a plan that has room for the gradients: the same one when it has."""
    return plan if len(plan.grads) else plan._replace(grads=np.empty_like(plan.params))


def without_scratch(plan: Plan) -> Plan:
    """Return a plan of what lasts: parameters and velocity."""
    empty = np.empty(0, np.float32)
    return plan._replace(rows=0, grads=empty, acts=empty, deltas=empty)


def _first_params(config: MLP.Config) -> F32:
    random = np.random.Generator(np.random.Philox(config.seed))
    parts = []
    for n_in, n_out in pairwise(config.layers):
        bound = 1 / np.sqrt(n_in)
        parts.append(random.uniform(-bound, bound, (n_in + 1) * n_out))
    return np.concatenate(parts).astype(np.float32)


def _last(flat: F32, sizes: I64, rows: int) -> F32:
    """Return the last layer's part of activations or deltas, as a view (rows, classes)."""
    start = rows * int(sizes[1:-1].sum())
    return flat[start : start + rows * int(sizes[-1])].reshape(rows, int(sizes[-1]))


def _scalar(value: float) -> bb.Tensor:
    return np.full((), value, np.float32)


def _mutable(array: bb.Tensor, dtype: Any) -> Any:
    """Return an array as the kernels' one signature has it: of this dtype, in C order, and not read-only."""
    ready = np.ascontiguousarray(array, dtype)
    return ready if ready.flags.writeable else ready.copy()
