"""Pass 16."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from bb_core import keys
from bb_core.compiler.state import State, nodes_of
from bb_core.ir.entries import is_constant
from bb_core.ir.proto import attribute, data_inputs, reads, set_attribute
from bb_core.ops.spec import Answer, OpSpec
from bb_core.ops.table import find_spec


def insert_async_deadlines(model: onnx.ModelProto, state: State) -> None:
    """Give every op that waits for peers a deadline, where its author wrote none, and tell the Sends that ask for it.

    Needs: declared ops, functions for each class. Leaves: `deadline_ns` on ops that wait for the network and have no
    `deadline` input, marked as a default; and `answer_ns` on the Sends whose request such an op reads, so that a peer
    is told how long its answer is worth something. Fails with: nothing.
    """
    for node in nodes_of(model):
        spec = find_spec(node.domain, node.op_type)
        if spec is None or spec.answer is not Answer.NETWORK or attribute(node, keys.DEADLINE):
            continue
        given = dict(zip((p.name for p in spec.inputs), data_inputs(node), strict=False))
        if not given.get("deadline"):
            set_attribute(node, keys.DEADLINE, state.options.network_deadline_ns)
            set_attribute(node, keys.DEADLINE_DEFAULT, 1)
    for function in model.functions:
        _tell_sends(function)


def _tell_sends(function: onnx.FunctionProto) -> None:
    maker = {v: n for n in function.node for v in n.output}
    for node in function.node:
        spec = find_spec(node.domain, node.op_type)
        if spec is None or spec.answer is not Answer.NETWORK:
            continue
        deadline = _deadline(node, spec, maker)
        for value in reads(node) if deadline else ():
            send = _ungated(value, maker)
            if send is not None and (send.domain, send.op_type) == (keys.WIRE, "Send"):
                set_attribute(send, keys.ANSWER, max(deadline, int(attribute(send, keys.ANSWER, 0))))


def _deadline(node: onnx.NodeProto, spec: OpSpec, maker: Mapping[str, onnx.NodeProto]) -> int:
    """The deadline of an op in nanoseconds; 0 when the program works it out."""
    given = dict(zip((p.name for p in spec.inputs), data_inputs(node), strict=False))
    source = maker.get(given.get("deadline", ""))
    if source is not None:
        return int(attribute(source, "value")) if is_constant(source) else 0
    return int(attribute(node, keys.DEADLINE, 0))


def _ungated(value: str, maker: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    source = maker.get(value)
    while source is not None and (source.domain, source.op_type) == (keys.SYSCALL, "Gate"):
        source = maker.get(source.input[0])
    return source
