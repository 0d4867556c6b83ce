"""`gradients`: the reverse walk over a graph, written behind it as standard ONNX.

Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 3: values are gone through backwards, each node's
rule gives its inputs' gradients from its outputs', and what flows into a value from several places is summed.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper, numpy_helper

from bb_core.errors import NotDifferentiable
from bb_plugins.training.calls import units, unmarked
from bb_plugins.training.prepare import prepare
from bb_plugins.training.rules import find_rule, lets_nothing_through
from bb_plugins.training.tape import Tape, tape_of
from bb_plugins.training.tidy import tidied

GRAD = "grad/"
"""What stands before the name of a value in that of its gradient."""


def gradients(
    graph: onnx.GraphProto, of: str, by: Sequence[str], opset: int, *, seed: str | None = None
) -> onnx.GraphProto:
    """Return a graph that also computes gradients.

    Args:
        graph: Computes a value; initializers may be among `by`.
        of: The value whose gradient is taken; a scalar, unless there is a `seed`.
        by: The inputs and initializers by which it is taken.
        opset: Version of ai.onnx, from 18 on.
        seed: Name of an input to add, of the shape of `of`: the gradient that flows into it. None: 1.

    Returns:
        The graph's own nodes and outputs, and an output `grad/<name>` for each of `by`, of its shape.

    Raises:
        NotDifferentiable: an op has no rule, a shape is not known, or `of` does not depend on one of `by`.
    """
    if opset < 18:
        raise NotDifferentiable(f"gradients are derived from opset 18 on, and this graph has {opset}")
    ready = prepare(graph, opset)
    tape = tape_of(ready, opset)
    if of not in tape.known:
        raise NotDifferentiable(f"the graph has no value {of!r}")
    for name in by:
        tape.constants.pop(name, None)  # a rule may build in what a constant is, and these change
    steps = units(tape.nodes)
    needed = _depends(steps, by)
    for name in by:
        if name not in tape.known:
            raise NotDifferentiable(f"the graph has no input or initializer {name!r}")
    first = seed or tape.constant(1, tape.dtype(of))
    flows: dict[str, list[str]] = {of: [first]}
    if seed:
        tape.known[seed] = tape.known[of]
    for node in reversed(steps):
        _backward(tape, node, flows, needed)
    outputs = list(graph.output)
    for name in by:
        if name not in flows:
            raise NotDifferentiable(
                f"{of!r} does not depend on {name!r} by anything that has a gradient", hint="freeze it, or use it"
            )
        total = tape.add(flows[name])
        tape.nodes.append(helper.make_node("Identity", [total], [GRAD + name], GRAD + name))
        known = tape.known[name]
        outputs.append(helper.make_tensor_value_info(GRAD + name, known.elem, known.dims))
    return _graph(ready, tape, outputs, [seed] if seed else [])


def _depends(nodes: Sequence[onnx.NodeProto], by: Sequence[str]) -> set[str]:
    """The values that depend on those by which gradients are taken."""
    found = set(by)
    for node in nodes:
        if found.intersection(node.input) and not lets_nothing_through(node):
            found.update(node.output)
    return found


def _backward(tape: Tape, node: onnx.NodeProto, flows: dict[str, list[str]], needed: set[str]) -> None:
    """Give a node's inputs what flows back through it."""
    if not needed.intersection(node.input) or lets_nothing_through(node):
        return
    grads = [tape.add(flows[o]) if flows.get(o) else None for o in node.output]
    if all(grad is None for grad in grads):
        return
    for name, grad in zip(node.output, grads, strict=True):
        if grad is not None and name in tape.known:
            tape.known[grad] = tape.known[name]
    if grads[0] is None and not node.domain and node.op_type not in ("Split", "SoftmaxCrossEntropyLoss"):
        raise NotDifferentiable(f"only a side output of {node.op_type} is used", where=f"node {node.name!r}")
    for name, grad in zip(node.input, _by_rule(tape, node, grads), strict=True):
        if name in needed and grad is not None and name in tape.known and tape.known[name].is_float:
            flows.setdefault(name, []).append(grad)


def _by_rule(tape: Tape, node: onnx.NodeProto, grads: Sequence[str | None]) -> Sequence[str | None]:
    """What the op's rule gives for the node's inputs."""
    rule = find_rule(node.op_type, node.domain)
    assert rule is not None, "prepare has seen to it"
    try:
        found = rule(tape, node, grads)
    except NotDifferentiable as error:
        error.where = error.where or f"node {node.name!r}, which gives {node.output[0]!r}"
        raise
    if len(found) != len(node.input):
        raise NotDifferentiable(
            f"the gradient rule of {node.op_type} gives {len(found)} gradients",
            where=f"{rule.__module__}.{rule.__qualname__}",
            expected=f"{len(node.input)}, one for each input, None where there is none",
        )
    return found


def _graph(
    ready: onnx.GraphProto, tape: Tape, outputs: Sequence[onnx.ValueInfoProto], more: Sequence[str | None]
) -> onnx.GraphProto:
    have = {i.name for i in ready.initializer}
    added = [numpy_helper.from_array(value, name) for name, value in tape.constants.items() if name not in have]
    inputs = [*ready.input]
    for name in filter(None, more):
        known = tape.known[name]
        inputs.append(helper.make_tensor_value_info(name, known.elem, known.dims))
    graph = helper.make_graph(
        unmarked(tape.nodes), ready.name or "gradients", inputs, list(outputs), [*ready.initializer, *added]
    )
    return tidied(graph)
