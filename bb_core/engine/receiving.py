"""What one Envelope brings: checked, decoded, and begun as one Frame for each function that it fills.

What a peer sends has to pass, in this order: the peer's standing, the wire limits and the form of the Envelope, the
sender that it names and the request that it answers; then each fill for itself: the table of exported sites, the gates
of its edge, the declared type, the room for a value in chunks; and only then are its bytes read. One fill's refusal
leaves the others alone. A fill that names no site calls an op of a component: see `control`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.address_book import Origin
from bb_core.engine.backpressure import NOTICE_SITE, read_notice
from bb_core.engine.deliveries import payload_size, send_receipt
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
from bb_core.wire.chunks import CHUNK, RECEIPT_SITE, RECEIPT_WANTED_SITE, Receipt, decode_chunk, read_receipt
from bb_core.wire.codec import Envelope, Fill, decode
from bb_core.wire.payloads import decode_value
from bb_core.wire.wire_types import class_of

if TYPE_CHECKING:
    from bb_core.engine.assembling import Assembly
    from bb_core.engine.engine import Engine

Key = tuple[bytes, int, int, int]
"""Source, kind, request and site: by it a duplicate is told."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """What began a Frame: who sent the Envelope, under which request, and until when its answer is waited for.

    The sender says how much time is left, as two Nodes have no clock in common; what the Envelope took is not known, so
    the time here is never too early.
    """

    source: PeerId
    kind: int
    request: int
    deadline: int | None = None


TOLD: Final = 8
"""How many Steps tell of the refused fills of one Envelope; the last stands for all others. 256 of them would take the
memory of seventy Envelopes."""


class _Refusals:
    """Tells of the fills of one Envelope that are refused: of many in few Steps."""

    __slots__ = ("count", "engine", "last", "source")

    def __init__(self, engine: Engine, source: PeerId) -> None:
        self.engine = engine
        self.source = source
        self.count = 0
        self.last: tuple[int, RemoteError] | None = None

    def add(self, index: int, error: RemoteError) -> None:
        self.count += 1
        if self.count < TOLD:
            self.engine.steps.append(FillRejected(self.source, index, bare(error)))
        elif self.count == TOLD:
            self.last = index, bare(error)

    def end(self) -> None:
        if self.last is not None:
            self.engine.steps.append(FillRejected(self.source, *self.last, self.count - TOLD + 1))


class _Arrival:
    """What one Envelope brings for one edge: the sender, and the values that could be read."""

    __slots__ = (
        "assembly", "count", "export", "index", "is_blocked", "is_failed", "is_in_chunks", "items", "keys", "receipt",
        "values",
    )  # fmt: skip

    def __init__(self, index: int, export: Export, source: PeerId) -> None:
        self.index = index
        self.export = export
        self.count = 0
        self.is_blocked = False
        self.is_failed = False
        self.is_in_chunks = False
        self.values = [export.sender]
        self.items: list[Any] = [source]
        self.keys: list[Key] = []
        self.assembly: Assembly | None = None
        self.receipt: Receipt | None = None


def receive(engine: Engine, data: Any, source: PeerId) -> None:
    """Take in the bytes of one Envelope from a peer that the transport has verified."""
    if not engine.governor.is_quiet and not engine.governor.is_allowed(source):
        engine.steps.append(PeerBlocked(source))
        return
    try:
        envelope = decode(data, engine.limits)
        _admit(engine, envelope, source)
    except RemoteError as error:
        engine.steps.append(EnvelopeRejected(source, bare(error)))
        return
    if envelope.src_peer_addresses:
        engine.address_book.learn(source, envelope.src_peer_addresses, Origin.CLAIMED, engine.now)
    left = envelope.remaining_deadline_ns
    deadline = engine.now + min(left, _LONGEST) if left else None
    inbound = Inbound(source, envelope.kind, envelope.request, deadline)
    engine.heard(source, envelope.kind, envelope.request)
    is_confirmed = envelope.fills[0].dest_suffix == _RECEIPT_WANTED
    charge = len(data)  # the first Frame holds the bytes; the others end at about the same time
    arrived: dict[tuple[str, str], _Arrival] = {}
    refusals = _Refusals(engine, source)
    for index, fill in enumerate(envelope.fills):
        arrival = None
        try:
            special = _SPECIAL.get(fill.dest_suffix)
            if special is not None:
                special(engine, fill, source)
                continue
            export = _export(engine, fill)
            if export is None:
                if engine.control.take(fill, inbound, charge):
                    charge = 0
                continue
            arrival = arrived.setdefault((export.function, export.edge), _Arrival(index, export, source))
            _take(engine, fill, export, inbound, arrival, is_confirmed)
        except RemoteError as error:
            if arrival is not None:
                arrival.is_failed = True
            refusals.add(index, error)
    refusals.end()
    for arrival in arrived.values():
        if _begin(engine, arrival, inbound, charge, is_confirmed):
            charge = 0


# --- an Envelope ------------------------------------------------------------------------------------------------------


def _admit(engine: Engine, envelope: Envelope, source: PeerId) -> None:
    """Refuse an Envelope before any payload of it is looked at."""
    if not envelope.fills:
        raise EnvelopeError("an Envelope brings nothing", expected="at least one fill")
    claimed = envelope.src_peer
    if claimed and claimed != source.raw:
        raise SourceMismatch(f"an Envelope from {source} names another sender")
    if envelope.kind == RESPONSE:
        refusal = engine.requests.refuse(envelope.request, source)
        if refusal is not None and not _is_repeated(engine, envelope, source):
            raise refusal


def _is_repeated(engine: Engine, envelope: Envelope, source: PeerId) -> bool:
    """Whether an Envelope that is confirmed has come before as a whole: its sender has not heard so, and asks again."""
    first = envelope.fills[0]
    if first.dest_suffix != _RECEIPT_WANTED and first.type_hash != CHUNK.type_hash:
        return False
    sites = [_export(engine, fill) for fill in envelope.fills if fill.dest_suffix not in _SPECIAL]
    return bool(sites) and all(
        export is not None and (source.raw, envelope.kind, envelope.request, export.site) in engine.seen
        for export in sites
    )


def _begin(engine: Engine, arrival: _Arrival, inbound: Inbound, charge: int, is_confirmed: bool) -> bool:
    """Begin the Frame of what has come for an edge, and say to its sender that it is there. Whether a Frame began."""
    export, source = arrival.export, inbound.source
    if arrival.is_blocked:
        engine.steps.append(PeerBlocked(source))
        return False
    if arrival.is_in_chunks:
        assembly = arrival.assembly
        if assembly is not None and assembly.is_whole:
            return _begin_assembled(engine, arrival, inbound, assembly)
        if arrival.receipt is not None:
            send_receipt(engine, source, arrival.receipt)
        return False
    if arrival.count < export.together:
        engine.steps.append(FillRejected(source, arrival.index, _incomplete(arrival, arrival.count)))
        return False
    has_begun = len(arrival.values) > 1 and engine.begin_received(
        export.function, export.edge, inbound, arrival.values, arrival.items, charge
    )
    if has_begun:
        for key in arrival.keys:
            engine.seen.add(key)
    if is_confirmed and (has_begun or not (arrival.is_failed or len(arrival.values) > 1)):
        send_receipt(engine, source, Receipt(inbound.kind, inbound.request, export.lead, 1))
    return has_begun


def _incomplete(arrival: _Arrival, count: int) -> IncompleteEdge:
    return IncompleteEdge(
        f"the edge {arrival.export.edge!r} was sent {count} of its values",
        expected=f"{arrival.export.together} in one Envelope",
    )


# --- a fill -----------------------------------------------------------------------------------------------------------


def _take(engine: Engine, fill: Fill, export: Export, inbound: Inbound, arrival: _Arrival, is_confirmed: bool) -> None:
    """Add one value to what an Envelope brings for an edge, if its gates let it through."""
    source = inbound.source
    if export.value in arrival.values:  # written twice, it would count for a value that was not sent
        repeated(engine, source)
        return
    arrival.count += 1
    if not engine.governor.is_quiet and not engine.governor.admits(source, export.gates, engine.now):
        arrival.is_blocked = True
        return
    if fill.type_hash == CHUNK.type_hash and not fill.trigger_only:
        _take_chunk(engine, fill, export, inbound, arrival)
        return
    _check_type(export, None if fill.trigger_only else fill.type_hash)
    is_deduped = is_confirmed or keys.GATE_DEDUP in export.gates
    key = (source.raw, inbound.kind, inbound.request, export.site)
    if is_deduped and key in engine.seen:
        repeated(engine, source)
        return
    arrival.items.append(TRIGGER if fill.trigger_only else _value(export, fill.type_hash, fill.payload))
    arrival.values.append(export.value)
    if is_deduped and inbound.request:  # without a request id, two arrivals cannot be told apart
        arrival.keys.append(key)


def repeated(engine: Engine, source: PeerId) -> None:
    """Tell of a duplicate; of those that come one after another, in one Step."""
    last = engine.steps[-1] if engine.steps else None
    if isinstance(last, Dropped) and last.source == source and last.reason == "duplicate":
        engine.steps[-1] = Dropped(source, "duplicate", last.count + 1)
    else:
        engine.steps.append(Dropped(source, "duplicate"))


def bare(error: RemoteError) -> RemoteError:
    """Let a refusal go of all that its traceback holds, such as the Envelope: the host may keep its Step for long."""
    cause = error.__cause__
    if isinstance(cause, UnicodeError):
        cause = None  # it holds what it could not read
    if cause is not None:
        cause.__traceback__ = cause.__context__ = None
    error.__traceback__ = error.__context__ = None
    error.__cause__ = cause
    return error


def _export(engine: Engine, fill: Fill) -> Export | None:
    """Return the export of the site that a fill names; None when it names no site: then it may call a component."""
    try:
        site = parse_site_suffix(fill.dest_suffix)
    except AddressError as error:
        raise NotExported(f"a fill's destination is not a site: {error.message}") from error
    if site is None:
        return None
    export = engine.exports.get(site)
    if export is None:
        raise NotExported("a fill names a site that this Node does not export", site=site)
    return export


def _check_type(export: Export, type_hash: int | None) -> None:
    """Refuse a value by its wire type, before anything is allocated for it; None is a trigger."""
    kind = type(TRIGGER) if type_hash is None else class_of(type_hash)
    if export.wanted is not None and not issubclass(kind, export.wanted):
        raise PayloadError(f"the edge {export.edge!r} was sent a {kind.__name__}", expected=export.wanted.__name__)


def _value(export: Export, type_hash: int, payload: Any) -> Any:
    value = decode_value(type_hash, payload)
    if export.wanted is not None and not isinstance(value, export.wanted):
        raise PayloadError(
            f"the edge {export.edge!r} was sent a {type(value).__name__}", expected=export.wanted.__name__
        )
    return value


# --- chunks -----------------------------------------------------------------------------------------------------------


def _take_chunk(engine: Engine, fill: Fill, export: Export, inbound: Inbound, arrival: _Arrival) -> None:
    """Put a chunk where it belongs; what is there is said once for all chunks of the Envelope."""
    arrival.is_in_chunks = True
    chunk = decode_chunk(memoryview(fill.payload).toreadonly())
    _check_type(export, chunk.type_hash)
    if not inbound.request:
        raise PayloadError("a chunk belongs to no request", expected="a request id, by which its others are told")
    if (inbound.source.raw, inbound.kind, inbound.request, export.site) in engine.seen:
        repeated(engine, inbound.source)
        arrival.receipt = Receipt(inbound.kind, inbound.request, export.lead, chunk.count)
        return
    assembly, is_new = engine.assemblies.take(export, inbound, chunk)
    if not is_new:
        repeated(engine, inbound.source)
    arrival.assembly = assembly
    arrival.receipt = Receipt(inbound.kind, inbound.request, export.lead, assembly.upto, assembly.more())


def _begin_assembled(engine: Engine, arrival: _Arrival, inbound: Inbound, assembly: Assembly) -> bool:
    """Begin the Frame of values whose last chunk has come. If it cannot begin now, its sender sends that one again."""
    source, parts = inbound.source, assembly.parts.values()
    values, items = [arrival.export.sender], [source]
    try:
        if len(parts) < arrival.export.together:
            raise _incomplete(arrival, len(parts))
        for part in parts:
            if part.filled != part.data.nbytes:
                raise PayloadError(f"the chunks of a value have {part.filled} bytes of {part.data.nbytes}")
            part.data.flags.writeable = False
            items.append(_value(part.export, part.type_hash, part.data.data))
            values.append(part.export.value)
    except RemoteError as error:
        engine.assemblies.close(assembly)
        engine.steps.append(FillRejected(source, arrival.index, bare(error)))
        return False
    if not engine.begin_received(
        arrival.export.function, arrival.export.edge, inbound, values, items, 0, assembly.held
    ):
        return False
    engine.assemblies.close(assembly)
    for part in parts:
        engine.seen.add((source.raw, inbound.kind, inbound.request, part.export.site))
    count = len(assembly.flags)
    send_receipt(engine, source, Receipt(inbound.kind, inbound.request, arrival.export.lead, count))
    return True


# --- what goes to the Node itself -------------------------------------------------------------------------------------


def _take_notice(engine: Engine, fill: Fill, source: PeerId) -> None:
    """Take in that a peer asks to be sent nothing for a while."""
    notice = read_notice(decode_value(fill.type_hash, _small(fill)))
    engine.steps.append(Backpressure(source, engine.governor.advise(source, notice.min_backoff_ns, engine.now)))


def _take_receipt(engine: Engine, fill: Fill, source: PeerId) -> None:
    """Take in what a peer has of what it was sent."""
    engine.deliveries.received(source, read_receipt(decode_value(fill.type_hash, _small(fill))))


def _small(fill: Fill) -> Any:
    """Return a payload that anybody may send, if it is not larger than one ever is."""
    if payload_size(fill.payload) > _MOST_SPECIAL:
        raise PayloadError("a notice or a receipt is too large", expected=f"at most {_MOST_SPECIAL} bytes")
    return fill.payload


def _nothing(engine: Engine, fill: Fill, source: PeerId) -> None:
    """A wish for a receipt: it was seen already."""


_LONGEST: Final = 1 << 60  # nanoseconds, 36 years: what a peer may claim is bounded
_MOST_SPECIAL: Final = 1024
_RECEIPT_WANTED: Final = site_suffix(RECEIPT_WANTED_SITE)
_SPECIAL: Final[dict[bytes, Callable[[Engine, Fill, PeerId], None]]] = {
    site_suffix(NOTICE_SITE): _take_notice,
    site_suffix(RECEIPT_SITE): _take_receipt,
    _RECEIPT_WANTED: _nothing,
}
