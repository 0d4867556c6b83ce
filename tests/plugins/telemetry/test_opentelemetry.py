"""What OpenTelemetry is told of a Node, by its own SDK's exporters."""

from __future__ import annotations

from typing import Any

import pytest

import bb_core as bb
from tests.support import AVERAGING, Averaging, peer

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bb_plugins.telemetry.opentelemetry import OpenTelemetry


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([self.reader], shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = OpenTelemetry(tracers.get_tracer("t"), meters.get_meter("t"), {"bb.peer": "me"})

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def counts(self) -> dict[str, int]:
        data = self.reader.get_metrics_data()
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {m.name: sum(p.value for p in m.data.data_points) for m in found}


def coordinator() -> bb.Node:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    node = bb.install(peer(0), [], artefact, ["Averaging"])
    node.add_peer(peer(1), peer_class="client")
    return node


def test_each_op_is_a_span_and_what_waits_ends_with_its_answer() -> None:
    told, node = Told(), coordinator()
    node.observe(told.observer)
    exec_id = node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    given = node.poll(0).steps
    spans = told.spans()
    sampled = spans["cohort.Sample"].attributes
    assert sampled["bb.peer"] == "me"
    assert sampled["bb.frame"] == exec_id
    assert "support.py:" in sampled["code.location"]
    assert "aggregator.Collect" not in spans
    counts = told.counts()
    assert counts["bb.ops"] == len(spans)
    assert counts["bb.steps"] == len(given)
    assert counts["bb.polls"] == 1
    node.poll(60 * 10**9)
    failed = told.spans()["aggregator.Collect"]
    assert not failed.status.is_ok
    assert failed.events[0].name == "exception"
    assert told.counts()["bb.failures"] == 1


def test_an_observer_that_is_taken_away_is_told_nothing_more() -> None:
    told, node = Told(), coordinator()
    node.observe(told.observer)
    node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    node.poll(0)
    node.unobserve(told.observer)
    before = len(told.spans())
    told.observer.close()
    assert "aggregator.Collect" in told.spans()
    assert len(told.spans()) == before + 1
    node.invoke("Averaging", {"round": bb.TRIGGER}, 1)
    node.poll(1)
    assert len(told.spans()) == before + 1
