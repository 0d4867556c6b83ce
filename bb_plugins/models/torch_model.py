"""`TorchModel`: a `torch.nn.Module`, trained by torch on a device of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import MissingExtra, RoleError
from bb_plugins.models.metrics import check_names
from bb_plugins.models.passes import finite, flat_of, measures, named, trained_on

F32 = npt.NDArray[np.float32]
_DTYPES: Final = ("float32", "float64", "bfloat16", "float16")


@bb.concrete("bytesandbrains.TorchModel")
class TorchModel(bb.roles.Model):
    """Train a module of torch.

    Its parameters are views of one flat vector on the device, in the order of `parameters()`, those with
    `requires_grad=False` left out; they leave the device when they are sent. With float32 on the CPU, that vector and
    numpy's are one memory. Buffers, such as running statistics, stay where they are. Randomness, such as dropout's,
    comes from the Node's random numbers. How many threads torch takes is for the program to say
    (`torch.set_num_threads`).

    Shape:
        batch (b, ...) and labels as the module and the loss take them · params, grads, delta (d,) f32
    """

    @dataclass(frozen=True, slots=True, eq=False)
    class Config:
        """Which module, how it learns, and where."""

        module: Any
        """A function without arguments that makes the module, its class, or either as text: `"mypkg.net:Net"`."""
        loss: Any = "cross_entropy"
        """A function `(prediction, labels)`, or the name of one of `torch.nn.functional`."""
        optimizer: Any = "SGD"
        """A function of the parameters that makes an optimizer, or the name of a class of `torch.optim`."""
        learning_rate: float = 0.1
        options: dict[str, Any] = field(default_factory=dict)
        """What else the class of `torch.optim` is given: `{"momentum": 0.9}`."""
        device: str = "cpu"
        """Where it computes, such as `cuda` or `cuda:1`."""
        dtype: str = "float32"
        """Of parameters and batches: float32, float64, bfloat16 or float16. What travels is float32."""
        clip_norm: float = 0.0
        """Longest gradient; 0 for none."""
        proximal: float = 0.0
        """Weight of half the squared distance from the parameters that were loaded last (FedProx, Li et al. 2020)."""
        metrics: tuple[str, ...] = ()
        """What Evaluate measures beside loss and accuracy, of classes: `f1`, and `top_3` with any number."""
        seed: int = 0
        """Of the module's first parameters."""

        def __post_init__(self) -> None:
            check_names(self.metrics)
            if not 0 < self.learning_rate < float("inf"):
                raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")
            if self.dtype not in _DTYPES:
                raise ValueError(f"dtype is {self.dtype!r}; expected {', '.join(_DTYPES)}")
            for name in ("clip_norm", "proximal", "seed"):
                if getattr(self, name) < 0:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
            if not callable(self.module) and not (isinstance(self.module, str) and ":" in self.module):
                raise ValueError(f"module is {self.module!r}; expected what makes one, or 'module:name'")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        torch = self._torch = _torch()
        self._device = _device(torch, config.device)
        self._dtype = getattr(torch, config.dtype)
        with self._seeded(config.seed):
            made = named(config.module, "module")()
        if not isinstance(made, torch.nn.Module):
            raise ValueError(f"module made a {type(made).__name__}; expected a torch.nn.Module")
        self._module = made.to(self._device, self._dtype)
        self._parts = [p for p in self._module.parameters() if p.requires_grad]
        if not self._parts:
            raise ValueError("the module has no parameter that requires a gradient; expected one to train")
        self._arena, self._flat, self._grads = _as_one(torch, self._parts)
        self._loaded: bb.Tensor = self._sent(self._flat)
        self._loss = named(config.loss, "loss") if ":" in str(config.loss) else _of(torch.nn.functional, config.loss)
        self._optimizer = self._new_optimizer()
        self._input: bb.Tensor | None = None
        self._seed = 0
        self._kept: tuple[Any, Any] | None = None  # the last Forward's input and output, as torch has them
        self._draws = 0

    @classmethod
    def capabilities(cls, config: Any) -> bb.roles.Capabilities:
        """Say what it can do: kernels of other devices than the CPU may give other bytes each time."""
        return bb.roles.Capabilities(deterministic=config is None or config.device == "cpu")

    @property
    def module(self) -> Any:
        """The module. Not an op: the host calls it."""
        return self._module

    # --- parameters ---------------------------------------------------------------------------------------------------

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters."""
        return self._sent(self._flat)

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another length. What the optimizer keeps is forgotten."""
        self._loaded = self._like_params(params)
        self._write(self._loaded)
        self._optimizer = self._new_optimizer()

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        self._flat += self._there(self._like_params(delta))

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters (at first: minus those it began with)."""
        return np.asarray(self._sent(self._flat) - self._loaded)

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._sent(self._flat)

    def snapshot(self) -> bb.State:
        """Return parameters, gradients, buffers, what the optimizer keeps, and what a Backward may still want."""
        return {
            "params": self._packed(self._flat),
            "grads": self._packed(self._grads),
            "loaded": self._loaded,
            "buffers": {name: self._packed(b) for name, b in self._module.named_buffers()},
            "optimizer": _plain(self._optimizer.state_dict()["state"], self._packed),
            "input": self._input,
            "seed": self._seed,
            "draws": self._draws,
            "training": self._module.training,
        }

    def restore(self, state: bb.State) -> None:
        """Take them over; refuse parameters of another length."""
        if np.shape(state["params"]) != tuple(self._flat.shape):
            raise RoleError(f"the state has {np.shape(state['params'])} parameters", expected=f"{self._flat.shape}")
        self._loaded = self._like_params(state["loaded"])
        for mine, theirs in ((self._flat, state["params"]), (self._grads, state["grads"])):
            mine.copy_(self._torch.tensor(np.array(theirs)))
        for name, buffer in self._module.named_buffers():
            buffer.copy_(self._torch.tensor(np.array(state["buffers"][name])))
        groups = self._optimizer.state_dict()["param_groups"]
        kept = _tensors(state["optimizer"], self._torch)
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})
        self._input, self._seed, self._draws = state["input"], state["seed"], state["draws"]
        self._kept = None
        self._module.train(state["training"])

    # --- one op at a time ---------------------------------------------------------------------------------------------

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict. Keeps what a Backward in the same Frame needs; in training, dropout draws now."""
        seed = self._next_seed(ctx)
        kept = self._forward(batch, seed)
        self._input, self._seed, self._kept = batch, seed, kept  # a batch that does not fit has changed nothing
        self._draws += 1
        return self._sent(kept[1])

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        """Return the mean loss of predictions, a scalar."""
        with self._torch.no_grad():
            return self._sent(self._loss_of(self._there(prediction), labels))

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the mean loss and its gradient by the prediction, for Backward."""
        found = self._there(prediction).clone().requires_grad_()
        loss = self._loss_of(found, labels)
        (grad,) = self._torch.autograd.grad(loss, found)
        return self._sent(loss), self._sent(grad)

    def backward(self, ctx: bb.Context, grad: bb.Tensor) -> None:
        """Add the parameters' gradients of the last Forward to those kept, given the gradient by its prediction."""
        self._back(grad)

    def backward_through(self, ctx: bb.Context, grad: bb.Tensor) -> bb.Tensor:
        """Backward, and return the gradient by the batch of the last Forward, of its shape."""
        x = self._back(grad)
        if x.grad is None:
            raise RoleError("the batch is of whole numbers, and has no gradient", expected="a batch of real numbers")
        return self._sent(x.grad)

    def zero_grad(self, ctx: bb.Context) -> None:
        """Set the kept gradients to zero."""
        self._grads.zero_()

    def grads(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the kept gradients."""
        return self._sent(self._grads)

    def step(self, ctx: bb.Context) -> None:
        """Run the optimizer once on the kept gradients, then set them to zero."""
        self._move()

    # --- whole batches, whole data sources ----------------------------------------------------------------------------

    def train_step(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Train on one batch."""
        loss = self._learn(ctx, batch, labels)
        return np.asarray(loss, np.float32), bb.Record(num_samples=len(batch))

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Train `epochs` times on all of a DataSource; `loss` is the last pass's mean."""
        return trained_on(ctx, data, epochs, self._learn)

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Measure without training: `loss_sum`, `count`; of classes `correct`, of numbers `square_sum`."""
        was = self._module.training
        self._module.eval()
        try:
            with self._torch.no_grad(), self._refusing():
                prediction = self._module(self._there(batch))
                loss = float(self._loss_of(prediction, labels))
        finally:
            self._module.train(was)
        return measures(loss * len(batch), self._sent(prediction), np.asarray(labels), self.config.metrics)

    def set_mode(self, ctx: bb.Context, *, mode: str) -> None:
        """Switch the module between `train` and `eval`."""
        if mode not in ("train", "eval"):
            raise RoleError(f"the mode is {mode!r}", expected="train or eval")
        self._module.train(mode == "train")

    def export(self, path: str) -> None:
        """Write the module's `state_dict` to a file that `torch.load` reads; `torch.onnx.export` takes `module`."""
        if not path.endswith((".pt", ".pth")):
            raise RoleError(
                f"a TorchModel cannot be written to {path!r}", expected="a file that ends with .pt or .pth",
                hint="torch.onnx.export(result.component('model').module, ...) writes an ONNX file",
            )  # fmt: skip
        self._torch.save(self._module.state_dict(), path)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _learn(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> float:
        if len(labels) != len(batch):  # before running statistics have seen the batch
            raise RoleError(f"there are {len(labels)} labels", expected=f"{len(batch)}, one for each example")
        with self._refusing(), self._seeded(self._next_seed(ctx)):
            loss = self._loss_of(self._module(self._there(batch)), labels)
            value = float(finite(loss.item()))
            loss.backward()
        self._draws += 1
        self._move()
        return value

    def _move(self) -> None:
        if self.config.proximal:
            self._grads += self.config.proximal * (self._flat - self._there(self._loaded))
        if self.config.clip_norm:
            norm = float(self._grads.norm())
            if norm > self.config.clip_norm:
                self._grads *= self.config.clip_norm / norm
        self._optimizer.step()
        self._grads.zero_()

    def _forward(self, batch: bb.Tensor, seed: int) -> tuple[Any, Any]:
        x = self._there(batch)
        if x.is_floating_point():
            x = x.clone().requires_grad_()
        with self._refusing(), self._seeded(seed):
            return x, self._module(x)

    def _back(self, grad: bb.Tensor) -> Any:
        """Go back through the last Forward; returns its batch, which has its gradient."""
        if self._input is None:
            raise RoleError("Backward has no Forward before it", expected="the gradient of its prediction")
        again = self._kept is None  # it has been gone through already, or is that of a snapshot
        buffers = [b.clone() for b in self._module.buffers()] if again else []
        x, output = self._forward(self._input, self._seed) if self._kept is None else self._kept
        if tuple(output.shape) == grad.shape:
            self._kept = None
            output.backward(self._there(grad))
        for buffer, before in zip(self._module.buffers(), buffers, strict=False):
            buffer.copy_(before)  # running statistics have seen the batch once
        if tuple(output.shape) != grad.shape:
            raise RoleError(f"a gradient of shape {grad.shape}", expected=f"{tuple(output.shape)}, as the prediction")
        return x

    def _loss_of(self, prediction: Any, labels: bb.Tensor) -> Any:
        wanted = self._torch.from_numpy(np.array(labels)).to(self._device)
        if wanted.is_floating_point():
            wanted = wanted.to(self._dtype)
        elif not wanted.dtype.is_signed or wanted.dtype.itemsize < 8:
            wanted = wanted.long()
        with self._refusing():
            return self._loss(prediction, wanted)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Say what does not fit as this Role's error."""
        try:
            yield
        except (RuntimeError, ValueError, IndexError) as error:
            raise RoleError(f"torch refuses the batch or its labels: {str(error).splitlines()[0]}") from error

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draw torch's random numbers from a seed, and leave those of others as they are."""
        torch = self._torch
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield

    def _next_seed(self, ctx: bb.Context) -> int:
        """A seed from the Node's random numbers, which go on as if nobody had asked. Another one after each draw."""
        beside = np.random.Generator(ctx.rng.bit_generator.jumped(self._draws + 1))  # type: ignore[attr-defined]
        return int(beside.integers(2**62))

    def _new_optimizer(self) -> Any:
        given = self.config.optimizer
        if callable(given) or ":" in given:
            return named(given, "optimizer")(self._parts)
        return _of(self._torch.optim, given)(self._parts, lr=self.config.learning_rate, **self.config.options)

    def _there(self, array: bb.Tensor) -> Any:
        """An array as the module takes it, on its device."""
        tensor = self._torch.from_numpy(np.array(array))  # a copy: what an op is given is frozen
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)

    def _sent(self, tensor: Any) -> bb.Tensor:
        """A copy of a tensor as it travels."""
        found: bb.Tensor = np.array(tensor.detach().to("cpu", self._torch.float32).numpy())
        return found

    def _packed(self, tensor: Any) -> Any:
        """A copy of a tensor as a snapshot holds it: in its own type, bfloat16 as float32, which has all its values."""
        tensor = tensor.detach().cpu()
        return np.array((tensor.float() if tensor.dtype == self._torch.bfloat16 else tensor).numpy())

    def _write(self, vector: bb.Tensor) -> None:
        if self._arena is not None:
            np.copyto(self._arena, vector)  # one memory with what torch has
        else:
            self._flat.copy_(self._there(vector))

    def _like_params(self, vector: bb.Tensor) -> bb.Tensor:
        return flat_of(vector, int(self._flat.numel()), f"of a {type(self._module).__name__}")


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(
            "TorchModel needs torch, which is not installed", hint='pip install "bytesandbrains[torch]"'
        ) from error
    return torch


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {name!r}, which torch does not have here: {str(error).splitlines()[0]}") from error
    return device


def _of(module: Any, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None:
        raise ValueError(f"{module.__name__} has no {name!r}")
    return found


def _as_one(torch: Any, parts: list[Any]) -> tuple[F32 | None, Any, Any]:
    """Move parameters and their gradients into one vector each, of which they are views from then on.

    Returns the parameters' vector as numpy sees it, where it is the same memory, and both as torch does.
    """
    flat = torch.cat([p.detach().reshape(-1) for p in parts])
    arena: F32 | None = None
    if flat.device.type == "cpu" and flat.dtype == torch.float32:
        arena = np.array(flat.numpy())
        flat = torch.from_numpy(arena)
    grads = torch.zeros_like(flat)
    start = 0
    for part in parts:
        end = start + part.numel()
        part.data = flat[start:end].view(part.shape)
        part.grad = grads[start:end].view(part.shape)
        start = end
    return arena, flat, grads


def _plain(state: Any, packed: Callable[[Any], Any]) -> Any:
    """An optimizer's state as a snapshot holds it."""
    if isinstance(state, Mapping):
        return {str(key): _plain(value, packed) for key, value in state.items()}
    return packed(state) if hasattr(state, "detach") else state


def _tensors(state: Any, torch: Any) -> Any:
    """What `_plain` has written, as torch has it."""
    if isinstance(state, Mapping):
        return {int(k) if k.isdigit() else k: _tensors(v, torch) for k, v in state.items()}
    return torch.tensor(np.array(state)) if isinstance(state, np.ndarray) else state
