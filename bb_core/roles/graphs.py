"""Whole graphs on a Backend that has kernels: op by op, each value dropped after its last reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bb_core.ir.proto import attributes

if TYPE_CHECKING:
    import onnx

    from bb_core.roles.backend import Backend


def op_by_op(backend: Backend, graph: onnx.GraphProto, opset: int) -> Callable[..., tuple[Any, ...]]:
    """Bind each op's kernel once. Kernels are given the attributes `outputs`, how many are wanted, and `opset` too."""
    from onnx import numpy_helper

    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    names = ["", *constants, *(i.name for i in graph.input if i.name not in constants)]
    names += [o for n in graph.node for o in n.output if o]
    index = {name: place for place, name in enumerate(dict.fromkeys(names))}
    feeds = [index[i.name] for i in graph.input if i.name not in constants]
    wanted = [index[o.name] for o in graph.output]
    start: list[Any] = [None] * len(index)
    for name, value in constants.items():
        value.flags.writeable = False
        start[index[name]] = value
    last = {index[i]: place for place, n in enumerate(graph.node) for i in n.input if i}
    kept = {*wanted, *(index[name] for name in constants)}
    steps = []
    for place, node in enumerate(graph.node):
        outputs = [index[o] if o else 0 for o in node.output]
        kernel = backend.kernel(node.op_type, {**attributes(node), "outputs": len(outputs), "opset": opset})
        over = [v for v, end in last.items() if end == place and v not in kept]
        steps.append((kernel, [index[i] if i else 0 for i in node.input], outputs, over))

    def run(*inputs: Any) -> tuple[Any, ...]:
        values = start.copy()
        for place, value in zip(feeds, inputs, strict=True):
            values[place] = value
        for kernel, reads, writes, over in steps:
            found = kernel(*[values[i] for i in reads])
            if len(writes) == 1:
                values[writes[0]] = found
            else:
                for place, value in zip(writes, found, strict=False):
                    values[place] = value
            values[0] = None
            for place in over:
                values[place] = None
        return tuple(values[place] for place in wanted)

    return run
