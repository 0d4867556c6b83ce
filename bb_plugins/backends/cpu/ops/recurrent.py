"""RNN, GRU and LSTM: one loop over time for each direction, the inputs' products taken before it in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node
from bb_plugins.backends.cpu.ops.elementwise import sigmoid, softplus

Activation = Callable[[Array], Array]

_ACTIVATIONS: Final[dict[str, Callable[[float, float], Callable[[Array], Any]]]] = {
    "relu": lambda a, b: lambda x: np.maximum(x, 0),
    "tanh": lambda a, b: np.tanh,
    "sigmoid": lambda a, b: sigmoid,
    "affine": lambda a, b: lambda x: a * x + b,
    "leakyrelu": lambda a, b: lambda x: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda a, b: lambda x: np.where(x >= a, x, 0),
    "scaledtanh": lambda a, b: lambda x: a * np.tanh(b * x),
    "hardsigmoid": lambda a, b: lambda x: np.clip(a * x + b, 0, 1),
    "elu": lambda a, b: lambda x: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda a, b: lambda x: x / (1 + np.abs(x)),
    "softplus": lambda a, b: softplus,
}
_ALPHA: Final = {"leakyrelu": 0.01, "thresholdedrelu": 1.0, "hardsigmoid": 0.2, "elu": 1.0, "affine": 1.0}
_BETA: Final = {"hardsigmoid": 0.5}


class Cell(NamedTuple):
    """What one direction of a layer computes with.

    Shape:
        recurrent (gates * h, h) · bias (gates * h,) of the inputs, `recurrent_bias` that of the state · peepholes
        (3 h,)
    """

    recurrent: Array
    bias: Array
    recurrent_bias: Array
    peepholes: Array | None
    functions: Sequence[Activation]
    options: Any


Step = Callable[[Cell, Array, tuple[Array, ...]], tuple[Array, ...]]
"""Takes a cell, its inputs' products of one time (b, gates * h) and the state, and gives the next state."""


def layer(step: Step, gates: int, states: int, defaults: Sequence[str]) -> Make:
    """Make the kernel of a recurrent layer of so many gates and states."""

    def make(node: Node) -> Kernel:
        functions = _functions(node, defaults)
        direction, batch_first = node.text("direction", "forward"), node.flag("layout")
        limit = node.get("clip")
        options: dict[str, Any] = {"linear": node.flag("linear_before_reset"), "coupled": node.flag("input_forget")}
        options["bounded"] = _bounded(None if limit is None else float(limit))

        def run(
            x: Array, weight: Array, recurrent: Array, bias: Array | None = None, lengths: Array | None = None,
            *initial: Array | None,
        ) -> tuple[Array, ...]:  # fmt: skip
            if batch_first:
                x = x.swapaxes(0, 1)
            ways, wide = recurrent.shape[0], recurrent.shape[2]
            given = [v.swapaxes(0, 1) if v is not None and batch_first else v for v in initial[:states]]
            peepholes = initial[states] if len(initial) > states else None
            all_out, ends = [], []
            for way in range(ways):
                own = np.zeros(2 * gates * wide, x.dtype) if bias is None else bias[way]
                cell = Cell(
                    recurrent[way], own[: gates * wide], own[gates * wide :],
                    None if peepholes is None else peepholes[way],
                    functions[way * len(defaults) : (way + 1) * len(defaults)], options,
                )  # fmt: skip
                state = tuple(
                    np.zeros((x.shape[1], wide), x.dtype) if i >= len(given) or given[i] is None else given[i][way]  # type: ignore[index]
                    for i in range(states)
                )
                products = x @ weight[way].T + cell.bias
                out, end = _through(step, cell, products, state, lengths, backwards=direction == "reverse" or way == 1)
                all_out.append(out)
                ends.append(end)
            y = np.stack(all_out, 1)
            last = [np.stack([end[i] for end in ends]) for i in range(states)]
            if batch_first:
                return np.ascontiguousarray(y.transpose(2, 0, 1, 3)), *(v.swapaxes(0, 1) for v in last)
            return y, *last

        return run

    return make


def _functions(node: Node, defaults: Sequence[str]) -> list[Activation]:
    names = [str(n).lower() for n in node.get("activations", ())] or [*defaults, *defaults]
    alphas, betas = iter(node.get("activation_alpha", ())), iter(node.get("activation_beta", ()))
    return [
        _ACTIVATIONS[n](
            float(next(alphas, _ALPHA[n])) if n in _ALPHA or n == "scaledtanh" else 0.0,
            float(next(betas, _BETA.get(n, 0.0))) if n in ("hardsigmoid", "affine", "scaledtanh") else 0.0,
        )
        for n in names
    ]


def _bounded(limit: float | None) -> Activation:
    if limit is None:
        return lambda x: x
    return lambda x: np.clip(x, -limit, limit)


def _through(
    step: Step, cell: Cell, products: Array, state: tuple[Array, ...], lengths: Array | None, *, backwards: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Go through time. A row whose sequence is over keeps its state and gives zeros."""
    times = products.shape[0]
    out = np.zeros((times, *state[0].shape), products.dtype)
    for time in reversed(range(times)) if backwards else range(times):
        following = step(cell, products[time], state)
        if lengths is None:
            out[time] = following[0]
        else:
            alive = (time < lengths)[:, None]
            following = tuple(np.where(alive, new, old) for new, old in zip(following, state, strict=True))
            out[time] = np.where(alive, following[0], 0)
        state = following
    return out, state


def rnn_step(cell: Cell, products: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """f(x W + h R + b)."""
    (f,) = cell.functions
    raw = products + state[0] @ cell.recurrent.T + cell.recurrent_bias
    return (f(cell.options["bounded"](raw)),)


def gru_step(cell: Cell, products: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Update and reset gates (Cho and others 2014); the reset before or after the product."""
    f, g = cell.functions
    (h,) = state
    wide, bounded = h.shape[1], cell.options["bounded"]
    both = products[:, : 2 * wide] + h @ cell.recurrent[: 2 * wide].T + cell.recurrent_bias[: 2 * wide]
    gates = f(bounded(both))
    update, reset = gates[:, :wide], gates[:, wide:]
    turned, bias = cell.recurrent[2 * wide :].T, cell.recurrent_bias[2 * wide :]
    own = reset * (h @ turned + bias) if cell.options["linear"] else (reset * h) @ turned + bias
    candidate = g(bounded(products[:, 2 * wide :] + own))
    return ((1 - update) * candidate + update * h,)


def lstm_step(cell: Cell, products: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Input, output and forget gates around a cell (Hochreiter and Schmidhuber 1997), with peepholes if given."""
    f, g, h = cell.functions
    hidden, memory = state
    wide, bounded = hidden.shape[1], cell.options["bounded"]
    raw = products + hidden @ cell.recurrent.T + cell.recurrent_bias
    into, out, keep, new = (raw[:, i * wide : (i + 1) * wide] for i in range(4))
    p = cell.peepholes
    if p is not None:
        into, keep = into + p[:wide] * memory, keep + p[2 * wide :] * memory
        opened, kept = f(bounded(into)), f(bounded(keep))
    else:
        gates = f(bounded(raw[:, : 3 * wide]))
        opened, shown, kept = gates[:, :wide], gates[:, wide : 2 * wide], gates[:, 2 * wide :]
    if cell.options["coupled"]:
        kept = 1 - opened
    following = kept * memory + opened * g(bounded(new))
    if p is not None:
        shown = f(bounded(out + p[wide : 2 * wide] * following))
    return shown * h(following), following
