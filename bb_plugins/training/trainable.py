"""`Trainable`: an ONNX model taken apart for training: its parameters, and the graphs that predict and learn.

Trained are the float32 initializers that the output depends on, but for those that are frozen by name, and the
running statistics of BatchNormalization, which are kept beside the parameters. What a Constant gives is not trained,
nor is a scalar to whose power something is taken. In training, Dropout draws (its mask is an input, so that the draws
are the caller's) and BatchNormalization normalises by the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from bb_core.errors import NotDifferentiable, UsageError, did_you_mean
from bb_plugins.training.calls import unmarked, without_calls
from bb_plugins.training.gradients import GRAD, gradients
from bb_plugins.training.losses import LABELS, LOSS, with_loss
from bb_plugins.training.prepare import constant_of
from bb_plugins.training.tape import tape_of
from bb_plugins.training.tidy import pruned

OLDEST = 18
"""The opset from which gradients are derived; an older model is brought up to it."""
SEED = "upstream"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One array among the parameters.

    Attributes:
        start: Where it begins in the flat vector.
    """

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Mask:
    """A Dropout that draws: the input of numbers from 0 to 1, and the shape of what it drops."""

    name: str
    dims: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A running statistic of a BatchNormalization: its input, and the output that updates it."""

    name: str
    updated: str
    start: np.ndarray


class Trainable:
    """An ONNX model taken apart.

    Args:
        model: The model; its first output is the prediction, and its inputs that are no initializers its batch.
        frozen: Patterns of the names of initializers that are not trained.
        trained: Patterns of those that are, if not all.
        prediction: Name of the value that is predicted, such as the logits before a last Softmax; the first output
            without one. What is written out keeps the outputs that the model has.
        own: Whether what is trained may be moved out of the model, rather than copied.

    Attributes:
        parameters: In the order of their names' first use.
        layout: Hash of names and shapes: vectors of equal layouts fit to each other.

    Raises:
        NotDifferentiable: nothing in it can be trained, or it is not sound.
        UsageError: a pattern of `frozen` names nothing.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        frozen: Sequence[str] = (),
        trained: Sequence[str] = (),
        prediction: str = "",
        *,
        own: bool = False,
    ) -> None:
        if not own:
            given, model = model, onnx.ModelProto()
            model.CopyFrom(given)
        self.model = _updated(model)
        self.opset = _opset_of(self.model)
        written_out = without_calls(self.model).graph
        self.graph = _plain(written_out, prediction, self.opset)
        self.prediction = self.graph.output[0].name
        initial = {i.name: i for i in (*self.graph.initializer, *written_out.initializer)}
        self.batch = [i.name for i in self.graph.input if i.name not in initial]
        if len(self.batch) != 1:
            raise NotDifferentiable(f"the model has the inputs {self.batch}", expected="one, the batch")
        self.statistics = _statistics(self.graph, initial)
        kept = {s.name for s in self.statistics} | _settings(self.graph)
        kept |= {n.output[0] for n in written_out.node if n.op_type == "Constant"}
        wanted = [
            name
            for name in _reached(self.graph, self.prediction)
            if name in initial and initial[name].data_type == TensorProto.FLOAT and name not in kept
        ]
        free = _free(wanted, initial, frozen, trained)
        start, found = 0, []
        for name in free:
            shape = tuple(initial[name].dims)
            found.append(Parameter(name, shape, start))
            start += prod(shape)
        self.parameters = tuple(found)
        self.size = start
        text = "".join(f"{p.name}:{p.shape};" for p in self.parameters)
        self.layout = blake2b(text.encode(), digest_size=8).hexdigest()
        self._first: npt.NDArray[np.float32] | None = self._moved_out(initial)

    @cached_property
    def predicted(self) -> tuple[int | str | None, ...]:
        """The shape of a prediction, as far as it is known."""
        return tape_of(self.graph, self.opset).dims(self.prediction)

    def take_first(self) -> npt.NDArray[np.float32]:
        """Hand over the parameters that the model had, as one vector. Once: a large model is not kept twice."""
        first, self._first = self._first, None
        assert first is not None, "they have been handed over"
        return first

    def _moved_out(self, initial: Mapping[str, onnx.TensorProto]) -> npt.NDArray[np.float32]:
        """Move what is trained out of the model and the graph, where it is an input from now on."""
        first = np.empty(self.size, np.float32)
        for p in self.parameters:
            first[p.start : p.start + p.size] = numpy_helper.to_array(initial[p.name]).reshape(-1)
        free = {p.name for p in self.parameters}
        has = {i.name for i in self.graph.initializer}
        rest = [i for i in self.graph.initializer if i.name not in free]
        rest += [i for name, i in initial.items() if name not in free and name not in has]
        inputs = {i.name: i for i in self.graph.input}
        for p in self.parameters:
            inputs.setdefault(p.name, helper.make_tensor_value_info(p.name, TensorProto.FLOAT, p.shape))
        kept = [i for name, i in inputs.items() if name in free or name not in initial]
        nodes = list(self.graph.node)
        self.graph = pruned(helper.make_graph(nodes, self.graph.name, kept, list(self.graph.output), rest))
        for initializer in self.model.graph.initializer:
            if initializer.name in free:
                for data in ("raw_data", "float_data"):
                    initializer.ClearField(data)
        light = onnx.ModelProto()
        light.CopyFrom(self.model)  # a message lets go of its memory as a whole
        self.model = light
        return first

    def views(self, vector: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return the parameters as views of a vector."""
        return [vector[p.start : p.start + p.size].reshape(p.shape) for p in self.parameters]

    # --- graphs -------------------------------------------------------------------------------------------------------

    def predicts(self) -> onnx.GraphProto:
        """The graph that predicts: batch, parameters and statistics in, the prediction out."""
        return self._open(self.graph, [s.name for s in self.statistics])

    def learns(self, loss: str) -> tuple[onnx.GraphProto, list[Mask]]:
        """The graph of one step: batch, labels, parameters, statistics and masks in.

        Out: the loss, the gradients of the parameters in their order, and the statistics after it.
        """
        graph, masks = self._in_training()
        whole = with_loss(graph, self.opset, loss)
        derived = gradients(whole, LOSS, [p.name for p in self.parameters], self.opset)
        return self._close(self._told(derived, graph), [LABELS], masks), masks

    def flows_back(self, *, through: bool = False) -> tuple[onnx.GraphProto, list[Mask]]:
        """The graph of Backward: batch, the gradient by the prediction, parameters, statistics and masks in.

        Out: the prediction, the gradients of the parameters, with `through` that of the batch, and the statistics after
        it.
        """
        graph, masks = self._in_training()
        by = [p.name for p in self.parameters] + (self.batch if through else [])
        derived = gradients(graph, self.prediction, by, self.opset, seed=SEED)
        return self._close(self._told(derived, graph), [SEED], masks), masks

    def _in_training(self) -> tuple[onnx.GraphProto, list[Mask]]:
        graph = onnx.GraphProto()
        graph.CopyFrom(self.graph)
        for node in graph.node:
            if node.op_type == "BatchNormalization":
                _by_the_batch(node)
        return _with_masks(graph, self.opset)

    def _told(self, derived: onnx.GraphProto, graph: onnx.GraphProto) -> onnx.GraphProto:
        """Let the updated statistics be outputs."""
        for statistic in self.statistics:
            derived.output.append(
                helper.make_tensor_value_info(statistic.updated, TensorProto.FLOAT, statistic.start.shape)
            )
        have = {o for n in derived.node for o in n.output}
        missing = [s for s in self.statistics if s.updated not in have]
        if missing:
            raise NotDifferentiable(f"nothing trained comes before the statistics {[s.name for s in missing]}")
        return derived

    def _close(self, graph: onnx.GraphProto, more: Sequence[str], masks: Sequence[Mask]) -> onnx.GraphProto:
        return self._open(graph, [*more, *[s.name for s in self.statistics], *[m.name for m in masks]], len(more))

    def _open(self, graph: onnx.GraphProto, more: Sequence[str], early: int = 0) -> onnx.GraphProto:
        """Turn initializers into inputs: the batch, `early` of the others, the parameters, the rest."""
        names = [*self.batch, *more[:early], *(p.name for p in self.parameters), *more[early:]]
        infos = {i.name: i for i in graph.input}
        for initializer in graph.initializer:
            infos.setdefault(
                initializer.name,
                helper.make_tensor_value_info(initializer.name, initializer.data_type, list(initializer.dims)),
            )
        kept = [i for i in graph.initializer if i.name not in names]
        return helper.make_graph(unmarked(graph.node), graph.name, [infos[n] for n in names], list(graph.output), kept)

    # --- what was trained ---------------------------------------------------------------------------------------------

    def trained(self, vector: npt.NDArray[np.float32], statistics: Sequence[np.ndarray]) -> onnx.ModelProto:
        """Return the model with other parameters and statistics; the rest is as it was given."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        values: dict[str, Any] = {p.name: v for p, v in zip(self.parameters, self.views(vector), strict=True)}
        values |= {s.name: v for s, v in zip(self.statistics, statistics, strict=True)}
        for initializer in model.graph.initializer:
            if initializer.name in values:
                initializer.CopyFrom(numpy_helper.from_array(np.array(values[initializer.name]), initializer.name))
        for node in model.graph.node:
            if node.op_type == "Constant" and node.output[0] in values:
                value = numpy_helper.from_array(np.array(values[node.output[0]]))
                del node.attribute[:]
                node.attribute.append(helper.make_attribute("value", value))
        return model


# --- taking apart -----------------------------------------------------------------------------------------------------


def _updated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring a model up to the oldest opset that gradients are derived of."""
    if _opset_of(model) >= OLDEST:
        return model
    return version_converter.convert_version(without_calls(model), OLDEST)


def _opset_of(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _free(
    wanted: Sequence[str], initial: Mapping[str, Any], frozen: Sequence[str], trained: Sequence[str]
) -> list[str]:
    """Those that are trained, of what can be."""
    for option, pattern in [("frozen", p) for p in frozen] + [("trained", p) for p in trained]:
        if not any(fnmatchcase(name, pattern) for name in initial):
            raise UsageError(
                f"no initializer is called {pattern!r}, as {option} says",
                hint=did_you_mean(pattern.strip(".*"), initial),
            )
    found = [
        name
        for name in wanted
        if not any(fnmatchcase(name, pattern) for pattern in frozen)
        and (not trained or any(fnmatchcase(name, pattern) for pattern in trained))
    ]
    if not found:
        by = f"frozen={list(frozen)}" if frozen else f"trained={list(trained)}"
        raise NotDifferentiable(
            "nothing of the model is trained", expected="float32 initializers that are not frozen",
            hint=f"of its {len(wanted)} none is left by {by}" if wanted else None,
        )  # fmt: skip
    return found


def _plain(graph: onnx.GraphProto, prediction: str, opset: int) -> onnx.GraphProto:
    """Let constants be initializers, and what is predicted the only output."""
    plain = onnx.GraphProto(name=graph.name or "graph")
    plain.input.extend(graph.input)
    have = {i.name for i in graph.input}
    for initializer in graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or prod(initializer.dims) <= _SMALL:
            plain.initializer.append(initializer)
        elif initializer.name not in have:  # its shape is enough to look at, and it may be large
            dims = list(initializer.dims)
            plain.input.append(helper.make_tensor_value_info(initializer.name, TensorProto.FLOAT, dims))
    for node in graph.node:
        if node.op_type == "Constant":
            plain.initializer.append(numpy_helper.from_array(constant_of(node), node.output[0]))
        else:
            plain.node.append(node)
    plain.output.append(graph.output[0])
    if prediction and prediction != plain.output[0].name:
        known = tape_of(plain, opset).known
        if not any(prediction in node.output for node in plain.node):
            raise UsageError(f"the model has no value {prediction!r}", hint=did_you_mean(prediction, known))
        del plain.output[:]
        plain.output.append(helper.make_tensor_value_info(prediction, known[prediction].elem, known[prediction].dims))
        plain = pruned(plain)
    return plain


_SMALL = 1024


def _reached(graph: onnx.GraphProto, value: str) -> list[str]:
    """The values that one depends on, in the order of their first use."""
    maker = {o: n for n in graph.node for o in n.output}
    wanted, queue = {value}, [value]
    while queue:
        node = maker.get(queue.pop())
        for name in node.input if node is not None else ():
            if name and name not in wanted:
                wanted.add(name)
                queue.append(name)
    return list(dict.fromkeys(i for n in graph.node for i in n.input if i in wanted))


def _settings(graph: onnx.GraphProto) -> set[str]:
    """Initializers that say how an op works, and are no weights of it."""
    scalars = {i.name for i in graph.initializer if not i.dims}
    powers = {n.input[1] for n in graph.node if n.op_type == "Pow"} & scalars  # the square of a norm, say
    return powers.union(*(n.input[1:] for n in graph.node if n.op_type in _FIRST_ONLY))


_FIRST_ONLY = frozenset({"Clip", "Dropout", "OneHot", "Pad", "Resize"})
"""Ops that only their first input flows through."""


def _statistics(graph: onnx.GraphProto, initial: dict[str, Any]) -> list[Statistic]:
    found = []
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        for place in (3, 4):
            name = node.input[place]
            if name not in initial:
                raise NotDifferentiable("the statistics of a BatchNormalization are not initializers")
            found.append(Statistic(name, f"{name}/updated", numpy_helper.to_array(initial[name]).astype(np.float32)))
    return found


def _by_the_batch(node: onnx.NodeProto) -> None:
    kept = [a for a in node.attribute if a.name != "training_mode"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("training_mode", 1)])
    del node.output[1:]
    node.output.extend(f"{node.input[place]}/updated" for place in (3, 4))


def _with_masks(graph: onnx.GraphProto, opset: int) -> tuple[onnx.GraphProto, list[Mask]]:
    """Write each Dropout as a product with what an input of random numbers lets through."""
    if all(node.op_type != "Dropout" for node in graph.node):
        return graph, []
    tape = tape_of(graph, opset, "drop/")
    nodes, masks = list(tape.nodes), []
    tape.nodes = []
    for number, node in enumerate(nodes):
        ratio = 0.5
        if node.op_type == "Dropout" and len(node.input) > 1 and node.input[1]:
            if node.input[1] not in tape.constants:
                raise NotDifferentiable("the ratio of a Dropout is not a constant", where=f"node {node.name!r}")
            ratio = float(tape.constants[node.input[1]])
        if node.op_type != "Dropout" or ratio == 0:
            tape.nodes.append(
                node if node.op_type != "Dropout" else helper.make_node("Identity", node.input[:1], node.output[:1])
            )
            continue
        x, name = node.input[0], f"drop/numbers_{number}"
        masks.append(Mask(name, tape.dims(x)))
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, tape.dims(x)))
        kept = tape.op("GreaterOrEqual", name, tape.constant(ratio, np.float32))
        scale = tape.op("Mul", tape.op("Cast", kept, to=tape.known[x].elem), tape.number(1 / (1 - ratio), x))
        tape.nodes.append(helper.make_node("Mul", [x, scale], node.output[:1], f"drop/{number}"))
    have = {i.name for i in graph.initializer}
    del graph.node[:]
    graph.node.extend(tape.nodes)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in tape.constants.items() if k not in have)
    return graph, masks


__all__ = ["GRAD", "Mask", "Parameter", "Statistic", "Trainable"]
