"""A graph made ready for its gradients: what has no rule of its own is written in ops that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from bb_core.errors import NotDifferentiable
from bb_plugins.training.calls import inlined, mark_of
from bb_plugins.training.rules import find_rule, lets_nothing_through
from bb_plugins.training.rules.table import SAVED
from bb_plugins.training.tape import Known, Tape, attributes_of, tape_of


def prepare(graph: onnx.GraphProto, opset: int) -> onnx.GraphProto:
    """Return a graph of the same outputs whose ops all have a gradient rule, or let nothing through.

    Constants become initializers, functions of the ONNX standard their bodies, recurrent ops their steps, and an op
    whose rule uses more of its outputs has them.

    Raises:
        NotDifferentiable: an op has no rule; it is named, with what it is called in the graph.
    """
    ready = onnx.GraphProto()
    ready.CopyFrom(graph)
    _constants(ready)
    for _ in range(_DEEPEST):
        if not _expand(ready, opset):
            break
    else:
        raise NotDifferentiable("functions lie too deep in others")
    _check(ready)
    for node in ready.node:
        if mark_of(node):
            continue
        for place in range(len(node.output), SAVED.get(node.op_type, 0)):
            node.output.append(f"{node.output[0]}/saved_{place}")
        for place, name in enumerate(node.output):
            if not name and place < SAVED.get(node.op_type, 0):
                node.output[place] = f"{node.output[0]}/saved_{place}"
    return ready


_DEEPEST: Final = 16


def _constants(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            graph.initializer.append(numpy_helper.from_array(constant_of(node), node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def constant_of(node: onnx.NodeProto) -> np.ndarray:
    """The value of a Constant."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return np.asarray(value, dtype[attribute.name])


def _check(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if not _is_ready(node):
            raise NotDifferentiable(
                f"the op {node.op_type} has no gradient rule",
                where=f"node {node.name!r}, which gives {node.output[0]!r}",
                hint="keep it out of what is trained, write it as ops that have one, or add a rule by a plugin",
            )


def _is_ready(node: onnx.NodeProto) -> bool:
    return bool(mark_of(node)) or find_rule(node.op_type, node.domain) is not None or lets_nothing_through(node)


# --- expanding --------------------------------------------------------------------------------------------------------


def _expand(graph: onnx.GraphProto, opset: int) -> bool:
    """Replace, once, every node that has no rule and a way to be written in others. Whether there was one."""
    if all(_is_ready(n) for n in graph.node):
        return False
    tape = tape_of(graph, opset, "in/")
    nodes: list[onnx.NodeProto] = []
    changed = False
    for number, node in enumerate(graph.node):
        written = None if _is_ready(node) else _written(tape, node, number, opset)
        changed |= written is not None
        nodes.extend([node] if written is None else written)
    del graph.node[:]
    graph.node.extend(nodes)
    have = {i.name for i in graph.initializer}
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in tape.constants.items() if k not in have)
    _constants(graph)
    return changed


def _written(tape: Tape, node: onnx.NodeProto, number: int, opset: int) -> list[onnx.NodeProto] | None:
    if node.op_type in _UNROLLED:
        tape.nodes = []
        tape.prefix = f"in/{node.op_type}_{number}/"
        _UNROLLED[node.op_type](tape, node)
        return tape.nodes
    body = _body(tape, node, opset)
    return None if body is None else list(inlined(body, node, f"in/{node.op_type}_{number}/"))


def _body(tape: Tape, node: onnx.NodeProto, opset: int) -> onnx.FunctionProto | None:
    """The body that the standard gives an op, for its attributes and the types of its inputs."""
    try:
        schema: Any = defs.get_schema(node.op_type, opset, "")  # whose stubs lack what it has of functions
    except defs.SchemaError:
        return None
    if schema.has_function:
        body: onnx.FunctionProto = schema.function_body
        return body
    if not schema.has_context_dependent_function:
        return None
    types = [_type(tape.known.get(name)).SerializeToString() if name else b"" for name in node.input]
    raw = schema.get_context_dependent_function(node.SerializeToString(), types)
    return onnx.FunctionProto.FromString(raw) if raw else None


def _type(known: Known | None) -> onnx.TypeProto:
    return onnx.TypeProto() if known is None else helper.make_tensor_type_proto(known.elem, known.dims)


# --- recurrent ops ----------------------------------------------------------------------------------------------------

Unroll = Callable[[Tape, onnx.NodeProto], None]


def _act(tape: Tape, name: str, x: str) -> str:
    return tape.op({"Sigmoid": "Sigmoid", "Tanh": "Tanh", "Relu": "Relu"}[name], x)


