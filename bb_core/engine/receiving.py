"""What one Envelope brings: checked, decoded, and begun as one Frame for each function that it fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bb_core.engine.program import Export
from bb_core.engine.requests import RESPONSE
from bb_core.errors import AddressError, NotExported, PayloadError, RemoteError, SourceMismatch
from bb_core.ids import PeerId
from bb_core.steps import Dropped, EnvelopeRejected, FillRejected
from bb_core.values import TRIGGER
from bb_core.wire.address import parse_site_suffix
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
    try:
        envelope = decode(data, engine.limits)
        _admit(engine, envelope, source)
    except RemoteError as error:
        engine.steps.append(EnvelopeRejected(source, error))
        return
    inbound = Inbound(source, envelope.kind, envelope.request)
    seeds: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for index, fill in enumerate(envelope.fills):
        try:
            export = _export(engine, fill)
            if export.dedup and _seen(engine, inbound, fill):
                engine.steps.append(Dropped(source, "duplicate"))
                continue
            value = _value(fill, export)
        except RemoteError as error:
            engine.steps.append(FillRejected(source, index, error))
            continue
        written = seeds.setdefault((export.function, export.edge), [(export.sender, source)])
        written.append((export.value, value))
    for (function, edge), written in seeds.items():
        engine.begin_received(function, edge, inbound, written)


def _admit(engine: Engine, envelope: Envelope, source: PeerId) -> None:
    """Refuse an Envelope before any payload of it is looked at."""
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


def _seen(engine: Engine, inbound: Inbound, fill: Fill) -> bool:
    site = int.from_bytes(fill.dest_suffix[-8:], "big")
    return engine.seen.before((inbound.source.raw, inbound.kind, inbound.request, site))


def _value(fill: Fill, export: Export) -> Any:
    value = TRIGGER if fill.trigger_only else decode_value(fill.type_hash, fill.payload)
    if export.wanted is not None and not isinstance(value, export.wanted):
        raise PayloadError(
            f"the edge {export.edge!r} was sent a {type(value).__name__}", expected=export.wanted.__name__
        )
    return value
