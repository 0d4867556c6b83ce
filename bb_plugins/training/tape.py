"""`Tape`: writes nodes behind a graph, and knows the shape and element type of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from bb_core.errors import NotDifferentiable

Dims = tuple[int | str | None, ...]
"""A length, a symbol for one that is not known yet, or None for nothing known."""

FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value."""

    elem: int
    dims: Dims | None

    @property
    def is_float(self) -> bool:
        """Whether a gradient may go to it."""
        return self.elem in FLOATS


@dataclass(slots=True)
class Tape:
    """Nodes that are written one after another, with names that nothing else has."""

    opset: int
    known: dict[str, Known]
    prefix: str = "d/"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    """Of the graph, and those that were added; by name."""
    _count: int = 0
    _by_content: dict[tuple[bytes, str, tuple[int, ...]], str] = field(default_factory=dict)

    # --- writing ------------------------------------------------------------------------------------------------------

    def name(self, hint: str) -> str:
        """Make a name."""
        self._count += 1
        return f"{self.prefix}{hint}_{self._count}"

    def op(self, op_type: str, *inputs: str | None, like: str | None = None, **attributes: Any) -> str:
        """Write a node of one output and return its name.

        Args:
            op_type: Of ai.onnx.
            inputs: Values; None for an absent one.
            like: A value that has the output's shape and type, where that is known.
            attributes: Those that are not None.
        """
        (out,) = self.ops(op_type, 1, *inputs, **attributes)
        if like is not None and like in self.known:
            self.known[out] = self.known[like]
        return out

    def ops(self, op_type: str, outputs: int, *inputs: str | None, **attributes: Any) -> tuple[str, ...]:
        """Write a node of several outputs."""
        names = tuple(self.name(op_type) for _ in range(outputs))
        given = {k: v for k, v in attributes.items() if v is not None}
        filled = ["" if i is None else i for i in inputs]
        while filled and not filled[-1]:
            filled.pop()
        self.nodes.append(helper.make_node(op_type, filled, list(names), names[0], **given))
        return names

    def constant(self, value: Any, dtype: Any) -> str:
        """Return the name of a constant; equal ones are one."""
        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.dtype.str, array.shape)
        found = self._by_content.get(key)
        if found is None:
            found = self._by_content[key] = self.name("constant")
            self.constants[found] = array
            self.known[found] = Known(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        return found

    def ints(self, *values: int) -> str:
        """Return a vector of int64."""
        return self.constant(list(values), np.int64)

    def number(self, value: float, like: str) -> str:
        """Return a scalar of another value's element type."""
        return self.constant(value, self.dtype(like))

    # --- knowing ------------------------------------------------------------------------------------------------------

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype of a value."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.known[name].elem))

    def dims(self, name: str) -> Dims:
        """The shape of a value.

        Raises:
            NotDifferentiable: not even its rank is known.
        """
        found = self.known[name].dims if name in self.known else None
        if found is None:
            raise NotDifferentiable(
                f"the rank of {name!r} is not known", hint="give the graph's inputs shapes; a length may be a name"
            )
        return found

    def rank(self, name: str) -> int:
        """How many dimensions a value has."""
        return len(self.dims(name))

    def lengths(self, name: str, axes: Iterable[int], why: str) -> list[int]:
        """The lengths of some axes, which must be numbers."""
        dims = self.dims(name)
        found = [dims[axis] for axis in axes]
        if not all(isinstance(length, int) for length in found):
            raise NotDifferentiable(f"{why} needs the lengths of {name!r}, which has the shape {dims}")
        return [int(length) for length in found if length is not None]

    # --- what rules need often ----------------------------------------------------------------------------------------

    def shape(self, name: str) -> str:
        """Return the shape of a value as a value: a constant where it is known."""
        dims = self.known[name].dims if name in self.known else None
        if dims is not None and all(isinstance(d, int) for d in dims):
            return self.constant(list(dims), np.int64)
        out = self.op("Shape", name)
        self.known[out] = Known(TensorProto.INT64, None if dims is None else (len(dims),))
        return out

    def zeros(self, like: str) -> str:
        """Return zeros of another value's shape and type."""
        return self.op("Expand", self.number(0, like), self.shape(like), like=like)

    def sum_to(self, grad: str, out: str, target: str) -> str:
        """Sum a gradient of `out`'s shape over the axes along which `target` was broadcast to it."""
        wide, narrow = self.dims(out), self.dims(target)
        if wide == narrow and None not in narrow:
            return grad
        lead = len(wide) - len(narrow)
        axes = list(range(lead))
        is_known = True
        for i, (w, n) in enumerate(zip(wide[lead:], narrow, strict=True)):
            if n == 1 and w != 1:
                axes.append(lead + i)
            elif not isinstance(n, int) and (n != w or n is None):
                is_known = False
        summed = self.op("ReduceSum", grad, self.ints(*axes), keepdims=1) if axes else grad
        if lead and is_known:
            return self.op("Reshape", summed, self.shape(target), like=target)
        if lead:
            summed = self.op("Squeeze", summed, self.ints(*range(lead)))
        if is_known:
            return self._as(summed, target) if axes else grad
        return self._sum_where_one(summed, target)

    def _sum_where_one(self, grad: str, target: str) -> str:
        """Sum over the axes that turn out to have the length 1 in `target` alone; both have one rank."""
        one = self.ints(1)
        short = self.op("Equal", self.op("Shape", target), one)
        long = self.op("Not", self.op("Equal", self.op("Shape", grad), one))
        axes = self.op("Reshape", self.op("NonZero", self.op("And", short, long)), self.ints(-1))
        return self.op("ReduceSum", grad, axes, like=target, keepdims=1, noop_with_empty_axes=1)

    def _as(self, name: str, like: str) -> str:
        self.known[name] = self.known[like]
        return name

    def add(self, grads: Sequence[str]) -> str:
        """Return the sum of gradients of one value."""
        total = grads[0]
        for other in grads[1:]:
            total = self.op("Add", total, other, like=total)
        return total


def tape_of(graph: onnx.GraphProto, opset: int, prefix: str = "d/") -> Tape:
    """Begin a tape behind a graph: its nodes stand on it, and what shape inference finds of its values is known.

    Raises:
        NotDifferentiable: the graph is not sound ONNX.
    """
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # onnx raises several classes of its own
        raise NotDifferentiable(f"the shapes of the graph cannot be worked out: {error}") from error
    known = {i.name: Known(i.data_type, tuple(i.dims)) for i in inferred.initializer}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        known.setdefault(info.name, _known(info.type))
    tape = Tape(opset, known, prefix)
    tape.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    tape.nodes = list(graph.node)
    return tape


def _known(type_: onnx.TypeProto) -> Known:
    tensor = type_.tensor_type
    if not tensor.HasField("shape"):
        return Known(tensor.elem_type, None)
    return Known(tensor.elem_type, tuple(_dim(d) for d in tensor.shape.dim))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def attributes_of(node: onnx.NodeProto) -> Mapping[str, Any]:
    """The attributes of a node as plain values."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}
