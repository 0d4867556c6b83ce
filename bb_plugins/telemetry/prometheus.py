"""What a running Node says of itself, as metrics of Prometheus. Needs the extra `[metrics]`.

Everything is read when it is scraped; between two scrapes it costs nothing. Names end as Prometheus wants it: `_total`
is counted up since the process began, and the rest is as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError('prometheus-client is not installed: pip install "bytesandbrains[metrics]"') from error

if TYPE_CHECKING:
    from bb_plugins.hosts.asyncio.status import Status


class NodeCollector(Collector):
    """Turns a `Status` into metrics.

    Args:
        status: Tells how the Node is; called once for each scrape.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> list[Any]:
        """Tell nothing in advance: names do not clash in a registry of its own."""
        return []

    def collect(self) -> Iterator[Any]:
        """Give all metrics."""
        now = self._status()
        yield InfoMetricFamily(
            "bb_node", "The Node.", {"peer": now.peer, "targets": ",".join(now.targets), "digest": now.digest}
        )
        yield GaugeMetricFamily("bb_up_seconds", "How long the process has run.", now.up_s)
        yield GaugeMetricFamily("bb_ready", "1 when every peer that is to be connected is.", float(now.ready))
        yield GaugeMetricFamily("bb_failed", "1 when the Node has stopped.", float(bool(now.failure)))
        if now.rounds_done is not None:
            yield CounterMetricFamily("bb_rounds", "Rounds that are done.", now.rounds_done)
        yield CounterMetricFamily("bb_executions", "Frames that the Node has begun in its life.", now.executions)
        if now.journal_bytes is not None:
            yield GaugeMetricFamily("bb_journal_bytes", "Size of the journal.", now.journal_bytes)
        yield _by("bb_value", "The latest number that the program gave.", "name", now.values)
        yield _by("bb_held", "What the Node holds.", "what", now.held)
        yield _by("bb_program", "The program's own counters.", "name", now.counters, CounterMetricFamily)
        yield _by("bb_steps", "Steps of the Node.", "kind", now.steps, CounterMetricFamily)
        yield _by("bb_link_events", "What happened to links.", "event", now.links, CounterMetricFamily)
        yield from _of_peers(now)


def _by(name: str, text: str, label: str, values: Any, family: Any = GaugeMetricFamily) -> Any:
    found = family(name, text, labels=[label])
    for key, value in values.items():
        found.add_metric([key], value)
    return found


def _of_peers(now: Status) -> Iterator[Any]:
    labels = ["peer"]
    connected = GaugeMetricFamily("bb_peer_connected", "1 when there is a link.", labels=labels)
    seen = GaugeMetricFamily("bb_peer_last_seen_seconds", "How long ago something came from it.", labels=labels)
    answer = GaugeMetricFamily("bb_peer_answer_seconds", "Smoothed time that its answers take.", labels=labels)
    waiting = GaugeMetricFamily("bb_peer_waiting", "Envelopes that are to be sent to it.", labels=labels)
    directed = ["peer", "direction"]
    envelopes = CounterMetricFamily("bb_peer_envelopes", "Envelopes from and to it.", labels=directed)
    size = CounterMetricFamily("bb_peer_bytes", "Bytes of these Envelopes.", labels=directed)
    for peer in now.peers:
        connected.add_metric([peer.id], float(peer.connected))
        waiting.add_metric([peer.id], peer.waiting)
        if peer.seen_s is not None:
            seen.add_metric([peer.id], peer.seen_s)
        if peer.answer_ms is not None:
            answer.add_metric([peer.id], peer.answer_ms / 1e3)
        for direction, count, bytes_ in (
            ("in", peer.received, peer.received_bytes),
            ("out", peer.sent, peer.sent_bytes),
        ):
            envelopes.add_metric([peer.id, direction], count)
            size.add_metric([peer.id, direction], bytes_)
    yield from (connected, seen, answer, waiting, envelopes, size)
