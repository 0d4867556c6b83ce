"""OpenTelemetry for Nodes: a span for each op, and counters. Needs the extra `[metrics]`.

    from bb_plugins.telemetry.opentelemetry import OpenTelemetry

    node.observe(OpenTelemetry())

A Node that nobody observes pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bb_core as bb

try:
    from opentelemetry import metrics, trace
except ImportError as error:
    raise ImportError('OpenTelemetry is not installed: pip install "bytesandbrains[metrics]"') from error


class OpenTelemetry:
    """An observer that tells OpenTelemetry what a Node does.

    Spans are named `slot.Op`, or `Op`, and carry `bb.target`, `bb.frame`, `bb.op`, `bb.slot` and `code.location`. That
    of an op that answers later ends with its answer; one whose Frame was cancelled ends with `close`.

    Counters: `bb.ops` and `bb.failures` by op and slot, `bb.polls`, and `bb.steps` by kind.

    Args:
        tracer: Makes the spans; the global provider's by default.
        meter: Makes the counters; the global provider's by default.
        attributes: Set on every span, such as the peer id.
    """

    wants_steps = False

    def __init__(
        self,
        tracer: trace.Tracer | None = None,
        meter: metrics.Meter | None = None,
        attributes: dict[str, str] | None = None,
    ) -> None:
        self._tracer = tracer or trace.get_tracer("bytesandbrains", bb.__version__)
        meter = meter or metrics.get_meter("bytesandbrains", bb.__version__)
        self._attributes = dict(attributes or {})
        self._open: dict[tuple[int, str], trace.Span] = {}
        self._ops = meter.create_counter("bb.ops", unit="1", description="Ops that have run.")
        self._failures = meter.create_counter("bb.failures", unit="1", description="Ops that have failed.")
        self._polls = meter.create_counter("bb.polls", unit="1", description="Polls.")
        self._steps = meter.create_counter("bb.steps", unit="1", description="Steps that polls have given.")

    def op_began(self, run: bb.OpRun, inputs: tuple[Any, ...]) -> None:
        """Begin a span."""
        attributes: dict[str, str | int] = {
            **self._attributes,
            "bb.target": run.target,
            "bb.frame": int(run.exec_id),
            "bb.op": run.op,
            "bb.slot": run.slot,
            "code.location": run.where,
        }
        title = f"{run.slot}.{run.op}" if run.slot else run.op
        self._open[run.exec_id, run.name] = self._tracer.start_span(title, attributes=attributes)

    def op_ended(self, run: bb.OpRun, outputs: Any) -> None:
        """End a span."""
        self._end(run, lambda span: None)
        self._ops.add(1, {"bb.op": run.op, "bb.slot": run.slot})

    def op_failed(self, run: bb.OpRun, error: bb.errors.BBError) -> None:
        """End a span as failed, with the error."""

        def blame(span: trace.Span) -> None:
            span.record_exception(error)
            span.set_status(trace.StatusCode.ERROR, error.message)

        self._end(run, blame)
        self._failures.add(1, {"bb.op": run.op, "bb.slot": run.slot, "bb.code": error.code})

    def polled(self, now: int, steps: list[Any]) -> None:
        """Count a poll and its Steps."""
        self._polls.add(1)
        for step in steps:
            self._steps.add(1, {"bb.kind": type(step).__name__})

    def close(self) -> None:
        """End the spans of ops that have not answered."""
        while self._open:
            self._open.popitem()[1].end()

    def _end(self, run: bb.OpRun, last: Callable[[trace.Span], None]) -> None:
        span = self._open.pop((run.exec_id, run.name), None)
        if span is not None:
            last(span)
            span.end()


__all__ = ["OpenTelemetry"]
