"""What a program tells its host, beside its outputs."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec, Port

_DONE: Final = (Port("done", t.TRIGGER),)
_NAME: Final = Attribute("name", "str", REQUIRED)

APP_EMIT: Final = OpSpec(
    keys.SYSCALL,
    "AppEmit",
    1,
    (Port("value", t.ANY),),
    _DONE,
    (_NAME,),
    record="app_emit",
    doc="Give a value to the host as an AppEvent under a topic, from any class of peers and inside sub-modules.",
)
APP_NOTIFY: Final = OpSpec(
    keys.SYSCALL,
    "AppNotify",
    1,
    (Port("trigger", t.ANY),),
    _DONE,
    (_NAME,),
    record="app_notify",
    doc="Tell the host that something has happened: an AppEvent without a value.",
)
RECORD: Final = OpSpec(
    keys.SYSCALL,
    "Record",
    1,
    (Port("value", t.ANY),),
    _DONE,
    (_NAME,),
    record="record",
    doc="Append a value to a named ring of the Node, which keeps the last 1024; the host reads `node.records(name)`.",
)
INCR_METRIC: Final = OpSpec(
    keys.SYSCALL,
    "IncrMetric",
    1,
    (Port("trigger", t.ANY),),
    _DONE,
    (_NAME, Attribute("delta", "int", 1)),
    record="metric",
    doc="Add to a named counter of the Node; the host reads `node.counters()`.",
)

TELEMETRY_OPS: Final = (APP_EMIT, APP_NOTIFY, RECORD, INCR_METRIC)
