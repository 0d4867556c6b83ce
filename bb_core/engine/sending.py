"""The body of Send: values into Envelopes, one for each peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bb_core import keys
from bb_core.engine.backpressure import NOTICE_SITE, Cause, write_notice
from bb_core.engine.deliveries import OVERHEAD, Cargo, in_buffers, payload_size
from bb_core.engine.outbox import Handed
from bb_core.engine.program import OpInfo
from bb_core.engine.requests import REQUEST, RESPONSE
from bb_core.errors import DeadlinePassed, RoleError
from bb_core.ids import PeerId
from bb_core.steps import PeerBlocked, SendEnvelope
from bb_core.values import TRIGGER, PeerList, RequestId
from bb_core.wire.address import p2p_address, parse_site_suffix, site_suffix
from bb_core.wire.chunks import RECEIPT_WANTED_SITE
from bb_core.wire.codec import Envelope, Fill, encode

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine
    from bb_core.engine.receiving import Inbound


class Label(NamedTuple):
    """What stands on all Envelopes of one Send."""

    kind: int
    request: int
    left: int
    """Nanoseconds for which an answer is worth something; 0 when that is not known."""


class Held(NamedTuple):
    """An answer that has not gone out yet."""

    peers: tuple[PeerId, ...]
    fills: tuple[Fill, ...]
    label: Label
    delivery: int


_p2p_address = lru_cache(maxsize=4096)(p2p_address)


def bind_send(engine: Engine, info: OpInfo) -> Callable[..., RequestId]:
    """Return the callable of one Send.

    The values are encoded once. What goes to several peers at once is the same bytes for all: its Envelope names no
    destination, and the Step says who it is for.
    """
    suffixes = tuple(site_suffix(site & 0xFFFFFFFFFFFFFFFF) for site in info.attributes[keys.SITES])
    delivery = int(info.attributes[keys.DELIVERY])
    confirmed = int(info.attributes.get(keys.ACK, 0))
    answer = int(info.attributes.get(keys.ANSWER, 0))
    is_reply = bool(info.attributes.get(keys.REPLY, 0))
    gates = frozenset(info.attributes.get(keys.GATES, ()))

    def send(ctx: OpContext, to: Any, *values: Any) -> RequestId:
        peers = _peers(to)
        if not engine.governor.is_quiet:
            peers = _admitted(engine, peers, gates)
        inbound = ctx.frame.inbound
        left = time_left(engine, inbound, answer)
        fills = tuple(_fill(engine, suffix, value) for suffix, value in zip(suffixes, values, strict=True))
        in_chunks = _is_large(engine, fills)
        if is_reply and inbound is not None and inbound.request:
            kind, number = RESPONSE, inbound.request
        else:
            number = engine.requests.open(peers, ctx.frame, engine.now, confirmed or delivery, info.title).number
            kind = REQUEST
        label = Label(kind, number, left)
        if confirmed or in_chunks:
            _deliver(engine, peers, fills, label, confirmed or delivery, ctx.frame.exec_id, in_chunks)
        elif kind == RESPONSE:  # another answer to the same request may follow in this Frame
            ctx.frame.outgoing = [*(ctx.frame.outgoing or ()), Held(peers, fills, label, delivery)]
        else:
            _emit(engine, peers, fills, label, delivery)
        return RequestId(number)

    return send


def time_left(engine: Engine, inbound: Inbound | None, answer: int) -> int:
    """How many nanoseconds the answer to what is sent now is worth something; 0 when that is not known.

    Raises:
        DeadlinePassed: nobody waits any more for what this is a part of.
    """
    if inbound is None or inbound.deadline is None:
        return answer
    left = inbound.deadline - engine.now
    if left <= 0:
        raise DeadlinePassed(f"{inbound.source} does not wait any more for what would be sent", hint="it came too late")
    return min(left, answer) if answer else left


def _admitted(engine: Engine, peers: tuple[PeerId, ...], gates: frozenset[str]) -> tuple[PeerId, ...]:
    """Leave out the peers that a gate holds back, each with a Step."""
    admits = engine.governor.admits_sending
    if all(admits(p, gates, engine.now) for p in peers):
        return peers
    for peer in peers:
        if not admits(peer, gates, engine.now):
            engine.steps.append(PeerBlocked(peer))
    kept = tuple(p for p in peers if admits(p, gates, engine.now))
    if not kept:
        raise RoleError(
            "all peers to send to are blocked or cooling down", hint="see Node.block, Node.allow_only and Node.sent"
        )
    return kept


def _emit(engine: Engine, peers: tuple[PeerId, ...], fills: tuple[Fill, ...], label: Label, delivery: int) -> None:
    book, now = engine.address_book, engine.now
    destination = (book.addresses(peers[0], now) or (_p2p_address(peers[0]),)) if len(peers) == 1 else ()
    data = _envelope(engine, destination, fills, label)
    request, until = label.request if label.kind == REQUEST else 0, now + delivery
    for peer in peers:
        addresses = book.addresses(peer, now)
        step = engine.outbox.add(Handed(peer, request, addresses[0] if addresses else b""))
        engine.steps.append(SendEnvelope(step, peer, addresses, data, until))


def send_out(engine: Engine, held: Sequence[Held]) -> None:
    """Send answers, in the order in which they were given; those to the same peers in one Envelope if it takes them."""
    groups: list[Held] = []
    for one in held:
        for i, group in enumerate(groups):
            fills = (*group.fills, *one.fills)
            if (group.peers, group.label.request) == (one.peers, one.label.request) and _fit(engine, fills):
                groups[i] = Held(group.peers, fills, group.label, min(group.delivery, one.delivery))
                break
        else:
            groups.append(one)
    for group in groups:
        _emit(engine, group.peers, group.fills, group.label, group.delivery)


def _fit(engine: Engine, fills: tuple[Fill, ...]) -> bool:
    """Whether one Envelope takes so much."""
    size = sum(payload_size(fill.payload) for fill in fills)
    return len(fills) <= engine.limits.fills and size + OVERHEAD <= engine.limits.total_bytes


def _is_large(engine: Engine, fills: tuple[Fill, ...]) -> bool:
    """Whether values have to go in chunks.

    Raises:
        RoleError: one is larger than any may be.
    """
    limits = engine.limits
    sizes = [payload_size(fill.payload) for fill in fills]
    for size in sizes:
        if size > engine.assemblies.most_value:
            raise RoleError(
                f"a value of {size} bytes cannot be sent",
                expected=f"about {engine.assemblies.most_value} at the most",
                hint="raise NodeConfig(max_value_bytes=...), here and where it is received",
            )
    return max(sizes) > limits.payload_bytes or sum(sizes) + OVERHEAD > max(limits.total_bytes, 2 * OVERHEAD)


def _deliver(
    engine: Engine,
    peers: tuple[PeerId, ...],
    fills: tuple[Fill, ...],
    label: Label,
    wait: int,
    frame: int,
    in_chunks: bool,
) -> None:
    """Send values until their receivers have said that they have them."""
    site = parse_site_suffix(fills[0].dest_suffix) or 0
    if in_chunks:
        until = engine.now + label.left if label.left else 0
        size = engine.deliveries.chunk_bytes()
        cargo = Cargo(label.kind, label.request, site, b"", in_buffers(fills), size, until)
    else:
        wish = _fill(engine, site_suffix(RECEIPT_WANTED_SITE), TRIGGER)
        cargo = Cargo(label.kind, label.request, site, _envelope(engine, (), (wish, *fills), label))
    engine.deliveries.begin(peers, cargo, frame, wait)


def send_notice(engine: Engine, peer: PeerId, wait: int, cause: Cause) -> None:
    """Ask a peer to send nothing for so many nanoseconds; no gate and no request has to do with it."""
    fill = _fill(engine, site_suffix(NOTICE_SITE), write_notice(wait, cause))
    _emit(engine, (peer,), (fill,), Label(REQUEST, 0, 0), wait)


def _envelope(engine: Engine, destination: tuple[bytes, ...], fills: tuple[Fill, ...], label: Label) -> bytes:
    return encode(
        Envelope(
            dest_peer_addresses=destination,
            fills=fills,
            kind=label.kind,
            request=label.request,
            remaining_deadline_ns=label.left,
            src_peer=engine.peer_id.raw,
            src_peer_addresses=engine.addresses,
        )
    )


def _fill(engine: Engine, suffix: bytes, value: Any) -> Fill:
    type_hash, payload, trigger_only = engine.encode_value(value)
    return Fill(suffix, payload, trigger_only, type_hash)


def _peers(to: Any) -> tuple[PeerId, ...]:
    peers = (to,) if isinstance(to, PeerId) else tuple(to) if isinstance(to, PeerList) else ()
    if not peers:
        raise RoleError("there is nobody to send to", expected="a peer, or a list of at least one")
    return peers
