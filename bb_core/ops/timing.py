"""Time and chance, both of them the Node's: given by its host and its seed."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec, Port

_TRIGGER: Final = (Port("trigger", t.TRIGGER),)
_WHENEVER: Final = (Port("trigger", t.ANY, optional=True),)

INTERVAL: Final = OpSpec(
    keys.SYSCALL,
    "Interval",
    1,
    outputs=(Port("tick", t.i64[()]),),
    attributes=(Attribute("period", "duration", 10**9, minimum=1),),
    source="timer",
    record="interval",
    doc="Begin a Frame every `period`; its value is the time in nanoseconds. The first comes one period after the "
    "first poll, and periods that a late poll has missed are not made up for.",
)
AFTER: Final = OpSpec(
    keys.SYSCALL,
    "After",
    1,
    _TRIGGER,
    _TRIGGER,
    (Attribute("delay", "duration", REQUIRED),),
    answer=Answer.TIME,
    record="after",
    doc="Give a trigger some time after one was given.",
)
SLEEP: Final = OpSpec(
    keys.SYSCALL,
    "Sleep",
    1,
    (Port("value", t.ANY),),
    (Port("out", t.ANY),),
    (Attribute("duration", "duration", REQUIRED),),
    answer=Answer.TIME,
    relations=("same_type",),
    record="sleep",
    doc="Pass a value on after a time.",
)
CLOCK: Final = OpSpec(
    keys.SYSCALL,
    "Clock",
    1,
    _WHENEVER,
    (Port("now", t.i64[()]),),
    record="clock",
    doc="Give the Node's time, in nanoseconds.",
)
RNG_U64: Final = OpSpec(
    keys.SYSCALL,
    "RngU64",
    1,
    _WHENEVER,
    (Port("value", t.u64[()]),),
    record="rng",
    doc="Give 64 random bits: Philox keyed by the Node's seed, its peer id, the op and what began the Frame.",
)
CORRELATE_TAG: Final = OpSpec(
    keys.SYSCALL,
    "CorrelateTag",
    1,
    _WHENEVER,
    (Port("token", t.u64[()]),),
    record="correlate_tag",
    doc="Give a number that this Node has not given before.",
)

TIMING_OPS: Final = (INTERVAL, AFTER, SLEEP, CLOCK, RNG_U64, CORRELATE_TAG)
