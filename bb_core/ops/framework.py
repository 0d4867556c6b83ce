"""All of the framework's own ops. Their bodies live in the engine."""

from __future__ import annotations

from typing import Final

from bb_core.ops.addresses import ADDRESS_OPS
from bb_core.ops.flow import FLOW_OPS
from bb_core.ops.spec import OpSpec
from bb_core.ops.structure import STRUCTURE_OPS
from bb_core.ops.telemetry import TELEMETRY_OPS
from bb_core.ops.timing import TIMING_OPS
from bb_core.ops.wire import WIRE_OPS

FRAMEWORK_OPS: Final[tuple[OpSpec, ...]] = (
    *WIRE_OPS,
    *STRUCTURE_OPS,
    *FLOW_OPS,
    *TIMING_OPS,
    *TELEMETRY_OPS,
    *ADDRESS_OPS,
)
