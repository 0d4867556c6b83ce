"""The dispatch loop, compiled. Its classes are documented in `_dispatch.pxd`."""

from __future__ import annotations

try:
    from bb_core.engine._dispatch import Current, Dispatcher, Frame, Handler, Holder, Lane, Loop, Plan, Sender, Table
except ImportError as error:  # pragma: no cover - only without a build
    raise ImportError(
        "the compiled module bb_core.engine._dispatch is missing; build it with `pip install -e .`"
    ) from error

__all__ = ["Current", "Dispatcher", "Frame", "Handler", "Holder", "Lane", "Loop", "Plan", "Sender", "Table"]
