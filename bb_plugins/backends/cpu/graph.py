"""Runs ONNX graphs op by op: models, the bodies of `If`, `Loop` and `Scan`, and ops that are written as a function.

Kernels are chosen once. Values stand in a flat list, and a value is let go of after its last reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node

if TYPE_CHECKING:
    import onnx

    from bb_core.roles import Backend

Resolve = Callable[[Node], Kernel]
"""Finds the kernel of a node."""

OPSET = 21
"""That of artefacts."""
_ABSENT = 0
"""Index of the value of an input that is left out."""


@dataclass(frozen=True, slots=True)
class _Step:
    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    over: tuple[int, ...]
    """Values that nobody reads afterwards."""
    node: Node


class Graph:
    """A graph whose kernels are bound.

    Args:
        proto: The graph.
        opsets: Version of each domain.
        resolve: Finds kernels; the CpuBackend's table when it is left out.

    Attributes:
        inputs: Names of the inputs, without those that only name an initializer.
        captures: Names that it reads and does not make.
        steps: Its nodes, with numbers for the values that they read and make; 0 is none.
        size: How many numbers there are.
        constants: Numbers of initializers, with their values.
        inputs_at: Numbers of inputs and captures; `outputs_at` are those of outputs.
    """

    def __init__(
        self,
        proto: onnx.GraphProto,
        opsets: Mapping[str, int],
        resolve: Resolve | None = None,
        functions: Mapping[tuple[str, str], onnx.FunctionProto] | None = None,
    ) -> None:
        from onnx import numpy_helper

        from bb_plugins.backends.cpu.table import kernel_of

        self.opsets, self.functions = opsets, functions or {}
        self.resolve: Resolve = resolve or kernel_of
        self.proto = proto
        self._index: dict[str, int] = {"": _ABSENT}
        known = {t.name: numpy_helper.to_array(t) for t in proto.initializer}
        known |= {t.values.name: _dense(t) for t in proto.sparse_initializer}
        self.inputs = tuple(v.name for v in proto.input if v.name not in known)
        self.outputs = tuple(v.name for v in proto.output)
        self.captures = captures(proto)
        self.constants = [(self._at(name), frozen(value)) for name, value in known.items()]
        self.inputs_at = [self._at(name) for name in (*self.inputs, *self.captures)]
        steps = [self._bind(node) for node in proto.node]
        self.outputs_at = [self._at(name) for name in self.outputs]
        self.steps = _with_ends(steps, {*self.outputs_at, *(i for i, _ in self.constants)})
        self.size = len(self._index)

    def _at(self, name: str) -> int:
        return self._index.setdefault(name, len(self._index))

    def _bind(self, proto: onnx.NodeProto) -> _Step:
        attributes = attributes_of(proto)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        taken = captures_of(proto)
        if taken:
            attributes["captures"] = taken
        inputs = tuple(self._at(v) for v in (*proto.input, *taken))
        local = self.functions.get((domain, proto.op_type))
        wanted = tuple(bool(v) for v in proto.output)
        node = Node(proto.op_type, attributes, self.opsets, domain, wanted)
        if local is not None:
            kernel = function_kernel(local, attributes, self.resolve, self.functions, self.opsets)
        else:
            kernel = self.resolve(node)
        return _Step(kernel, inputs, tuple(self._at(v) for v in proto.output), (), node)

    def run(self, inputs: Sequence[Any], captured: Sequence[Any] = ()) -> list[Any]:
        """Return the outputs for the inputs in the graph's order."""
        values: list[Any] = [None] * self.size
        for at, value in self.constants:
            values[at] = value
        for at, value in zip(self.inputs_at, (*inputs, *captured), strict=True):
            values[at] = value
        for step in self.steps:
            found = step.kernel(*[values[i] for i in step.inputs])
            if type(found) is not tuple:
                values[step.outputs[0]] = np.asarray(found) if isinstance(found, np.generic) else found
            else:
                for at, value in zip(step.outputs, found, strict=False):
                    if at:
                        values[at] = np.asarray(value) if isinstance(value, np.generic) else value
            for at in step.over:
                values[at] = None
        return [values[at] for at in self.outputs_at]


class Body:
    """A graph that is an attribute. What it takes from outside is given in the order of `captures`."""

    def __init__(self, proto: onnx.GraphProto, opsets: Mapping[str, int], captures: tuple[str, ...]) -> None:
        self._graph = Graph(proto, opsets)
        self.captures = captures
        places = {name: i for i, name in enumerate(captures)}
        self._taken = [places[name] for name in self._graph.captures]
        self.n_outputs = len(self._graph.outputs)

    def run(self, inputs: Sequence[Any], taken: Sequence[Any]) -> list[Any]:
        """Return the outputs. A body may name fewer inputs than it is given, and then reads only those."""
        return self._graph.run(inputs[: len(self._graph.inputs)], [taken[i] for i in self._taken])

    def empty(self, output: int) -> Array:
        """Return a stack of none of an output's values: of its declared elements, an unknown length being zero."""
        from onnx import helper

        declared = self._graph.proto.output[output].type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(declared.elem_type or 1)
        return np.empty((0, *(d.dim_value for d in declared.shape.dim)), dtype)


