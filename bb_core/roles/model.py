"""Model: predicts, and learns from batches."""

from __future__ import annotations

from typing import Any, ClassVar

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Positive, Role, abstract, op
from bb_core.roles.data_source import DataSource
from bb_core.values import Record, Tensor


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

    def export(self, path: str) -> None:
        """Write what has been trained to a file that other tools read. Not an op: the host calls it."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported")

    def parameters(self) -> Any:
        """Return a copy of the flat parameter vector. Not an op: the host calls it."""
        raise NotImplementedError
