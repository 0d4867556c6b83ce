"""What lets ops run, holds them back, or begins them again."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port

_TRIGGER: Final = (Port("trigger", t.TRIGGER),)
_DONE: Final = (Port("done", t.TRIGGER),)
_MAYBE: Final = (Port("trigger", t.TRIGGER, optional=True),)

PULSE: Final = OpSpec(keys.SYSCALL, "Pulse", 1, outputs=_TRIGGER, record="pulse", doc="Give a trigger.")
ON_TRIGGER: Final = OpSpec(
    keys.SYSCALL,
    "OnTrigger",
    1,
    (Port("value", t.ANY),),
    _TRIGGER,
    record="on_trigger",
    doc="Give a trigger when a value has been written, whatever it is.",
)
ALL: Final = OpSpec(
    keys.SYSCALL,
    "All",
    1,
    (Port("values", t.ANY, variadic=True),),
    _TRIGGER,
    record="all",
    doc="Give a trigger when all values have been written.",
)
ANY: Final = OpSpec(
    keys.SYSCALL,
    "Any",
    1,
    (Port("values", t.ANY, variadic=True),),
    (Port("value", t.ANY, optional=True),),
    (Attribute("group", "str", ""),),
    relations=("same_type",),
    any_of=True,
    record="any",
    doc="Pass on the first value that is written; the others are ignored. A named `group` lets one through in the "
    "life of a Node.",
)
DEADLINE_MATCH: Final = OpSpec(
    keys.SYSCALL,
    "DeadlineMatch",
    1,
    (Port("then", t.ANY), Port("timeout", t.ANY)),
    (Port("won", t.TRIGGER, optional=True), Port("late", t.TRIGGER, optional=True)),
    any_of=True,
    record="deadline_match",
    doc="Race a value against a timeout, and give the trigger of the one that came first.",
)
THRESHOLD: Final = OpSpec(
    keys.SYSCALL,
    "Threshold",
    1,
    (Port("value", t.ANY),),
    _MAYBE,
    (Attribute("n", "int", REQUIRED, minimum=1), Attribute("name", "str", "")),
    record="threshold",
    doc="Give a trigger at every n-th value. Nodes count under the name, or the op's own.",
)
LIMIT_ACQUIRE: Final = OpSpec(
    keys.SYSCALL,
    "Limit.Acquire",
    1,
    _TRIGGER,
    _MAYBE,
    (Attribute("name", "str", ""), Attribute("n", "int", 1, minimum=1)),
    record="limit.acquire",
    doc="Enter a named limit: a trigger if fewer than `n` are inside, nothing otherwise.",
)
LIMIT_RELEASE: Final = OpSpec(
    keys.SYSCALL,
    "Limit.Release",
    1,
    _TRIGGER,
    _DONE,
    (Attribute("name", "str", ""),),
    record="limit.release",
    doc="Leave a named limit.",
)
ENQUEUE: Final = OpSpec(
    keys.SYSCALL,
    "Serialize.Enqueue",
    1,
    (Port("value", t.ANY),),
    _DONE,
    (Attribute("queue", "str", ""),),
    record="serialize.enqueue",
    doc="Put a value at the end of a named queue of the Node; of 4096 the oldest is dropped.",
)
DEQUEUE: Final = OpSpec(
    keys.SYSCALL,
    "Serialize.Dequeue",
    1,
    _TRIGGER,
    (Port("value", t.ANY, optional=True),),
    (Attribute("queue", "str", ""),),
    record="serialize.dequeue",
    doc="Take the first value of a named queue; nothing when it is empty.",
)
STASH: Final = OpSpec(
    keys.SYSCALL,
    "Hold.Stash",
    1,
    (Port("value", t.ANY),),
    _DONE,
    (Attribute("slot", "str", ""),),
    record="hold.stash",
    doc="Keep a value under a name of the Node, for another Frame; a second replaces the first.",
)
FLUSH: Final = OpSpec(
    keys.SYSCALL,
    "Hold.Flush",
    1,
    _TRIGGER,
    (Port("value", t.ANY, optional=True),),
    (Attribute("slot", "str", ""),),
    record="hold.flush",
    doc="Take what is kept under a name; nothing when there is none.",
)
AGAIN: Final = OpSpec(
    keys.SYSCALL,
    "Again",
    1,
    (Port("value", t.ANY),),
    _DONE,
    (Attribute("port", "str", REQUIRED),),
    doc="Begin a new Frame on one of the program's own inputs.",
)
ON_FAILURE: Final = OpSpec(
    keys.SYSCALL,
    "OnFailure",
    1,
    (Port("value", t.ANY),),
    (Port("failed", t.TRIGGER, optional=True),),
    doc="Give a trigger when a value will not come, since an op that it needs has failed. It does not wait for it.",
)
LIFECYCLE_PHASE: Final = OpSpec(
    keys.SYSCALL,
    "LifecyclePhase",
    1,
    outputs=_TRIGGER,
    attributes=(Attribute("phase", "str", REQUIRED),),
    source="lifecycle",
    record="lifecycle",
    doc="Begin a Frame when the host fires a phase of the Node's life: `node.fire_lifecycle(phase, now)`.",
)
EVENT_SOURCE: Final = OpSpec(
    keys.SYSCALL,
    "EventSource",
    1,
    outputs=_TRIGGER,
    attributes=(Attribute("kind", "str", REQUIRED),),
    source="event",
    record="event_source",
    doc="Begin a Frame when an event of a kind is published on the Node, by a Concrete or by the Node itself.",
)

FLOW_OPS: Final = (
    PULSE, ON_TRIGGER, ALL, ANY, DEADLINE_MATCH, THRESHOLD, LIMIT_ACQUIRE, LIMIT_RELEASE, ENQUEUE, DEQUEUE, STASH,
    FLUSH, AGAIN, ON_FAILURE, LIFECYCLE_PHASE, EVENT_SOURCE,
)  # fmt: skip
