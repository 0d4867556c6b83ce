"""The eighteen canonical passes, in order. One file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import onnx

from bb_core.compiler.passes.analyze_wire_edges import analyze_wire_edges
from bb_core.compiler.passes.derive_wire_deadlines import derive_wire_deadlines
from bb_core.compiler.passes.expand_ops import expand_ops
from bb_core.compiler.passes.infer_peer_classes import infer_peer_classes
from bb_core.compiler.passes.inline_for_partition import inline_for_partition
from bb_core.compiler.passes.insert_async_deadlines import insert_async_deadlines
from bb_core.compiler.passes.insert_backoff_gate_rx import insert_backoff_gate_rx
from bb_core.compiler.passes.insert_backoff_gate_tx import insert_backoff_gate_tx
from bb_core.compiler.passes.insert_dedup_gate_rx import insert_dedup_gate_rx
from bb_core.compiler.passes.insert_peer_health_gate_rx import insert_peer_health_gate_rx
from bb_core.compiler.passes.insert_peer_health_gate_tx import insert_peer_health_gate_tx
from bb_core.compiler.passes.partition_by_wire_ops import partition_by_wire_ops
from bb_core.compiler.passes.resolve_slots import resolve_slots
from bb_core.compiler.passes.stamp_compilation_metadata import stamp_compilation_metadata
from bb_core.compiler.passes.synthesize_wire_recvs import synthesize_wire_recvs
from bb_core.compiler.passes.type_solver import type_solver
from bb_core.compiler.passes.validate import validate
from bb_core.compiler.passes.validate_runtime_complete import validate_runtime_complete
from bb_core.compiler.state import State


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass.

    Attributes:
        needs: Passes whose work it stands on, and without which it is not run. What else a program must have to run is
            demanded by `validate_runtime_complete`, whoever has done it.
    """

    name: str
    run: Callable[[onnx.ModelProto, State], None]
    needs: tuple[str, ...] = ()

    @property
    def doc(self) -> str:
        """First line of what the pass does."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


_CUT: Final = ("inline_for_partition", "infer_peer_classes", "synthesize_wire_recvs")

PASSES: Final = (
    Pass("inline_for_partition", inline_for_partition),
    Pass("derive_wire_deadlines", derive_wire_deadlines),
    Pass("validate", validate),
    Pass("expand_ops", expand_ops),
    Pass("type_solver", type_solver),
    Pass("infer_peer_classes", infer_peer_classes, ("inline_for_partition",)),
    Pass("synthesize_wire_recvs", synthesize_wire_recvs, ("infer_peer_classes",)),
    Pass("partition_by_wire_ops", partition_by_wire_ops, _CUT),
    Pass("resolve_slots", resolve_slots),
    Pass("analyze_wire_edges", analyze_wire_edges, (*_CUT, "partition_by_wire_ops")),
    Pass("insert_dedup_gate_rx", insert_dedup_gate_rx),
    Pass("insert_peer_health_gate_rx", insert_peer_health_gate_rx),
    Pass("insert_backoff_gate_rx", insert_backoff_gate_rx),
    Pass("insert_peer_health_gate_tx", insert_peer_health_gate_tx),
    Pass("insert_backoff_gate_tx", insert_backoff_gate_tx),
    Pass("insert_async_deadlines", insert_async_deadlines),
    Pass("validate_runtime_complete", validate_runtime_complete),
    Pass("stamp_compilation_metadata", stamp_compilation_metadata),
)