class _Recurrent:
    """What the recurrent ops have in common: directions, steps, and how outputs are put together."""

    def __init__(self, tape: Tape, node: onnx.NodeProto, gates: int, acts: tuple[str, ...]) -> None:
        self.t, self.node, self.gates = tape, node, gates
        given = attributes_of(node)
        self.hidden = int(given["hidden_size"])
        self.ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[
            given.get("direction", "forward")
        ]
        names = [a.decode() if isinstance(a, bytes) else a for a in given.get("activations", ())]
        self.acts = names or list(acts) * len(self.ways)
        self.given: Mapping[str, Any] = given
        if given.get("layout", 0) or "clip" in given or (len(node.input) > 4 and node.input[4]):
            raise NotDifferentiable(f"{node.op_type} has a gradient for layout 0, without clip and sequence_lens")
        if not set(self.acts) <= {"Sigmoid", "Tanh", "Relu"}:
            raise NotDifferentiable(f"{node.op_type} has a gradient for Sigmoid, Tanh and Relu", expected=str(acts))
        (self.steps,) = tape.lengths(node.input[0], [0], f"unrolling {node.op_type}")

    def input(self, place: int) -> str | None:
        """An input, if it is there."""
        return self.node.input[place] if len(self.node.input) > place and self.node.input[place] else None

    def one(self, name: str, way: int) -> str:
        """The part of a direction: the first axis goes."""
        return self.t.op("Gather", name, self.t.constant(way, np.int64), axis=0)

    def bias(self, way: int) -> tuple[str | None, str | None]:
        """The two halves of a direction's bias."""
        b = self.input(3)
        if b is None:
            return None, None
        halves = self.t.ops("Split", 2, self.one(b, way), axis=0, num_outputs=2)
        return halves[0], halves[1]

    def start(self, place: int, way: int) -> str:
        """The state before the first step; zeros if it is not given, (batch, hidden)."""
        given = self.input(place)
        if given is not None:
            return self.one(given, way)
        t, x = self.t, self.node.input[0]
        batch = t.op("Slice", t.op("Shape", x), t.ints(1), t.ints(2))
        return t.op("Expand", t.number(0, x), t.op("Concat", batch, t.ints(self.hidden), axis=0))

    def projected(self, way: int, bias: str | None) -> list[str]:
        """X W' + b of each step, in the order of the steps: (batch, gates * hidden) each."""
        t = self.t
        weight = t.op("Transpose", self.one(self.node.input[1], way), perm=[1, 0])
        whole = t.op("MatMul", self.node.input[0], weight)
        if bias is not None:
            whole = t.op("Add", whole, bias)
        parts = t.ops("Split", self.steps, whole, axis=0, num_outputs=self.steps) if self.steps > 1 else (whole,)
        return [t.op("Squeeze", part, t.ints(0)) for part in parts]

    def recurrent(self, way: int) -> str:
        """R' of a direction: (hidden, gates * hidden)."""
        return self.t.op("Transpose", self.one(self.node.input[2], way), perm=[1, 0])

    def split(self, x: str) -> tuple[str, ...]:
        """The parts of the gates."""
        return self.t.ops("Split", self.gates, x, axis=1, num_outputs=self.gates)

    def finish(self, states: list[list[str]], lasts: list[list[str]]) -> None:
        """Write Y (steps, ways, batch, hidden), and for each kind of state its last (ways, batch, hidden)."""
        t, out = self.t, self.node.output
        if out and out[0]:
            rows = []
            for step in range(self.steps):
                ways = [t.op("Unsqueeze", states[way][step], t.ints(0, 1)) for way in range(len(self.ways))]
                rows.append(t.op("Concat", *ways, axis=1) if len(ways) > 1 else ways[0])
            self._named(t.op("Concat", *rows, axis=0), out[0])
        for kind, name in enumerate(list(out)[1:]):
            if name:
                ways = [t.op("Unsqueeze", lasts[way][kind], t.ints(0)) for way in range(len(self.ways))]
                self._named(t.op("Concat", *ways, axis=0), name)

    def _named(self, value: str, name: str) -> None:
        self.t.nodes.append(helper.make_node("Identity", [value], [name], f"{self.t.prefix}{name}"))


