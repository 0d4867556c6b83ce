"""Optimizers on one flat vector, step by step as torch's are.

| name       | source                                                        | what it keeps            |
|------------|---------------------------------------------------------------|--------------------------|
| `sgd`      | Robbins and Monro (1951)                                      | nothing                  |
| `momentum` | Polyak (1964), as torch has it: v = mu v + g, p -= rate v     | v                        |
| `nesterov` | Sutskever et al. (2013): p -= rate (g + mu v)                 | v                        |
| `adam`     | Kingma and Ba (2015)                                          | two moments, steps       |
| `adamw`    | Loshchilov and Hutter (2019)                                  | two moments, steps       |
| `adagrad`  | Duchi, Hazan and Singer (2011)                                | sum of squares           |
| `rmsprop`  | Hinton, lecture 6e of Neural Networks for Machine Learning    | mean of squares          |

Weight decay is added to the gradient, but for `adamw`, which decays the parameters themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi, sqrt
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Name = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"]
Schedule = Literal["constant", "linear", "cosine", "step"]


@dataclass(frozen=True, slots=True)
class Options:
    """What an optimizer is set up with."""

    name: Name = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    """Of `momentum` and `nesterov`, and the first moment's decay of `adam` and `adamw`."""
    second: float = 0.999
    """Decay of the second moment of `adam` and `adamw`."""
    decay: float = 0.99
    """Of the squares of `rmsprop`."""
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    """Longest gradient; a longer one is shortened to it. 0: none is."""
    schedule: Schedule = "constant"
    schedule_steps: int = 0
    """Steps until `linear` and `cosine` reach 0; between two halvings of `step`."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant" or not self.schedule_steps:
            return self.learning_rate
        share = min(1.0, step / self.schedule_steps)
        if self.schedule == "linear":
            return self.learning_rate * (1 - share)
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + cos(pi * share))
        return self.learning_rate * 0.5 ** (step // self.schedule_steps)


@dataclass(slots=True)
class Optimizer:
    """One optimizer of one vector.

    Attributes:
        steps: How many it has made.
        kept: What it keeps, each of the vector's length.
    """

    options: Options
    size: int
    steps: int = 0
    kept: list[F32] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.kept:
            self.kept = [np.zeros(self.size, np.float32) for _ in range(_KEPT[self.options.name])]

    def step(self, params: F32, grads: F32) -> None:
        """Move the parameters; the gradients are spoilt."""
        options = self.options
        if options.clip_norm:
            norm = float(np.sqrt(np.dot(grads, grads)))
            if norm > options.clip_norm:
                grads *= np.float32(options.clip_norm / norm)
        rate = options.rate(self.steps)
        self.steps += 1
        if options.weight_decay:
            if options.name == "adamw":
                params *= np.float32(1 - rate * options.weight_decay)
            else:
                grads += np.float32(options.weight_decay) * params
        _STEPS[options.name](self, params, grads, rate)

    def state(self) -> dict[str, Any]:
        """Return what it keeps."""
        return {"steps": self.steps, "kept": [array.copy() for array in self.kept]}

    def load(self, state: Any) -> None:
        """Take it over."""
        self.steps = state["steps"]
        for mine, theirs in zip(self.kept, state["kept"], strict=True):
            np.copyto(mine, theirs)

    def forget(self) -> None:
        """Begin anew."""
        self.steps = 0
        for array in self.kept:
            array[:] = 0


def _sgd(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    grads *= np.float32(rate)
    params -= grads


def _momentum(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    (velocity,) = o.kept
    velocity *= np.float32(o.options.momentum)
    velocity += grads
    params -= np.float32(rate) * velocity


def _nesterov(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    (velocity,) = o.kept
    velocity *= np.float32(o.options.momentum)
    velocity += grads
    grads += np.float32(o.options.momentum) * velocity
    params -= np.float32(rate) * grads


def _adam(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    first, second = o.kept
    a, b = o.options.momentum, o.options.second
    first += np.float32(1 - a) * (grads - first)
    second *= np.float32(b)
    grads *= grads
    second += np.float32(1 - b) * grads
    low = np.sqrt(second) / np.float32(sqrt(1 - b**o.steps)) + np.float32(o.options.epsilon)
    params -= np.float32(rate / (1 - a**o.steps)) * (first / low)


def _adagrad(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    (squares,) = o.kept
    squares += grads * grads
    params -= np.float32(rate) * (grads / (np.sqrt(squares) + np.float32(o.options.epsilon)))


def _rmsprop(o: Optimizer, params: F32, grads: F32, rate: float) -> None:
    (squares,) = o.kept
    squares *= np.float32(o.options.decay)
    squares += np.float32(1 - o.options.decay) * (grads * grads)
    params -= np.float32(rate) * (grads / (np.sqrt(squares) + np.float32(o.options.epsilon)))


_KEPT: Final = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "adagrad": 1, "rmsprop": 1}
_STEPS: Final[dict[str, Callable[[Optimizer, F32, F32, float], None]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adam": _adam,
    "adamw": _adam,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
}
