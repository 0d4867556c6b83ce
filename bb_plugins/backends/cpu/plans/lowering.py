"""Ops as steps: what has a row in the tables of `lowered` becomes kernels, and what has none stays in Python."""

from __future__ import annotations

from typing import Final

from bb_plugins.backends.cpu.plans.lowered.common import Lower
from bb_plugins.backends.cpu.plans.lowered.folding import FOLDING
from bb_plugins.backends.cpu.plans.lowered.moving import MOVING
from bb_plugins.backends.cpu.plans.lowered.products import PRODUCTS
from bb_plugins.backends.cpu.plans.lowered.windows import WINDOWS
from bb_plugins.backends.cpu.plans.program import ABSENT, Draft, Op

LOWER: Final[dict[str, Lower]] = {**MOVING, **FOLDING, **PRODUCTS, **WINDOWS}


def lower(draft: Draft, op: Op) -> None:
    """Write an op as steps. Kernels take values of known shapes that have elements."""
    known = draft.known
    row = None if op.node.domain else LOWER.get(op.node.op)
    fits = all(known[v].fixed and known[v].size > 0 for v in (*op.inputs, *op.outputs) if v != ABSENT)
    if row is None or not fits or not row(draft, op):
        draft.python(op)