class Model:
    """A whole model, ready to run. It checks nothing: `onnx.checker` does.

    Args:
        proto: The model.
        resolve: Finds kernels; the CpuBackend's table when it is left out.
    """

    def __init__(self, proto: onnx.ModelProto, resolve: Resolve | None = None) -> None:
        functions = {(f.domain, f.name): f for f in proto.functions}
        self.graph = Graph(proto.graph, opsets_of(proto.opset_import), resolve, functions)
        self._defaults = [v.name for v in proto.graph.input if v.name not in self.graph.inputs]

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it must be given."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return self.graph.outputs

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the outputs for the inputs, both in the graph's order."""
        with np.errstate(all="ignore"):
            return self.graph.run([*inputs, *[None] * (len(self.graph.inputs) - len(inputs))])


def of_backend(backend: Backend) -> Resolve:
    """Return a way to find kernels that asks any Backend, as the engine does."""

    def resolve(node: Node) -> Kernel:
        if node.op == "Constant" and "Constant" not in backend.ops:
            from bb_plugins.backends.cpu.ops.shaping import constant

            return constant(node)  # a program's constants need no Backend
        attributes, count = dict(node.attributes), len(node.wanted or (True,))
        if count > 1:
            attributes["outputs"] = count
        if node.opsets.get("") != OPSET and node.opsets.get("") in backend.opsets:
            attributes["opset"] = node.opsets[""]
        return backend.kernel(f"{node.domain}.{node.op}" if node.domain else node.op, attributes)

    return resolve


def function_kernel(
    proto: onnx.FunctionProto,
    attributes: Mapping[str, Any],
    resolve: Resolve | None = None,
    functions: Mapping[tuple[str, str], onnx.FunctionProto] | None = None,
    opsets: Mapping[str, int] | None = None,
) -> Kernel:
    """Make one kernel of a function's body, with the attributes that its caller gives.

    `opsets` are the caller's; a body of an ONNX schema may import less than it uses.
    """
    imports = dict(opsets or {}) | opsets_of(proto.opset_import)
    graph = Graph(graph_of(proto, attributes), imports, resolve, functions)
    count = len(graph.inputs)
    unmade = (None,) * len(graph.captures)  # outputs that a caller does not ask for

    def run(*inputs: Any) -> Any:
        found = graph.run([*inputs, *[None] * (count - len(inputs))][:count], unmade)
        return tuple(found) if len(found) > 1 else found[0]

    return run


def graph_of(proto: onnx.FunctionProto, attributes: Mapping[str, Any]) -> onnx.GraphProto:
    """Write a function as a graph: the caller's attributes stand where the body refers to them."""
    import onnx
    from onnx import helper

    given = {a.name: a for a in proto.attribute_proto}
    given |= {
        k: v if isinstance(v, onnx.AttributeProto) else helper.make_attribute(k, v) for k, v in attributes.items()
    }
    graph = onnx.GraphProto(name=proto.name or "function")
    graph.input.extend(onnx.ValueInfoProto(name=v) for v in proto.input)
    graph.output.extend(onnx.ValueInfoProto(name=v) for v in proto.output)
    graph.node.extend(proto.node)
    for node in graph.node:
        _fill_in(node, given)
    return graph


def _fill_in(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    for i in reversed(range(len(node.attribute))):
        attribute = node.attribute[i]
        if attribute.ref_attr_name:
            name, value = attribute.name, given.get(attribute.ref_attr_name)
            if value is None:
                del node.attribute[i]
            else:
                attribute.CopyFrom(value)
                attribute.name = name
        for inner in attribute.g.node if attribute.HasField("g") else ():
            _fill_in(inner, given)


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return the version of each domain; ONNX's own has two names."""
    return {"" if i.domain == "ai.onnx" else i.domain: i.version for i in imports}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python has them."""
    return {a.name: _value(a) for a in node.attribute}


def _value(a: onnx.AttributeProto) -> Any:
    import onnx
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if a.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    if a.type == onnx.AttributeProto.STRINGS:
        return tuple(v.decode() for v in value)
    return value


def captures_of(node: onnx.NodeProto) -> tuple[str, ...]:
    """Return what a node's bodies take from outside, each once."""
    found = [v for a in node.attribute if a.HasField("g") for v in captures(a.g)]
    return tuple(dict.fromkeys(found))


def captures(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the values that a graph reads and does not make, in order of first use."""
    inside = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {""}
    inside |= {t.values.name for t in graph.sparse_initializer} | {v for n in graph.node for v in n.output}
    wanted = [v for n in graph.node for v in (*n.input, *captures_of(n))] + [v.name for v in graph.output]
    return tuple(dict.fromkeys(v for v in wanted if v not in inside))


def frozen(x: Any) -> Any:
    """Return an array that a kernel cannot change by mistake."""
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    return x


def _dense(tensor: onnx.SparseTensorProto) -> Array:
    from bb_plugins.backends.cpu.ops.shaping import dense

    return dense(tensor)


def _with_ends(steps: list[_Step], kept: set[int]) -> list[_Step]:
    """Say at each step which values it is the last to read."""
    seen, found = {_ABSENT, *kept}, []
    for step in reversed(steps):
        over = tuple({i for i in (*step.inputs, *step.outputs) if i not in seen})
        seen.update(over)
        found.append(_Step(step.kernel, step.inputs, step.outputs, over, step.node))
    return found[::-1]
