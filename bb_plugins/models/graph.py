"""`GraphModel`: any ONNX model, trained: its gradients are derived as ONNX, and a Backend computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.models.metrics import check_names, further
from bb_plugins.models.passes import trained_on
from bb_plugins.training.control_variates import VARIATES, Variates
from bb_plugins.training.optimizers import Name, Optimizer, Options, Schedule

F32 = npt.NDArray[np.float32]
Loss = Literal["cross_entropy", "mse", "l1", "huber", "bce_with_logits"]
Initial = Literal["as_given", "uniform_fan_in", "he_normal", "glorot_uniform"]


@bb.concrete("bytesandbrains.GraphModel")
@bb.depends(backend="compute")
class GraphModel(bb.roles.Model):
    """Train an ONNX model that may come from anywhere, with any Backend and no framework.

    The parameters are one flat vector, the model's float32 initializers in the order of their first use; frozen ones,
    and the running statistics of batch normalisation, are not among them. Backward refers to the last Forward of its
    Frame, gradients add up until Step or ZeroGrad, ApplyDelta adds, and LoadParameters refuses another layout.

    Shape:
        batch (b, ...) f32 and labels as the graph and the loss have them · params, grads, delta (d,) f32
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """What is trained, and how."""

        graph: bytes = b""
        """The model. Its first output is the prediction, its one input that is no initializer the batch."""
        path: str = ""
        """Where its `.onnx` file lies on the Node, instead of its bytes."""
        loss: Loss = "cross_entropy"
        optimizer: Name = "sgd"
        learning_rate: float = 0.1
        momentum: float = 0.9
        """Of `momentum` and `nesterov`; the first moment's decay of `adam` and `adamw`."""
        second: float = 0.999
        decay: float = 0.99
        epsilon: float = 1e-8
        weight_decay: float = 0.0
        clip_norm: float = 0.0
        """Longest gradient; 0 for none."""
        schedule: Schedule = "constant"
        schedule_steps: int = 0
        proximal: float = 0.0
        """Weight of half the squared distance from the parameters that were loaded last (FedProx, Li et al. 2020)."""
        control_variates: bool = False
        """SCAFFOLD (Karimireddy et al. 2020): corrects each step by how this peer's gradients differ from all peers'.
        What travels is then twice as long, parameters and variate, and is averaged by the Aggregator `Scaffold`. Only
        with `sgd` of one learning rate."""
        frozen: tuple[str, ...] = ()
        """Patterns, such as `encoder.*`, of the names of initializers that are not trained."""
        trained: tuple[str, ...] = ()
        """Patterns of those that are, such as `head.*`; all without one."""
        prediction: str = ""
        """Name of the value that is predicted, such as the logits before a last Softmax; else the first output."""
        initial: Initial = "as_given"
        """How the parameters begin: as the model has them, or drawn from `seed` alone (biases then begin at 0)."""
        metrics: tuple[str, ...] = ()
        """What Evaluate measures beside loss and accuracy, of classes: `f1`, and `top_3` with any number."""
        seed: int = 0
        batch_size: int = 32
        """Of a pass over data that lies in memory, where the DataSource does not say."""

        def __post_init__(self) -> None:
            if bool(self.graph) == bool(self.path):
                raise ValueError("expected the model as graph=<bytes> or path=<file>, one of them")
            if not 0 < self.learning_rate < float("inf"):
                raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")
            for name in ("momentum", "second", "decay"):
                if not 0 <= getattr(self, name) < 1:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected 0 <= {name} < 1")
            for name in ("epsilon", "weight_decay", "clip_norm", "proximal", "seed", "schedule_steps"):
                if getattr(self, name) < 0:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
            if self.schedule != "constant" and not self.schedule_steps:
                raise ValueError(f"the schedule {self.schedule!r} needs schedule_steps")
            check_names(self.metrics)
            if self.metrics and self.loss != "cross_entropy":
                raise ValueError(
                    f"metrics are {self.metrics}; expected none, for the loss {self.loss!r} has no classes"
                )
            if self.control_variates and (self.optimizer != "sgd" or self.schedule != "constant"):
                raise ValueError("control_variates need the optimizer 'sgd' and the schedule 'constant'")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        from bb_plugins.training.trainable import Trainable

        model = _read(config.graph, config.path)
        self._trainable = Trainable(model, config.frozen, config.trained, config.prediction, own=True)
        self._arena = first_parameters(self._trainable, config.initial, config.seed)
        self._views = self._trainable.views(self._arena)
        self._statistics = [s.start.copy() for s in self._trainable.statistics]
        self._loaded: bb.Tensor | None = None  # None: what it began with, and still has
        self._kept: F32 | None = None  # gradients; None: none yet
        self._spare: F32 | None = None  # room for them
        self._rooms: tuple[F32, list[F32]] | None = None  # that room, and its parts
        self._variates = Variates(self._arena.size) if config.control_variates else None
        self._optimizer = Optimizer(_options(config), self._arena.size)
        self._input: bb.Tensor | None = None
        self._masks: list[F32] = []
        self._mode = "train"
        self._plans: dict[str, tuple[Callable[..., tuple[Any, ...]], list[Any]]] = {}

    @classmethod
    def capabilities(cls, config: Any) -> bb.roles.Capabilities:
        """Say what it can do: all, with float32."""
        return bb.roles.Capabilities(dtypes=(bb.f32,))

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> str:
        """Hash of the parameters' names and shapes."""
        return self._trainable.layout

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters; with control variates these behind them."""
        if self._variates is None:
            return self._arena.copy()
        return np.concatenate([self._arena, self._variates.sent(self._moved())])

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another layout. What the optimizer keeps is forgotten."""
        if self._variates is not None:
            params, variate = self._variates.parts(params)
            self._variates.begin(self._moved(), variate)
        self._loaded = loaded = self._like_params(params)
        np.copyto(self._arena, loaded)
        self._optimizer.forget()

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        delta = self._like_params(delta)
        self._leave()
        self._arena += delta

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters (at first: minus those it began with)."""
        return self._delta()

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._arena.copy()

    def snapshot(self) -> bb.State:
        """Return the parameters, the statistics, what the optimizer keeps, and what a Backward may still want."""
        return {
            "params": self._arena.copy(),
            "statistics": [s.copy() for s in self._statistics],
            "loaded": self._loaded,
            "kept": None if self._kept is None else self._kept.copy(),
            "optimizer": self._optimizer.state(),
            "input": self._input,
            "masks": [m.copy() for m in self._masks],
            "mode": self._mode,
            "variates": None if self._variates is None else self._variates.state(),
        }

    def restore(self, state: bb.State) -> None:
        """Take them over; refuse parameters of another layout."""
        np.copyto(self._arena, self._like_params(state["params"]))
        self._loaded = None if state["loaded"] is None else self._like_params(state["loaded"])
        self._kept = None if state["kept"] is None else np.array(self._like_params(state["kept"]))
        self._statistics = [np.array(s) for s in state["statistics"]]
        self._optimizer.load(state["optimizer"])
        if self._variates is not None:
            self._variates.load(state["variates"])
        self._input, self._masks, self._mode = state["input"], [np.array(m) for m in state["masks"]], state["mode"]

    # --- one op at a time ---------------------------------------------------------------------------------------------

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict. Keeps the batch, for a Backward in the same Frame; in training, Dropout draws now."""
        if self._mode == "eval":
            prediction, drawn = self._predict(ctx, batch), self._masks
        else:
            run, masks = self._plan(ctx, "backward")
            drawn = self._drawn(ctx, masks, batch)
            seed = np.zeros(self._output_shape(ctx, batch), np.float32)
            prediction = np.asarray(run(batch, seed, *self._views, *self._statistics, *drawn)[0])
        self._input, self._masks = batch, drawn  # a batch that does not fit has changed nothing
        return prediction

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        """Return the mean loss of predictions, a scalar."""
        return self.loss_grad(ctx, prediction, labels)[0]

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the mean loss and its gradient by the prediction, for Backward."""
        run, _ = self._plan(ctx, "loss")
        loss, grad = run(prediction, self._labels(labels, prediction.shape))
        return np.asarray(loss, np.float32), np.asarray(grad)

    def backward(self, ctx: bb.Context, grad: bb.Tensor) -> None:
        """Add the parameters' gradients of the last Forward to those kept, given the gradient by its prediction."""
        self._keep(list(self._back(ctx, "backward", grad)))

    def backward_through(self, ctx: bb.Context, grad: bb.Tensor) -> bb.Tensor:
        """Backward, and return the gradient by the batch of the last Forward, of its shape."""
        found = self._back(ctx, "through", grad)
        place = len(self._views)
        self._keep([*found[:place], *found[place + 1 :]])
        return np.asarray(found[place])

    def zero_grad(self, ctx: bb.Context) -> None:
        """Set the kept gradients to zero."""
        self._let_go()

    def grads(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the kept gradients."""
        return np.zeros_like(self._arena) if self._kept is None else self._kept.copy()

    def step(self, ctx: bb.Context) -> None:
        """Run the optimizer once on the kept gradients, then set them to zero."""
        self._move()

    # --- whole batches, whole data sources ----------------------------------------------------------------------------

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Train on one batch."""
        loss = self._learn(ctx, batch, labels)
        return np.asarray(loss, np.float32), self._told(bb.Record(num_samples=len(batch)))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Train `epochs` times on all of a DataSource; `loss` is the last pass's mean."""
        loss, stats = trained_on(ctx, data, epochs, self._learn)
        self._spare = self._rooms = None  # a client that trains once in ten rounds holds no more than it needs
        return loss, self._told(stats)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Measure without training: `loss_sum`, `count`; of classes `correct`, of numbers `square_sum`."""
        prediction = self._predict(ctx, batch)
        loss, _ = self.loss_grad(ctx, prediction, labels)
        found: dict[str, Any] = {"loss_sum": float(loss) * len(batch), "count": len(batch)}
        if self.config.loss == "cross_entropy":
            hits = prediction.argmax(-1) == labels
            found["correct"] = float(hits.mean()) * len(batch) if hits.ndim > 1 else int(np.count_nonzero(hits))
            found |= further(self.config.metrics, prediction, labels)
        elif self.config.loss == "bce_with_logits":
            found["correct"] = float(((prediction > 0) == (labels > 0.5)).mean()) * len(batch)
        else:
            found["square_sum"] = float(np.mean((prediction - labels) ** 2)) * len(batch)
        return bb.Record(found)

    def set_mode(self, ctx: bb.Context, *, mode: str) -> None:
        """Switch Forward between `train` and `eval`."""
        if mode not in ("train", "eval"):
            raise RoleError(f"the mode is {mode!r}", expected="train or eval")
        self._mode = mode

    def export(self, path: str) -> None:
        """Write the model as it was given, with the parameters and statistics that it has now."""
        Path(path).write_bytes(self._trainable.trained(self._arena, self._statistics).SerializeToString())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _learn(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> Any:
        run, masks = self._plan(ctx, "train")
        drawn = self._drawn(ctx, masks, batch)
        known = self._labels(labels, (len(batch), *self._trainable.predicted[1:]))
        given = (batch, known, *self._views, *self._statistics, *drawn)
        into = getattr(run, "into", None) if self._kept is None else None
        room = [] if into is None else self._room()
        made = run(*given) if into is None else into((None, *room, *[None] * len(self._statistics)), given)
        loss, found = made[0], list(made[1:])
        del made  # the list alone holds the gradients, and lets go of each as it is added
        if not np.isfinite(loss):
            raise RoleError(
                f"the loss is {float(loss)}", expected="a finite number",
                hint="lower the learning rate, or set clip_norm",
            )  # fmt: skip
        if into is None:
            self._keep(found)
        else:  # the gradients are where they belong
            self._kept, self._spare = self._spare, None
            self._statistics = [np.array(s) for s in found[len(room) :]]
        if self._kept is not None and not _is_finite(self._kept):
            self._let_go()
            raise RoleError("a gradient is not finite, but the loss is", hint="set clip_norm, or look at the batch")
        self._move()
        return loss

    def _room(self) -> list[F32]:
        """Where a graph may write the gradients that nothing has to be added to: views of the spare vector."""
        if self._spare is None:
            self._spare = np.empty_like(self._arena)
        if self._rooms is None or self._rooms[0] is not self._spare:
            self._rooms = (self._spare, self._trainable.views(self._spare))
        return self._rooms[1]

    def _back(self, ctx: bb.Context, plan: str, grad: bb.Tensor) -> tuple[Any, ...]:
        """What flows back through the last Forward."""
        if self._input is None:
            raise RoleError("Backward has no Forward before it", expected="the gradient of its prediction")
        run, masks = self._plan(ctx, plan)
        drawn = self._masks or [np.ones(_shape(m, len(self._input)), np.float32) for m in masks]
        return run(self._input, grad, *self._views, *self._statistics, *drawn)[1:]

    def _keep(self, found: list[Any]) -> None:
        """Add gradients to those kept, and take the statistics over. The list is emptied: what is in it is large."""
        count = len(self._views)
        statistics = found[count:]
        add = self._kept is not None
        if self._kept is None:
            self._kept, self._spare = np.empty_like(self._arena) if self._spare is None else self._spare, None
        for place, parameter in enumerate(self._trainable.parameters):
            part = self._kept[parameter.start : parameter.start + parameter.size]
            grad, found[place] = np.asarray(found[place]).reshape(-1), None
            if add:
                part += grad
            else:
                part[:] = grad
        if statistics:
            self._statistics = [np.array(s) for s in statistics]

    def _move(self) -> None:
        self._leave()
        if self._kept is None:
            self._kept = np.zeros_like(self._arena)
        if self.config.proximal:
            self._kept += np.float32(self.config.proximal) * self._delta()
        if self._variates is not None:
            self._kept += self._variates.correction()
        self._optimizer.step(self._arena, self._kept)
        self._let_go()

    def _leave(self) -> None:
        """Remember what the parameters began with, before they change for the first time."""
        if self._loaded is None:
            self._loaded = self._arena.copy()

    def _let_go(self) -> None:
        """Forget the gradients; their room is kept for the next."""
        if self._kept is not None:
            self._kept, self._spare = None, self._kept

    def _told(self, stats: bb.Record) -> bb.Record:
        """Say that control variates go with the parameters, or an Aggregator could not know."""
        return stats if self._variates is None else bb.Record({**stats, VARIATES: True})

    def _delta(self) -> F32:
        found: F32 = np.zeros_like(self._arena)
        return found if self._loaded is None else np.subtract(self._arena, self._loaded, out=found)

    def _moved(self) -> F32:
        """How far the parameters have come since they were loaded, against the gradient, in units of the rate."""
        return -self._delta() / np.float32(self.config.learning_rate)

    def _predict(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        run, _ = self._plan(ctx, "predict")
        return np.asarray(run(batch, *self._views, *self._statistics)[0])

    def _output_shape(self, ctx: bb.Context, batch: bb.Tensor) -> tuple[int, ...]:
        return tuple(self._predict(ctx, batch).shape)

    def _plan(self, ctx: bb.Context, name: str) -> tuple[Callable[..., tuple[Any, ...]], list[Any]]:
        """A graph that is bound to the Backend, and the masks that it wants."""
        found = self._plans.get(name)
        if found is None:
            graph, masks = self._derived(name)
            found = self._plans[name] = (ctx.dependency("compute").graph(graph, self._trainable.opset), masks)
        return found

    def _derived(self, name: str) -> tuple[Any, list[Any]]:
        if name == "predict":
            return self._trainable.predicts(), []
        if name == "loss":
            return loss_alone(self._trainable, self.config.loss), []
        if name == "train":
            return self._trainable.learns(self.config.loss)
        return self._trainable.flows_back(through=name == "through")

    def _drawn(self, ctx: bb.Context, masks: list[Any], batch: bb.Tensor) -> list[F32]:
        return [ctx.rng.random(_shape(m, len(batch)), np.float32) for m in masks]

    def _labels(self, labels: bb.Tensor, predicted: Sequence[int | str | None]) -> bb.Tensor:
        """Check labels against the shape of their predictions, as far as it is known."""
        of_classes = self.config.loss == "cross_entropy"
        wanted = predicted[:-1] if of_classes else predicted
        fits = labels.ndim == len(wanted) and all(
            have == want or not isinstance(want, int) for have, want in zip(labels.shape, wanted, strict=True)
        )
        if not fits:
            shown = ", ".join(str(w) for w in wanted)
            raise RoleError(f"labels have the shape {labels.shape}", expected=f"({shown}), one for each prediction")
        if not of_classes:
            return labels.astype(np.float32, copy=False)
        whole = labels.astype(np.int64, copy=False)
        classes = predicted[-1]
        if whole.size and (
            whole.min() < 0
            or (isinstance(classes, int) and whole.max() >= classes)
            or (whole is not labels and not np.array_equal(whole, labels))
        ):
            raise RoleError(
                f"labels from {labels.min()} to {labels.max()}", expected=f"whole numbers from 0, below {classes}"
            )
        return whole

    def _like_params(self, vector: bb.Tensor) -> bb.Tensor:
        if vector.shape != self._arena.shape or vector.dtype != np.float32:
            raise RoleError(
                f"the parameters are a {vector.dtype} of shape {vector.shape}",
                expected=f"float32 of shape {self._arena.shape}, layout {self._trainable.layout}",
            )
        return vector


def _read(graph: bytes, path: str) -> Any:
    import onnx

    try:
        return onnx.load(path) if path else onnx.ModelProto.FromString(graph)
    except Exception as error:  # onnx and protobuf raise classes of their own
        what = f"the file {path}" if path else f"{len(graph)} bytes"
        raise ValueError(f"{what} cannot be read as an ONNX model: {error}") from error


def _is_finite(vector: F32) -> bool:
    """Say whether all elements are finite. A sum of squares tells at once, but for those whose squares overflow."""
    return bool(np.isfinite(np.dot(vector, vector)) or np.isfinite(vector).all())


def _options(config: Any) -> Options:
    return Options(
        config.optimizer, config.learning_rate, config.momentum, config.second, config.decay, config.epsilon,
        config.weight_decay, config.clip_norm, config.schedule, config.schedule_steps,
    )  # fmt: skip


def _shape(mask: Any, rows: int) -> tuple[int, ...]:
    """The shape of a mask for a batch of so many rows: its first length is theirs."""
    dims = (rows, *mask.dims[1:])
    if not all(isinstance(d, int) for d in dims):
        raise RoleError(f"a Dropout has the shape {mask.dims}", expected="lengths that are known but for the batch's")
    return dims


def loss_alone(trainable: Any, loss: str) -> Any:
    """The graph of a loss by itself: prediction and labels in, the loss and its gradient by the prediction out."""
    from onnx import helper, shape_inference

    from bb_plugins.training.gradients import gradients
    from bb_plugins.training.losses import LABELS, LOSS, with_loss

    graph = trainable.graph
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", trainable.opset)])
    info = shape_inference.infer_shapes(model, data_prop=True).graph.output[0]
    alone = helper.make_graph([], "loss", [info], [info])
    whole = with_loss(alone, trainable.opset, loss)
    derived = gradients(whole, LOSS, [info.name], trainable.opset)
    assert [i.name for i in derived.input] == [info.name, LABELS]
    return derived


def first_parameters(trainable: Any, initial: str, seed: int) -> F32:
    """Return the parameters to begin with. Drawn ones depend on seed, layout and order alone.

    Source: He et al. (2015); Glorot and Bengio (2010).
    """
    given: F32 = trainable.take_first()
    if initial == "as_given":
        return given
    random = np.random.Generator(np.random.Philox(seed))
    drawn = np.zeros_like(given)
    for p in trainable.parameters:
        if len(p.shape) < 2:
            continue  # biases and scales keep what they begin with
        receptive = int(np.prod(p.shape[2:])) if len(p.shape) > 2 else 1
        fan_in, fan_out = (p.shape[1] * receptive, p.shape[0] * receptive) if len(p.shape) > 2 else p.shape
        if initial == "he_normal":
            values = random.normal(0, np.sqrt(2 / fan_in), p.size)
        else:
            bound = np.sqrt(6 / (fan_in + fan_out)) if initial == "glorot_uniform" else 1 / np.sqrt(fan_in)
            values = random.uniform(-bound, bound, p.size)
        drawn[p.start : p.start + p.size] = values
    for p in trainable.parameters:
        if len(p.shape) < 2:
            drawn[p.start : p.start + p.size] = given[p.start : p.start + p.size]
    return drawn
