"""`FunctionModel`: a training loop of one's own, as plain functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.models.passes import finite, flat_of, named, trained_on

F32 = npt.NDArray[np.float32]


@bb.concrete("bytesandbrains.FunctionModel")
class FunctionModel(bb.roles.Model):
    """Train by functions that you already have.

    The parameters that `init` returns, an array or lists and dicts of arrays, become views of one flat float32 vector:
    your functions read and write them in place, and they travel without being copied together.

    Shape:
        params, delta (d,) f32 · batch and labels as your functions take them
    """

    @dataclass(frozen=True, slots=True, eq=False)
    class Config:
        """The functions: each itself, or as `"module:name"`, with which a program can stand in an artefact."""

        init: Any
        """`init(rng) -> params`: an array, or lists, tuples and dicts of arrays; from `rng` alone, so that all Nodes of
        one configuration begin alike."""
        train: Any
        """`train(params, batch, labels, rng) -> (params, loss)`: one batch. It may return what it was given, changed in
        place; the loss is the batch's mean."""
        evaluate: Any = None
        """`evaluate(params, batch, labels) -> dict` of numbers that add up over batches: `loss_sum`, `correct`; `count`
        is the batch's size unless it says so itself."""
        predict: Any = None
        """`predict(params, batch) -> prediction`."""
        seed: int = 0
        """Of `init`."""
        deterministic: bool = True
        """Whether equal seeds and inputs give equal bytes."""

        def __post_init__(self) -> None:
            for name in ("init", "train", "evaluate", "predict"):
                given = getattr(self, name)
                if given is None and name in ("evaluate", "predict"):
                    continue
                if not callable(given) and not (isinstance(given, str) and ":" in given):
                    raise ValueError(f"{name} is {given!r}; expected a function, or 'module:name'")
            if self.seed < 0:
                raise ValueError(f"seed is {self.seed}; expected 0 or more")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        begun = named(config.init, "init")(np.random.Generator(np.random.Philox(config.seed)))
        leaves = [np.asarray(leaf) for leaf in _leaves(begun)]
        if not leaves:
            raise ValueError(f"init returned {type(begun).__name__} without an array; expected parameters")
        self._arena: F32 = np.concatenate([leaf.reshape(-1) for leaf in leaves]).astype(np.float32)
        self._shapes = [leaf.shape for leaf in leaves]
        self._tree = _filled(begun, iter(self._views()))
        self._loaded: bb.Tensor = self._arena.copy()
        self._train = named(config.train, "train")

    @classmethod
    def capabilities(cls, config: Any) -> bb.roles.Capabilities:
        """Say what it can do: its functions give no gradients."""
        return bb.roles.Capabilities(can_backward=False, deterministic=config is None or config.deterministic)

    @classmethod
    def cannot(cls, method: str, config: Any, inputs: Mapping[str, Any]) -> str:
        """Say which function is missing for an op."""
        wanted = {"forward": "predict", "evaluate": "evaluate"}.get(method)
        if config is not None and wanted is not None and getattr(config, wanted) is None:
            return f"it was given no function {wanted!r}"
        return super().cannot(method, config, inputs)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the parameters."""
        return self._arena.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Replace the parameters; refuse a vector of another length."""
        self._loaded = self._like_params(params)
        np.copyto(self._arena, self._loaded)

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        """Add a vector to the parameters."""
        self._arena += self._like_params(delta)

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        """Return the parameters minus those of the last LoadParameters (at first: minus those it began with)."""
        return np.asarray(self._arena - self._loaded)

    def parameters(self) -> bb.Tensor:
        """Return a copy of the flat parameter vector."""
        return self._arena.copy()

    def tree(self) -> Any:
        """Return a copy of the parameters as `init` has returned them. Not an op: the host calls it."""
        return _filled(self._tree, iter([view.copy() for view in self._views()]))

    def snapshot(self) -> bb.State:
        """Return the parameters; what your functions keep themselves is not in it."""
        return {"params": self._arena.copy(), "loaded": self._loaded}

    def restore(self, state: bb.State) -> None:
        """Take them over; refuse parameters of another length."""
        np.copyto(self._arena, self._like_params(state["params"]))
        self._loaded = self._like_params(state["loaded"])

    # --- what the functions do ----------------------------------------------------------------------------------------

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        """Predict."""
        if self.config.predict is None:
            raise RoleError("the FunctionModel was given no function 'predict'", expected="predict(params, batch)")
        return np.asarray(named(self.config.predict, "predict")(self._tree, batch))

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
        """Measure without training, as the function `evaluate` does."""
        if self.config.evaluate is None:
            raise RoleError("the FunctionModel was given no function 'evaluate'", expected="a dict of numbers")
        found = named(self.config.evaluate, "evaluate")(self._tree, batch, labels)
        if not isinstance(found, Mapping):
            raise RoleError(f"evaluate returned a {type(found).__name__}", expected="a dict of numbers that add up")
        return bb.Record({"count": len(batch), **{k: _plain(v) for k, v in found.items()}})

    def set_mode(self, ctx: bb.Context, *, mode: str) -> None:
        """Switch between `train` and `eval`, which are alike: there is a function for each."""
        if mode not in ("train", "eval"):
            raise RoleError(f"the mode is {mode!r}", expected="train or eval")

    def export(self, path: str) -> None:
        """Write the arrays of the parameters, in the order of `init`, to an `.npz` file."""
        np.savez(path, *self._views())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _learn(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> Any:
        before = self._arena.copy()
        try:
            given = self._train(self._tree, batch, labels, ctx.rng)
            if not (isinstance(given, tuple) and len(given) == 2):
                raise RoleError(
                    f"train returned a {type(given).__name__}", expected="(params, loss), where the loss is a number"
                )
            params, loss = given
            self._take(params)
            finite(loss)
        except Exception:
            np.copyto(self._arena, before)  # an op that fails has changed nothing
            raise
        return loss

    def _take(self, params: Any) -> None:
        """Copy what a function returned into the arena, unless it is that already."""
        leaves = list(_leaves(params))
        if [np.shape(leaf) for leaf in leaves] != self._shapes:
            raise RoleError(
                f"train returned parameters of the shapes {[np.shape(leaf) for leaf in leaves]}",
                expected=f"those of init, {self._shapes}",
            )
        for view, leaf in zip(self._views(), leaves, strict=True):
            if not np.shares_memory(view, leaf):
                view[...] = leaf

    def _views(self) -> list[F32]:
        found, start = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape, dtype=int))
            found.append(self._arena[start : start + size].reshape(shape))
            start += size
        return found

    def _like_params(self, vector: bb.Tensor) -> bb.Tensor:
        return flat_of(vector, self._arena.size, f"for arrays of the shapes {self._shapes}")


def _leaves(tree: Any) -> Iterator[Any]:
    """Yield the arrays of lists, tuples and dicts, the latter in order of their keys' text."""
    if isinstance(tree, Mapping):
        for key in sorted(tree, key=str):
            yield from _leaves(tree[key])
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _leaves(part)
    elif tree is not None:
        yield tree


def _filled(tree: Any, leaves: Iterator[Any]) -> Any:
    """Return a tree of the same form with other arrays."""
    if isinstance(tree, Mapping):
        found = {key: _filled(tree[key], leaves) for key in sorted(tree, key=str)}
        return {key: found[key] for key in tree}
    if isinstance(tree, list):
        return [_filled(part, leaves) for part in tree]
    if isinstance(tree, tuple):
        parts = [_filled(part, leaves) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return None if tree is None else next(leaves)


def _plain(value: Any) -> Any:
    """A number as a Record has it."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0 else value
