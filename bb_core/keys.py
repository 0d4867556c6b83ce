"""Every string that crosses a layer: domains, Role names, metadata keys, op names.

The compiler and the engine never import each other; they meet in a ModelProto and in this file.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "ai.bytesandbrains"

# --- domains ----------------------------------------------------------------------------------------------------------
ONNX: Final = ""
MODULE: Final = f"{PREFIX}.module"
SYSCALL: Final = f"{PREFIX}.syscall"
WIRE: Final = f"{PREFIX}.wire"
COMPOSITE: Final = f"{PREFIX}.composite"
ADDRESS_BOOK: Final = f"{PREFIX}.address_book"
ROLE_PREFIX: Final = f"{PREFIX}.role."
PROTOCOL_PREFIX: Final = f"{PREFIX}.protocol."
FRAMEWORK: Final = f"{PREFIX}.framework"
"""Domain of a Backend's graph that has become one op."""
SUBGRAPH: Final = "BackendSubgraph"
BODY: Final = "body"
"""GRAPH on a BackendSubgraph: what it does."""
COMPONENT: Final = f"{PREFIX}.component"
"""What begins in a component, and stands in no program: inbound ops, answers and timers."""

# --- the eight Roles --------------------------------------------------------------------------------------------------
BACKEND: Final = "backend"
MODEL: Final = "model"
INDEX: Final = "index"
AGGREGATOR: Final = "aggregator"
CODEC: Final = "codec"
DATA_SOURCE: Final = "data_source"
PEER_SELECTOR: Final = "peer_selector"
PROTOCOL: Final = "protocol"

# --- node metadata ----------------------------------------------------------------------------------------------------
SOURCE: Final = f"{PREFIX}.source"
"""`file:line` of the author's call; stands outside the digest."""
SLOT: Final = f"{PREFIX}.slot"
"""Path of the slot that serves the op."""
HOME: Final = f"{PREFIX}.home"
"""Class of peers on which the op runs; empty for the Module's own class."""
PLACE: Final = f"{PREFIX}.place"
"""Home demanded by the author with `g.place(on=...)`."""
DESTINATION: Final = f"{PREFIX}.destination"
"""On a Send: the class of peers that it goes to."""
POINTS_TO: Final = f"{PREFIX}.peer_class"
"""On an op whose outputs are peers: the class that they belong to."""

CALL_ONLY: Final = f"{PREFIX}.call_only"
"""On a trigger that is there only since ONNX has no call without inputs and outputs; inlining drops it."""

# --- function metadata ------------------------------------------------------------------------------------------------
PEER_CLASS: Final = f"{PREFIX}.function.peer_class"
"""Class of peers that a compiled function is for."""
PHASE: Final = f"{PREFIX}.function.phase"
"""`body`, or `bootstrap` for what runs once before the body may; absent on a body."""
TYPED: Final = f"{PREFIX}.function.typed"
"""`1` once the type solver has settled every value of a function."""
INPUT_SOURCE: Final = f"{PREFIX}.input_source."
"""Prefix; the rest is an input of the function, the value the place where it is declared. Outside the digest."""
SLOT_ROLE: Final = f"{PREFIX}.slot_role."
"""Prefix; the rest is a slot path, the value a Role name."""
SLOT_CLASS: Final = f"{PREFIX}.slot_class."
"""Prefix; the rest is a PeerSelector slot's path, the value the class of peers that it selects from."""
SLOT_DEFAULT: Final = f"{PREFIX}.slot_default."
"""Prefix; the rest is a slot path, the value the pinned binding as JSON."""

# --- model metadata ---------------------------------------------------------------------------------------------------
PASSPORT: Final = f"{PREFIX}.passport"
"""JSON: format, compiler, digest, targets, plugins."""
BINDINGS: Final = f"{PREFIX}.bindings"
"""JSON: slot path -> role, concrete (null when late), config, dependencies; of a Protocol also its component's id and
the names of its inbound ops."""

# --- attributes -------------------------------------------------------------------------------------------------------
AFTER: Final = "after"
"""How many of an op's last inputs it only waits for."""
ORDER: Final = "order"
"""How many of those, the last, keep a slot's ops in order: they wait for an op to be over, not for its value."""
"""INT: how many trailing inputs are control edges, whose values are ignored."""
COUNT: Final = "count"
"""INT on Send and Recv: how many values travel together."""
PORTS: Final = "ports"
"""STRINGS on Send and Recv: the name of each value at its destination."""
EDGE: Final = "edge"
"""STRING on Send and Recv: the name that pairs them, unique in a program."""
SITES: Final = "sites"
"""INTS on Send and Recv: the 64-bit destination site of each value (as signed integers)."""
KINDS: Final = "kinds"
"""STRINGS on Send: wire type of each value, `trigger` for one without data."""
DELIVERY: Final = "delivery_ns"
ANSWER: Final = "answer_ns"
"""INT on Send: nanoseconds after which nobody waits for the answers any more; 0 when that is not known."""
ACK: Final = "ack_ns"
"""INT on Send: nanoseconds without progress after which it is given up; 0 when nobody is to confirm it."""
"""INT on Send: nanoseconds within which the Envelope must be handed over."""
REPLY: Final = "reply"
"""INT on Send: 1 when it answers the Envelope that began its Frame."""
DEADLINE: Final = "deadline_ns"
"""INT on an op that may answer later: nanoseconds after which it fails."""
DEADLINE_DEFAULT: Final = "deadline_default"
"""INT: 1 where the deadline is the compiler's, since the author wrote none."""
ASKED: Final = "asked_gates"
"""STRINGS on Send and Recv: gates that the author asked for beside those that always stand there."""
GATES: Final = "gates"
"""STRINGS on Send and Recv: the gates that the passes stamped, which the engine enforces."""

GATHER: Final = "gather"
"""STRING on Gather.Contribute and Gather.Collect: the name that pairs them, unique in a program."""

GATE_DEDUP: Final = "dedup"
GATE_PEER_HEALTH: Final = "peer_health"
GATE_BACKOFF: Final = "backoff"

OWN_CLASS: Final = ""
"""The class of the Nodes on which a program is invoked."""
