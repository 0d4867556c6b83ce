"""What one Envelope brings: checked, decoded, and begun as one Frame for each function that it fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.address_book import Origin
from bb_core.engine.backpressure import NOTICE_SITE, read_notice
from bb_core.engine.program import Export
from bb_core.engine.requests import RESPONSE
from bb_core.errors import (
    AddressError,
    EnvelopeError,
    IncompleteEdge,
    NotExported,
    PayloadError,
    RemoteError,
    SourceMismatch,
)
from bb_core.ids import PeerId
from bb_core.steps import Backpressure, Dropped, EnvelopeRejected, FillRejected, PeerBlocked
from bb_core.values import TRIGGER
from bb_core.wire.address import parse_site_suffix, site_suffix
from bb_core.wire.codec import Envelope, Fill, decode
from bb_core.wire.payloads import decode_value

if TYPE_CHECKING:
    from bb_core.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Inbound:
    """What began a Frame: who sent the Envelope, and under which request."""

    source: PeerId
    kind: int
    request: int


def receive(engine: Engine, data: Any, source: PeerId) -> None:
    """Take in the bytes of one Envelope from a peer that the transport has verified."""
    if not engine.governor.is_quiet and not engine.governor.is_allowed(source):
        engine.steps.append(PeerBlocked(source))
        return
    try:
        envelope = decode(data, engine.limits)
        _admit(engine, envelope, source)
    except RemoteError as error:
        engine.steps.append(EnvelopeRejected(source, error))
        return
    if envelope.src_peer_addresses:
        engine.address_book.learn(source, envelope.src_peer_addresses, Origin.CLAIMED, engine.now)
    inbound = Inbound(source, envelope.kind, envelope.request)
    engine.heard(source, envelope.kind, envelope.request)
    arrived: dict[tuple[str, str], _Arrival] = {}
    charge = len(data)
    for index, fill in enumerate(envelope.fills):
        try:
            if fill.dest_suffix == _NOTICE:
                _take_notice(engine, fill, source)
            else:
                export = _export(engine, fill)
                arrival = arrived.setdefault((export.function, export.edge), _Arrival(index, export, source))
                _take(engine, fill, export, inbound, arrival)
        except RemoteError as error:
            engine.steps.append(FillRejected(source, index, error))
    for (function, edge), arrival in arrived.items():
        if arrival.refused:
            engine.steps.append(PeerBlocked(source))
        elif arrival.count < arrival.export.together:
            engine.steps.append(FillRejected(source, arrival.index, _incomplete(edge, arrival)))
        elif len(arrival.values) > 1:
            engine.begin_received(function, edge, inbound, arrival.values, arrival.items, charge)
            charge = 0  # the first Frame holds the bytes; the others end at about the same time


def _take(engine: Engine, fill: Fill, export: Export, inbound: Inbound, arrival: _Arrival) -> None:
    """Add one value to what an Envelope brings for an edge, if its gates let it through."""
    source = inbound.source
    arrival.count += 1
    if not engine.governor.is_quiet and not engine.governor.admits(source, export.gates, engine.now):
        arrival.refused = True
        return
    is_deduped = keys.GATE_DEDUP in export.gates
    key = (source.raw, inbound.kind, inbound.request, export.site)
    if is_deduped and key in engine.seen:
        engine.steps.append(Dropped(source, "duplicate"))
        return
    arrival.items.append(_value(fill, export))
    arrival.values.append(export.value)
    if is_deduped and inbound.request:  # without a request id, two arrivals cannot be told apart
        engine.seen.add(key)


_NOTICE: Final = site_suffix(NOTICE_SITE)


def _take_notice(engine: Engine, fill: Fill, source: PeerId) -> None:
    """Take in that a peer asks to be sent nothing for a while."""
    notice = read_notice(decode_value(fill.type_hash, fill.payload))
    engine.steps.append(Backpressure(source, engine.governor.advise(source, notice.min_backoff_ns, engine.now)))


class _Arrival:
    """What one Envelope brings for one edge: the sender, and the values that could be read."""

    __slots__ = ("count", "export", "index", "items", "refused", "values")

    def __init__(self, index: int, export: Export, source: PeerId) -> None:
        self.index = index
        self.export = export
        self.count = 0
        self.refused = False
        self.values = [export.sender]
        self.items: list[Any] = [source]


def _incomplete(edge: str, arrival: _Arrival) -> IncompleteEdge:
    return IncompleteEdge(
        f"the edge {edge!r} was sent {arrival.count} of its values",
        expected=f"{arrival.export.together} in one Envelope",
    )


def _admit(engine: Engine, envelope: Envelope, source: PeerId) -> None:
    """Refuse an Envelope before any payload of it is looked at."""
    if not envelope.fills:
        raise EnvelopeError("an Envelope brings nothing", expected="at least one fill")
    claimed = envelope.src_peer
    if claimed and claimed != source.raw:
        raise SourceMismatch(f"an Envelope from {source} names another sender")
    if envelope.kind == RESPONSE:
        refusal = engine.requests.refuse(envelope.request, source)
        if refusal is not None:
            raise refusal


def _export(engine: Engine, fill: Fill) -> Export:
    try:
        site = parse_site_suffix(fill.dest_suffix)
    except AddressError as error:
        raise NotExported(f"a fill's destination is not a site: {error.message}") from error
    export = None if site is None else engine.exports.get(site)
    if export is None:
        raise NotExported("a fill names a site that this Node does not export", site=site)
    return export


def _value(fill: Fill, export: Export) -> Any:
    value = TRIGGER if fill.trigger_only else decode_value(fill.type_hash, fill.payload)
    if export.wanted is not None and not isinstance(value, export.wanted):
        raise PayloadError(
            f"the edge {export.edge!r} was sent a {type(value).__name__}", expected=export.wanted.__name__
        )
    return value
