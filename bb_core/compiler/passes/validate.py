"""Pass 3."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.compiler.verify import problems
from bb_core.errors import MalformedProgram, UnknownOp, did_you_mean
from bb_core.ir.proto import attributes, data_inputs, source_of
from bb_core.ir.schemas import schema_of
from bb_core.ops.spec import REQUIRED, OpSpec
from bb_core.ops.table import find_spec, op_table

_EVERYWHERE = {keys.AFTER, keys.ORDER, keys.DEADLINE, keys.DEADLINE_DEFAULT}


def validate(model: onnx.ModelProto, state: State) -> None:
    """Check every op against its declaration, and the dataflow as a whole.

    Needs: one function. Leaves: the program as it was. Fails with: UnknownOp, MalformedProgram.
    """
    for function in model.functions:
        for problem in problems(function):
            state.add(problem)
        for node in function.node:
            _check_node(node, state)


def _check_node(node: onnx.NodeProto, state: State) -> None:
    if node.domain in (keys.ONNX, "ai.onnx"):
        if schema_of(node.op_type) is None:
            state.add(UnknownOp(f"ONNX has no op {node.op_type!r}", where=source_of(node)))
        return
    spec = find_spec(node.domain, node.op_type)
    if spec is None:
        names = [n for d, n in op_table() if d == node.domain]
        state.add(
            UnknownOp(
                f"nobody declares the op {node.op_type!r} of {node.domain!r}",
                where=source_of(node),
                hint=did_you_mean(node.op_type, names)
                if names
                else "the plugin that adds this domain is not installed",
            )
        )
        return
    for message in _against(spec, node):
        state.add(MalformedProgram(message, where=source_of(node), expected=spec.signature()))


def _against(spec: OpSpec, node: onnx.NodeProto) -> list[str]:
    found = []
    given = data_inputs(node)
    variadic = bool(spec.inputs) and spec.inputs[-1].variadic
    if len(given) > len(spec.inputs) and not variadic:
        found.append(f"{spec.name} has {len(given)} inputs")
    for port, value in zip(spec.inputs, [*given, *[""] * len(spec.inputs)], strict=False):
        if not value and not port.optional and not port.variadic:
            found.append(f"{spec.name} lacks the input {port.name!r}")
    attrs = attributes(node)
    legal = {a.name for a in spec.attributes} | {s.name for s in spec.slots} | _EVERYWHERE
    found += [f"{spec.name} has no attribute {name!r}" for name in attrs if name not in legal]
    required = [a.name for a in spec.attributes if a.default is REQUIRED] + [s.name for s in spec.slots]
    found += [f"{spec.name} lacks the attribute {name!r}" for name in required if name not in attrs]
    return found
