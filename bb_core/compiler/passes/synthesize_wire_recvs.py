"""Pass 7."""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core.compiler.state import State
from bb_core.ir.proto import attribute, make_node, metadata


def synthesize_wire_recvs(model: onnx.ModelProto, state: State) -> None:
    """Split every Send in two: what the sender does, and a Recv where its values arrive.

    Needs: homes and destinations. Leaves: Sends whose one output is the request, each followed by its Recv. Fails with:
    nothing.
    """
    for function in model.functions:
        nodes: list[onnx.NodeProto] = []
        for node in function.node:
            nodes.append(node)
            if (node.domain, node.op_type) == (keys.WIRE, "Send") and len(node.output) > 1:
                nodes.append(_recv(node))
                del node.output[1:]
                state.counts["receivers"] += 1
        copied = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del function.node[:]
        function.node.extend(copied)


def _recv(send: onnx.NodeProto) -> onnx.NodeProto:
    names = (keys.COUNT, keys.PORTS, keys.EDGE, keys.ASKED)
    attrs = {n: attribute(send, n) for n in names if attribute(send, n) is not None}
    head, slash, own = send.name.rpartition("/")
    name = head + slash + own.replace("Send", "Recv", 1)
    props = metadata(send)
    kept = {keys.HOME: props[keys.DESTINATION], keys.SOURCE: props.get(keys.SOURCE, "")}
    return make_node("Recv", keys.WIRE, [], list(send.output[1:]), name, attrs, kept)
