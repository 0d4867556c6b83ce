"""Model: predicts, and learns from batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Positive, Role, abstract, implements, op
from bb_core.roles.data_source import DataSource
from bb_core.types import Type, bf16, f16, f32, f64
from bb_core.values import Record, Tensor


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a Model of some configuration can do; the compiler refuses a program that asks for more.

    Attributes:
        can_backward: It has gradients: Backward, BackwardThrough, LossGrad, Grads, Step, ZeroGrad.
        can_delta: Its parameters can be added to: Delta, ApplyDelta.
        deterministic: Equal seeds and inputs give equal bytes, on one machine.
        dtypes: Types of the numbers that it takes, such as `bb.f32`; empty for all.
    """

    can_backward: bool = True
    can_delta: bool = True
    deterministic: bool = True
    dtypes: tuple[Type, ...] = ()


_NUMBERS: Final = (f16, bf16, f32, f64)
_GRADIENTS: Final = ("backward", "backward_through", "loss_grad", "grads", "step", "zero_grad")
_DELTAS: Final = ("delta", "apply_delta")


class Model(Role):
    """Hold parameters, predict with them and train them.

    The parameters travel as one flat vector, in an order that is the Model's own. Every op may be left out by a
    Concrete that cannot do it; a program that records it then does not compile for that Concrete.

    Shape:
        batch (b, ...) · labels (b,) or (b, ...) · params, grads, delta (d,)   b = batch, d = parameters
    """

    role: ClassVar[str] = keys.MODEL
    exclusive: ClassVar[bool] = True

    @op("Forward", outputs="prediction")
    @abstract
    def forward(self, ctx: Context, batch: Tensor) -> Tensor:
        """Predict. Keeps the activations, for a Backward in the same Frame."""
        raise NotImplementedError

    @op("ComputeLoss", outputs="loss")
    @abstract
    def compute_loss(self, ctx: Context, prediction: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of predictions, a scalar."""
        raise NotImplementedError

    @op("LossGrad", outputs="loss grad", version=2)
    @abstract
    def loss_grad(self, ctx: Context, prediction: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and its gradient by the prediction, for Backward."""
        raise NotImplementedError

    @op("Backward")
    @abstract
    def backward(self, ctx: Context, grad: Tensor) -> None:
        """Add the parameters' gradients of the last Forward to those kept, given the gradient by its prediction."""
        raise NotImplementedError

    @op("BackwardThrough", outputs="input_grad", version=2)
    @abstract
    def backward_through(self, ctx: Context, grad: Tensor) -> Tensor:
        """Backward, and return the gradient by the batch of the last Forward: for the Model that this one is behind."""
        raise NotImplementedError

    @op("ZeroGrad", version=2)
    @abstract
    def zero_grad(self, ctx: Context) -> None:
        """Set the kept gradients to zero."""
        raise NotImplementedError

    @op("Grads", outputs="grads", version=2)
    @abstract
    def grads(self, ctx: Context) -> Tensor:
        """Return a copy of the kept gradients."""
        raise NotImplementedError

    @op("Step", version=2)
    @abstract
    def step(self, ctx: Context) -> None:
        """Run the optimizer once on the kept gradients, then set them to zero."""
        raise NotImplementedError

    @op("ApplyDelta")
    @abstract
    def apply_delta(self, ctx: Context, delta: Tensor) -> None:
        """Add a vector to the parameters."""
        raise NotImplementedError

    @op("Delta", outputs="delta", version=2)
    @abstract
    def delta(self, ctx: Context) -> Tensor:
        """Return the parameters minus those of the last LoadParameters."""
        raise NotImplementedError

    @op("LoadParameters")
    @abstract
    def load_parameters(self, ctx: Context, params: Tensor) -> None:
        """Replace the parameters; refuse a vector of another layout."""
        raise NotImplementedError

    @op("Params", outputs="params")
    @abstract
    def params(self, ctx: Context) -> Tensor:
        """Return a copy of the parameters."""
        raise NotImplementedError

    @op("TrainStep", outputs="loss stats", version=2)
    @abstract
    def train_step(self, ctx: Context, batch: Tensor, labels: Tensor) -> tuple[Tensor, Record]:
        """Train on one batch. `stats` has at least `num_samples`."""
        raise NotImplementedError

    @op("TrainEpochs", outputs="loss stats", version=2)
    @abstract
    def train_epochs(self, ctx: Context, data: DataSource, *, epochs: Positive = 1) -> tuple[Tensor, Record]:
        """Train `epochs` times on all of a DataSource; `loss` is the last pass's mean, `stats` has `num_samples`."""
        raise NotImplementedError

    @op("Evaluate", outputs="metrics", version=2)
    @abstract
    def evaluate(self, ctx: Context, batch: Tensor, labels: Tensor) -> Record:
        """Measure without training: `loss_sum`, `correct` and `count`, which add up over batches and peers."""
        raise NotImplementedError

    @op("SetMode", version=2)
    @abstract
    def set_mode(self, ctx: Context, *, mode: str) -> None:
        """Switch between `train` and `eval`."""
        raise NotImplementedError

    @classmethod
    def capabilities(cls, config: Any) -> Capabilities:
        """Say what a Model of this configuration can do; `config` is None when it is not known yet."""
        return Capabilities(
            can_backward=any(implements(cls, name) for name in _GRADIENTS),
            can_delta=any(implements(cls, name) for name in _DELTAS),
        )

    @classmethod
    def cannot(cls, method: str, config: Any, inputs: Mapping[str, Type]) -> str:
        """Say why it cannot do an op, by its capabilities."""
        can = cls.capabilities(config)
        if method in _GRADIENTS and not can.can_backward:
            return "it has no gradients (can_backward is False)"
        if method in _DELTAS and not can.can_delta:
            return "its parameters cannot be added to (can_delta is False)"
        for port, found in inputs.items():
            if can.dtypes and port != "labels" and found.bare in _NUMBERS and found.bare not in can.dtypes:
                return f"it takes {' or '.join(map(str, can.dtypes))} as {port!r}, and is given {found}"
        return ""

    def export(self, path: str) -> None:
        """Write what has been trained to a file that other tools read. Not an op: the host calls it."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported")

    def parameters(self) -> Any:
        """Return a copy of the flat parameter vector. Not an op: the host calls it."""
        raise NotImplementedError