def _lstm(t: Tape, node: onnx.NodeProto) -> None:
    """Source: Hochreiter and Schmidhuber (1997), gates in ONNX's order: input, output, forget, cell."""
    r = _Recurrent(t, node, 4, ("Sigmoid", "Tanh", "Tanh"))
    if r.input(7) is not None or r.given.get("input_forget", 0):
        raise NotDifferentiable("LSTM has a gradient without peepholes and input_forget")
    states: list[list[str]] = []
    lasts: list[list[str]] = []
    for way, backwards in enumerate(r.ways):
        f, g, h = r.acts[3 * way : 3 * way + 3]
        wb, rb = r.bias(way)
        inputs, weight = r.projected(way, wb), r.recurrent(way)
        hidden, cell = r.start(5, way), r.start(6, way)
        found = [""] * r.steps
        for step in range(r.steps)[:: -1 if backwards else 1]:
            z = t.op("Add", inputs[step], t.op("MatMul", hidden, weight))
            if rb is not None:
                z = t.op("Add", z, rb)
            i, o, keep, c = r.split(z)
            new = t.op("Mul", _act(t, f, i), _act(t, g, c))
            cell = t.op("Add", t.op("Mul", _act(t, f, keep), cell), new)
            hidden = found[step] = t.op("Mul", _act(t, f, o), _act(t, h, cell))
        states.append(found)
        lasts.append([hidden, cell])
    r.finish(states, lasts)


def _gru(t: Tape, node: onnx.NodeProto) -> None:
    """Source: Cho et al. (2014), gates in ONNX's order: update, reset, hidden."""
    r = _Recurrent(t, node, 3, ("Sigmoid", "Tanh"))
    after = bool(r.given.get("linear_before_reset", 0))
    states: list[list[str]] = []
    lasts: list[list[str]] = []
    for way, backwards in enumerate(r.ways):
        f, g = r.acts[2 * way : 2 * way + 2]
        wb, rb = r.bias(way)
        inputs, weight = r.projected(way, wb), r.recurrent(way)
        weights = r.split(weight)
        rbs = t.ops("Split", 3, rb, axis=0, num_outputs=3) if rb is not None else (None,) * 3
        hidden = r.start(5, way)
        found = [""] * r.steps
        for step in range(r.steps)[:: -1 if backwards else 1]:
            xz, xr, xh = r.split(inputs[step])
            z = _act(t, f, _plus(t, xz, t.op("MatMul", hidden, weights[0]), rbs[0]))
            reset = _act(t, f, _plus(t, xr, t.op("MatMul", hidden, weights[1]), rbs[1]))
            if after:
                linear = t.op("MatMul", hidden, weights[2])
                kept = t.op("Mul", reset, linear if rbs[2] is None else t.op("Add", linear, rbs[2]))
                new = _act(t, g, t.op("Add", xh, kept))
            else:
                new = _act(t, g, _plus(t, xh, t.op("MatMul", t.op("Mul", reset, hidden), weights[2]), rbs[2]))
            rest = t.op("Sub", t.number(1, node.input[0]), z)
            hidden = found[step] = t.op("Add", t.op("Mul", rest, new), t.op("Mul", z, hidden))
        states.append(found)
        lasts.append([hidden])
    r.finish(states, lasts)


def _rnn(t: Tape, node: onnx.NodeProto) -> None:
    """Source: Elman (1990)."""
    r = _Recurrent(t, node, 1, ("Tanh",))
    states: list[list[str]] = []
    lasts: list[list[str]] = []
    for way, backwards in enumerate(r.ways):
        wb, rb = r.bias(way)
        inputs, weight = r.projected(way, wb), r.recurrent(way)
        hidden = r.start(5, way)
        found = [""] * r.steps
        for step in range(r.steps)[:: -1 if backwards else 1]:
            hidden = found[step] = _act(t, r.acts[way], _plus(t, inputs[step], t.op("MatMul", hidden, weight), rb))
        states.append(found)
        lasts.append([hidden])
    r.finish(states, lasts)


def _plus(t: Tape, x: str, y: str, bias: str | None) -> str:
    total = t.op("Add", x, y)
    return total if bias is None else t.op("Add", total, bias)


def _instance_norm(t: Tape, node: onnx.NodeProto) -> None:
    """Source: Ulyanov, Vedaldi and Lempitsky (2016)."""
    x, scale, bias = node.input
    rank = t.rank(x)
    axes = t.ints(*range(2, rank))
    wide = t.ints(1, -1, *[1] * (rank - 2))
    off = t.op("Sub", x, t.op("ReduceMean", x, axes, keepdims=1))
    variance = t.op("ReduceMean", t.op("Mul", off, off), axes, keepdims=1)
    epsilon = t.number(attributes_of(node).get("epsilon", 1e-5), x)
    normal = t.op("Div", off, t.op("Sqrt", t.op("Add", variance, epsilon)))
    scaled = t.op("Mul", normal, t.op("Reshape", scale, wide))
    t.nodes.append(
        helper.make_node("Add", [scaled, t.op("Reshape", bias, wide)], [node.output[0]], f"{t.prefix}{node.name}")
    )


_UNROLLED: Final[dict[str, Unroll]] = {
    "GRU": _gru,
    "InstanceNormalization": _instance_norm,
    "LSTM": _lstm,
    "RNN": _rnn,
}
