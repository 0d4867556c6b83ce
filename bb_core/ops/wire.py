"""What crosses the network: sends, where they arrive, and the gathering of answers."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec, Port

_EDGE: Final = (
    Attribute(keys.COUNT, "int", REQUIRED),
    Attribute(keys.PORTS, "strs", REQUIRED),
    Attribute(keys.EDGE, "str", REQUIRED),
    Attribute(keys.ASKED, "strs", ()),
    Attribute(keys.GATES, "strs", ()),
    Attribute(keys.SITES, "ints", ()),
    Attribute(keys.KINDS, "strs", ()),
)

SEND: Final = OpSpec(
    keys.WIRE,
    "Send",
    1,
    inputs=(Port("to", t.ANY), Port("values", t.ANY, variadic=True)),
    outputs=(Port("request", t.REQUEST_ID), Port("received", t.ANY, variadic=True)),
    attributes=(
        *_EDGE,
        Attribute(keys.DELIVERY, "int", 0),
        Attribute(keys.REPLY, "int", 0),
        Attribute(keys.ACK, "int", 0),
        Attribute(keys.ANSWER, "int", 0),
    ),
    doc="Send values to one peer or to many, in one Envelope each. What is received is at home there.",
)
RECV: Final = OpSpec(
    keys.WIRE,
    "Recv",
    1,
    outputs=(Port("sender", t.PEER_ID), Port("received", t.ANY, variadic=True)),
    attributes=_EDGE,
    doc="Where the values of one Send arrive. The compiler writes it; an author never does.",
)
DELIVERED: Final = OpSpec(
    keys.WIRE,
    "Delivered",
    1,
    inputs=(Port("request", t.REQUEST_ID),),
    outputs=(Port("done", t.TRIGGER),),
    answer=Answer.TIME,
    doc="Wait until all peers have confirmed what a Send with a receipt has given them; fails when one has not.",
)
GATHER: Final = OpSpec(
    keys.WIRE,
    "Gather",
    1,
    inputs=(Port("peers", t.PEER_LIST), Port("request", t.REQUEST_ID), Port("received", t.ANY, variadic=True)),
    outputs=(Port("senders", t.PEER_LIST), Port("values", t.COMPOSITE, variadic=True)),
    attributes=(
        Attribute("n", "int", 0, minimum=0),
        Attribute("minimum", "int", 1, minimum=0),
        Attribute("deadline", "duration", 0),
    ),
    expanded_by="expand_ops",
    doc="Collect the answers of many peers as lists in order of peer id: of all, or of the first `n`.",
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

WIRE_OPS: Final = (SEND, RECV, DELIVERED, GATHER, GATHER_CONTRIBUTE, GATHER_COLLECT)
