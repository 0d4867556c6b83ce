"""The framework's own ops. Their bodies live in the engine."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port

_WIRE_ATTRIBUTES: Final = (
    Attribute(keys.COUNT, "int", REQUIRED),
    Attribute(keys.PORTS, "strs", REQUIRED),
    Attribute(keys.EDGE, "str", REQUIRED),
    Attribute(keys.ASKED, "strs", ()),
    Attribute(keys.GATES, "strs", ()),
    Attribute(keys.SITES, "ints", ()),
)

SEND: Final = OpSpec(
    keys.WIRE,
    "Send",
    1,
    inputs=(Port("to", t.ANY), Port("values", t.ANY, variadic=True)),
    outputs=(Port("request", t.REQUEST_ID), Port("received", t.ANY, variadic=True)),
    attributes=(
        *_WIRE_ATTRIBUTES,
        Attribute(keys.KINDS, "strs", ()),
        Attribute(keys.DELIVERY, "int", 0),
        Attribute(keys.REPLY, "int", 0),
    ),
    doc="Send values to one peer or to many, in one Envelope each. What is received is at home there.",
)
RECV: Final = OpSpec(
    keys.WIRE,
    "Recv",
    1,
    outputs=(Port("sender", t.PEER_ID), Port("received", t.ANY, variadic=True)),
    attributes=_WIRE_ATTRIBUTES,
    doc="Where the values of one Send arrive. The compiler writes it; an author never does.",
)
OUTPUT: Final = OpSpec(
    keys.SYSCALL,
    "Output",
    1,
    inputs=(Port("value", t.ANY),),
    outputs=(Port("out", t.ANY),),
    doc="Give a value to the host as an AppEvent.",
)
CONSTANT: Final = OpSpec(
    keys.ONNX, "Constant", 13, outputs=(Port("value", t.TENSOR),), doc="A tensor that stands in the program."
)
GATE: Final = OpSpec(
    keys.SYSCALL,
    "Gate",
    1,
    inputs=(Port("value", t.ANY),),
    outputs=(Port("out", t.ANY),),
    relations=("same_type",),
    doc="Pass a value on once its control inputs have been written. It carries `after=` onto an ONNX op or a call.",
)
BUNDLE: Final = OpSpec(
    keys.COMPOSITE,
    "Bundle",
    1,
    inputs=(Port("parts", t.ANY, variadic=True),),
    outputs=(Port("bundle", t.ANY),),
    expanded_by="expand_ops",
    doc="Tie several values into one.",
)
GATHER: Final = OpSpec(
    keys.WIRE,
    "Gather",
    1,
    inputs=(Port("received", t.ANY), Port("peers", t.PEER_LIST)),
    outputs=(Port("values", t.ANY),),
    expanded_by="expand_ops",
    doc="Collect the answers of many peers as a list in order of peer id.",
)

FRAMEWORK_OPS: Final = (SEND, RECV, OUTPUT, GATE, BUNDLE, GATHER)
