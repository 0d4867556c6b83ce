"""The framework's own ops. Their bodies live in the engine."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec, Port

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
    outputs=(Port("bundle", t.COMPOSITE),),
    doc="Tie several values into one composite.",
)
UNBUNDLE: Final = OpSpec(
    keys.COMPOSITE,
    "Unbundle",
    1,
    inputs=(Port("bundle", t.COMPOSITE),),
    outputs=(Port("parts", t.ANY, variadic=True),),
    attributes=(Attribute("types", "strs", REQUIRED),),
    doc="Take a composite apart.",
)
STACK: Final = OpSpec(
    keys.COMPOSITE,
    "Stack",
    1,
    inputs=(Port("values", t.COMPOSITE),),
    outputs=(Port("tensor", t.TENSOR),),
    doc="Make one tensor of a composite of equally shaped ones, on a new first axis.",
)
GATHER: Final = OpSpec(
    keys.WIRE,
    "Gather",
    1,
    inputs=(Port("peers", t.PEER_LIST), Port("request", t.REQUEST_ID), Port("received", t.ANY, variadic=True)),
    outputs=(Port("senders", t.PEER_LIST), Port("values", t.COMPOSITE, variadic=True)),
    attributes=(
        Attribute("n", "int", 0),
        Attribute("minimum", "int", 1),
        Attribute("deadline", "duration", 0),
    ),
    expanded_by="expand_ops",
    doc="Collect the answers of many peers as a list in order of peer id.",
)
GATHER_CONTRIBUTE: Final = OpSpec(
    keys.WIRE,
    "Gather.Contribute",
    1,
    inputs=(Port("received", t.ANY, variadic=True),),
    outputs=(Port("done", t.TRIGGER),),
    attributes=(Attribute(keys.GATHER, "str", REQUIRED),),
    doc="Add one peer's answer to a Gather, in the Frame of that answer. The compiler writes it.",
)
GATHER_COLLECT: Final = OpSpec(
    keys.WIRE,
    "Gather.Collect",
    1,
    inputs=(Port("peers", t.PEER_LIST), Port("request", t.REQUEST_ID)),
    outputs=(Port("senders", t.PEER_LIST), Port("values", t.COMPOSITE, variadic=True)),
    attributes=(
        Attribute(keys.GATHER, "str", REQUIRED),
        Attribute("n", "int", 0),
        Attribute("minimum", "int", 1),
        Attribute(keys.COUNT, "int", REQUIRED),
    ),
    answer=Answer.NETWORK,
    doc="Wait for the answers of a Gather, in the Frame that asked. The compiler writes it.",
)
CAST: Final = OpSpec(
    keys.SYSCALL,
    "Cast",
    1,
    inputs=(Port("value", t.ANY),),
    outputs=(Port("out", t.ANY),),
    attributes=(Attribute("to", "str", REQUIRED),),
    doc="Convert a tensor to other elements, or state the type of a value.",
)
AGAIN: Final = OpSpec(
    keys.SYSCALL,
    "Again",
    1,
    inputs=(Port("value", t.ANY),),
    outputs=(Port("done", t.TRIGGER),),
    attributes=(Attribute("port", "str", REQUIRED),),
    doc="Begin a new Frame on one of the program's own inputs.",
)
ON_FAILURE: Final = OpSpec(
    keys.SYSCALL,
    "OnFailure",
    1,
    inputs=(Port("value", t.ANY),),
    outputs=(Port("failed", t.TRIGGER),),
    doc="Give a trigger when a value will not come, since an op that it needs has failed. It does not wait for it.",
)
PULSE: Final = OpSpec(keys.SYSCALL, "Pulse", 1, outputs=(Port("trigger", t.TRIGGER),), doc="Give a trigger.")

FRAMEWORK_OPS: Final = (
    SEND, RECV, OUTPUT, GATE, BUNDLE, UNBUNDLE, STACK, GATHER, GATHER_CONTRIBUTE, GATHER_COLLECT, CAST, AGAIN,
    ON_FAILURE, PULSE,
)  # fmt: skip
