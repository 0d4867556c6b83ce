"""Deliveries: what is sent again until its receiver has said that it is there.

A Send whose author wants a receipt (`ack=True`), or whose values are larger than one Envelope may be, is a *cargo*: one
Envelope as it is, or its values cut into chunks. Each peer that it goes to is a *delivery*: a window of chunks is on
its way, receipts move the window on, and what is lost is sent again.

* A chunk counts as lost when one that was sent three or more later has arrived (RFC 9002, 6.1.1), or when no receipt
  for it has come within the retransmission time, which is `srtt + 4 * rttvar` of receipts (RFC 6298), at least 200 ms,
  and 1 s before there are samples. It doubles each time, up to 60 s, and has up to a quarter added by chance, from the
  Node's seed.
* A delivery is given up when nothing more has arrived for the time that its author gave, or its peer is blocked: then
  there is a Step `Undelivered`.
* Chunks of all deliveries that are on their way are few, so that memory is: at most `WINDOW` of one, and no more than
  one of each while there are `ALL` of them.
* An answer to a request is as good as a receipt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from bb_core.engine.outbox import Handed
from bb_core.engine.requests import REQUEST
from bb_core.engine.rtt import RoundTrips
from bb_core.errors import NotDelivered
from bb_core.ids import PeerId
from bb_core.steps import SendEnvelope, Undelivered
from bb_core.values import TRIGGER, RequestId
from bb_core.wire.address import site_suffix
from bb_core.wire.chunks import CHUNK, RECEIPT_SITE, Chunk, Receipt, cut, encode_chunk, write_receipt
from bb_core.wire.codec import Envelope, Fill, encode
from bb_core.wire.payloads import encode_value

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine
    from bb_core.engine.program import OpInfo
    from bb_core.engine.timers import Timer

CHUNK_BYTES: Final = 256 * 2**10
"""Data of one chunk, if the wire limits allow."""
WINDOW: Final = 32
ALL: Final = 128
"""Chunks on their way: of one delivery, and of all."""
REORDERED: Final = 3
FIRST_NS: Final = 10**9
LEAST_NS: Final = 200 * 10**6
LONGEST_NS: Final = 60 * 10**9
OVERHEAD: Final = 8192
"""More bytes than an Envelope has around its payloads."""
_RECENT: Final = WINDOW  # encoded Envelopes that a cargo keeps for its other peers
_OUTCOMES: Final = 1024  # outcomes that nobody has asked for yet


@dataclass(slots=True)
class Cargo:
    """What one Send gives to all its peers.

    Attributes:
        kind: Of its Envelopes; 1 for a request, 2 for an answer.
        request: Their request.
        site: The first site that it fills.
        whole: The Envelope's bytes, when it goes as one.
        values: For each value its destination, type hash and the buffers of its payload, when it goes in chunks.
        size: Data of one chunk.
    """

    kind: int
    request: int
    site: int
    whole: bytes
    values: tuple[tuple[bytes, int, tuple[memoryview, ...]], ...] = ()
    size: int = CHUNK_BYTES
    until: int = 0
    """When nobody waits any more for an answer to what goes in chunks; 0 when that is not known."""
    plan: list[tuple[int, int, int]] = field(default_factory=list)
    """For each chunk: of which value, from where to where."""
    recent: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        for number, (_, _, parts) in enumerate(self.values):
            total = sum(part.nbytes for part in parts)
            starts = range(0, total, self.size) or (0,)
            self.plan += [(number, start, min(start + self.size, total)) for start in starts]

    def __len__(self) -> int:
        """How many Envelopes it takes."""
        return len(self.plan) or 1

    def envelope(self, index: int, engine: Engine) -> bytes:
        """Return the bytes of one Envelope."""
        if not self.plan:
            return self.whole
        known = self.recent.get(index)
        if known is None:
            known = self.recent[index] = self._encode(index, engine)
            if len(self.recent) > _RECENT:
                self.recent.popitem(last=False)
        return known

    def _encode(self, index: int, engine: Engine) -> bytes:
        number, start, stop = self.plan[index]
        suffix, type_hash, parts = self.values[number]
        total = sum(part.nbytes for part in parts)
        chunk = Chunk(index, len(self), start, total, type_hash, cut(parts, start, stop))
        fill = Fill(suffix, encode_chunk(chunk), False, CHUNK.type_hash)
        return encode(
            Envelope(
                fills=(fill,),
                kind=self.kind,
                request=self.request,
                remaining_deadline_ns=max(1, self.until - engine.now) if self.until else 0,
                src_peer=engine.peer_id.raw,
                src_peer_addresses=engine.addresses,
            )
        )


@dataclass(slots=True)
class _Sent:
    """A chunk that is on its way."""

    order: int
    """Its place among all that its delivery has sent."""
    when: int
    is_again: bool


@dataclass(slots=True)
class Delivery:
    """A cargo on its way to one peer."""

    number: int
    peer: PeerId
    cargo: Cargo
    frame: int
    wait: int
    """Nanoseconds without progress after which it is given up."""
    progress: int
    """When something last arrived."""
    next: int = 0
    """The first chunk that was never sent."""
    attempts: int = 0
    order: int = 0
    arrived: int = 0
    out: dict[int, _Sent] = field(default_factory=dict)
    timer: Timer | None = None

    @property
    def is_done(self) -> bool:
        """Whether all of it has arrived."""
        return not self.out and self.next == len(self.cargo)


class Deliveries:
    """The open deliveries of one Node, in the order in which they began."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._count = 0
        self._out = 0
        self._open: dict[int, Delivery] = {}
        self._by_key: dict[tuple[bytes, int, int, int], int] = {}
        self._by_request: dict[tuple[bytes, int], dict[int, None]] = {}
        """Requests on their way, by peer and request."""
        self._by_frame: dict[tuple[int, int], dict[int, None]] = {}
        """By Frame and request."""
        self._waiting: dict[tuple[int, int], Callable[[], None]] = {}
        """By Frame and request: tells the op that waits for the outcome."""
        self._lost: OrderedDict[tuple[int, int], list[PeerId]] = OrderedDict()
        """By Frame and request: who has not got it, until the op has asked."""
        self.trips = RoundTrips()
        """How long receipts take."""

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    # --- sending ------------------------------------------------------------------------------------------------------

    def chunk_bytes(self) -> int:
        """How much data one chunk has, so that a peer with the same limits takes its Envelope."""
        limits = self._engine.limits
        return max(1, min(CHUNK_BYTES, limits.payload_bytes - 64, limits.total_bytes - OVERHEAD))

    def begin(self, peers: Sequence[PeerId], cargo: Cargo, frame: int, wait: int) -> None:
        """Send a cargo to some peers, and again until it is there."""
        now = self._engine.now
        for peer in peers:
            key = (peer.raw, cargo.kind, cargo.request, cargo.site)
            if key in self._by_key:  # the same answer twice, in one Frame
                self._end(self._open[self._by_key[key]])
            self._count += 1
            delivery = Delivery(self._count, peer, cargo, frame, wait, now)
            self._add(delivery)
            self._go_on(delivery)

    def _add(self, delivery: Delivery) -> None:
        number, peer, cargo = delivery.number, delivery.peer.raw, delivery.cargo
        self._open[number] = delivery
        self._by_key[peer, cargo.kind, cargo.request, cargo.site] = number
        self._by_frame.setdefault((delivery.frame, cargo.request), {})[number] = None
        if cargo.kind == REQUEST:
            self._by_request.setdefault((peer, cargo.request), {})[number] = None

    def _go_on(self, delivery: Delivery) -> None:
        """Send as much as the window allows, and look again when a receipt is overdue."""
        while delivery.next < len(delivery.cargo) and (
            not delivery.out or (len(delivery.out) < WINDOW and self._out < ALL)
        ):
            self._transmit(delivery, delivery.next)
            delivery.next += 1
        if delivery.timer is None and delivery.out:
            self._look_later(delivery)

    def _transmit(self, delivery: Delivery, index: int) -> None:
        engine, peer, cargo = self._engine, delivery.peer, delivery.cargo
        known = delivery.out.pop(index, None)
        self._out += known is None
        delivery.out[index] = _Sent(delivery.order, engine.now, known is not None)
        delivery.order += 1
        addresses = engine.address_book.addresses(peer, engine.now)
        request = cargo.request if cargo.kind == REQUEST else 0
        step = engine.outbox.add(Handed(peer, request, addresses[0] if addresses else b""))
        until = engine.now + delivery.wait
        engine.steps.append(SendEnvelope(step, peer, addresses, cargo.envelope(index, engine), until))

    def _timeout(self, delivery: Delivery) -> int:
        """How long to wait for a receipt."""
        usual = max(LEAST_NS, self.trips.budget(delivery.peer, FIRST_NS))
        wait = min(usual << min(delivery.attempts, 20), LONGEST_NS)
        key = f"{self._engine.seed}/{delivery.number}/{delivery.attempts}".encode() + delivery.peer.raw
        return wait + int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % (wait // 4)

    def _look_later(self, delivery: Delivery) -> None:
        first = min(sent.when for sent in delivery.out.values()) + self._timeout(delivery)
        first = max(first, self._engine.governor.wished_until(delivery.peer))
        when = max(self._engine.now + 1, min(first, delivery.progress + delivery.wait))
        title = f"a receipt of {delivery.peer}"
        delivery.timer = self._engine.timers.set(when, "delivery", delivery.number, title)

    def due(self, number: int) -> None:
        """Send again what is overdue, or give a delivery up."""
        delivery = self._open.get(number)
        if delivery is None:
            return
        engine, now = self._engine, self._engine.now
        delivery.timer = None
        if now >= delivery.progress + delivery.wait or not engine.governor.is_allowed(delivery.peer):
            self._give_up(delivery)
            return
        timeout = self._timeout(delivery)
        late = [index for index, sent in delivery.out.items() if sent.when + timeout <= now]
        if late and now >= engine.governor.wished_until(delivery.peer):
            delivery.attempts += 1
            for index in late:
                self._transmit(delivery, index)
        self._look_later(delivery)

    def _give_up(self, delivery: Delivery) -> None:
        cargo = delivery.cargo
        self._engine.steps.append(Undelivered(delivery.peer, cargo.request, delivery.arrived, len(cargo)))
        self._lost.setdefault((delivery.frame, cargo.request), []).append(delivery.peer)
        if len(self._lost) > _OUTCOMES:
            self._lost.popitem(last=False)
        self._end(delivery)

    def _end(self, delivery: Delivery) -> None:
        cargo = delivery.cargo
        self._out -= len(delivery.out)
        del self._open[delivery.number]
        del self._by_key[delivery.peer.raw, cargo.kind, cargo.request, cargo.site]
        _remove(self._by_frame, (delivery.frame, cargo.request), delivery.number)
        if cargo.kind == REQUEST:
            _remove(self._by_request, (delivery.peer.raw, cargo.request), delivery.number)
        if delivery.timer is not None:
            self._engine.timers.cancel(delivery.timer)
        key = (delivery.frame, cargo.request)
        if key in self._waiting and key not in self._by_frame:
            self._waiting.pop(key)()

    # --- receipts -----------------------------------------------------------------------------------------------------

    def received(self, source: PeerId, receipt: Receipt) -> None:
        """Take in what a peer says that it has. What it was not sent is no matter."""
        number = self._by_key.get((source.raw, receipt.kind, receipt.request, receipt.site))
        if number is not None:
            self._arrived(self._open[number], receipt)

    def answered(self, source: PeerId, request: int) -> None:
        """Take in that a peer has answered a request: so all of it has arrived."""
        for number in list(self._by_request.get((source.raw, request), ())):
            delivery = self._open[number]
            delivery.next = len(delivery.cargo)
            self._arrived(delivery, Receipt(REQUEST, request, delivery.cargo.site, len(delivery.cargo)))

    def _arrived(self, delivery: Delivery, receipt: Receipt) -> None:
        now = self._engine.now
        there = [index for index in delivery.out if receipt.has(index)]
        newest = -1
        for index in there:
            sent = delivery.out.pop(index)
            newest = max(newest, sent.order)
            self.trips.sample(delivery.peer, now - sent.when, retried=sent.is_again)
        self._out -= len(there)
        if not there:
            return
        delivery.arrived += len(there)
        delivery.progress = now
        if delivery.is_done:
            self._end(delivery)
            return
        if delivery.attempts:
            delivery.attempts = 0
            if delivery.timer is not None:
                self._engine.timers.cancel(delivery.timer)
                delivery.timer = None
        for index in [i for i, sent in delivery.out.items() if sent.order + REORDERED <= newest]:
            self._transmit(delivery, index)
        self._go_on(delivery)

    # --- the op that waits --------------------------------------------------------------------------------------------

    def missing(self, frame: int, request: int) -> list[PeerId]:
        """Return the peers that have not said that they have what a Frame has sent under a request."""
        return [self._open[number].peer for number in self._by_frame.get((frame, request), ())]

    def outcome(self, frame: int, request: int) -> None:
        """Say, once, that all have it.

        Raises:
            NotDelivered: some have not.
        """
        lost = self._lost.pop((frame, request), None)
        if lost:
            raise NotDelivered(
                f"what was sent has not reached {', '.join(map(str, sorted(lost)))}",
                hint="they did not confirm it in time; see the Step Undelivered",
            )

    def tell(self, frame: int, request: int, call: Callable[[], None] | None) -> None:
        """Call something when nothing of what a Frame has sent under a request is on its way; None: do not."""
        if call is None:
            self._waiting.pop((frame, request), None)
        else:
            self._waiting[frame, request] = call

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data; a cargo stands once, whoever it goes to."""
        cargos: dict[int, Cargo] = {id(d.cargo): d.cargo for d in self._open.values()}
        places = {key: place for place, key in enumerate(cargos)}
        return {
            "count": self._count,
            "trips": self.trips.state(),
            "cargos": [
                [
                    c.kind, _u64(c.request), _u64(c.site), c.whole, c.size, c.until,
                    [[suffix, _u64(type_hash), _joined(parts)] for suffix, type_hash, parts in c.values],
                ]
                for c in cargos.values()
            ],
            "open": [
                [
                    d.number, d.peer.raw, places[id(d.cargo)], d.frame, d.wait, d.progress, d.next, d.attempts, d.order,
                    d.arrived, [[i, s.order, s.when, s.is_again] for i, s in d.out.items()],
                ]
                for d in self._open.values()
            ],
            "lost": [[frame, _u64(request), [p.raw for p in peers]] for (frame, request), peers in self._lost.items()],
        }  # fmt: skip

    def load(self, state: dict[str, Any], timers: dict[int, Timer]) -> None:
        """Take over a state; the timers are those of the deliveries, by number."""
        self._count = state["count"]
        self.trips.load(state["trips"])
        cargos = [
            Cargo(
                kind, _int(request), _int(site), whole,
                tuple((s, _int(h), (memoryview(p),)) for s, h, p in values), size, until,
            )
            for kind, request, site, whole, size, until, values in state["cargos"]
        ]  # fmt: skip
        for number, peer, place, frame, wait, progress, after, attempts, order, arrived, out in state["open"]:
            cargo = cargos[place]
            delivery = Delivery(
                number, PeerId(peer), cargo, frame, wait, progress, after, attempts, order, arrived,
                {i: _Sent(at, when, again) for i, at, when, again in out}, timers.get(number),
            )  # fmt: skip
            self._add(delivery)
            self._out += len(out)
        for frame, request, peers in state["lost"]:
            self._lost[frame, _int(request)] = [PeerId(raw) for raw in peers]


def _remove(index: dict[Any, dict[int, None]], key: Any, number: int) -> None:
    of_key = index[key]
    del of_key[number]
    if not of_key:
        del index[key]


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _int(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _joined(parts: Sequence[memoryview]) -> bytes:
    return b"".join(parts)


# --- what sends it ----------------------------------------------------------------------------------------------------


def in_buffers(fills: Sequence[Fill]) -> tuple[tuple[bytes, int, tuple[memoryview, ...]], ...]:
    """Return what a cargo takes of some fills; nothing is copied."""
    return tuple((fill.dest_suffix, fill.type_hash, _views(fill.payload)) for fill in fills)


def payload_size(payload: Any) -> int:
    """How many bytes a payload has."""
    parts = payload if isinstance(payload, tuple) else (payload,)
    return sum(memoryview(part).nbytes for part in parts)


def _views(payload: Any) -> tuple[memoryview, ...]:
    parts = payload if isinstance(payload, tuple) else (payload,)
    return tuple(_flat(memoryview(part)) for part in parts if memoryview(part).nbytes)


def _flat(view: memoryview) -> memoryview:
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def send_receipt(engine: Engine, peer: PeerId, receipt: Receipt) -> None:
    """Tell a peer what of a Send of its has arrived; it is sent once, as what is lost will be asked for again."""
    type_hash, payload, _ = encode_value(write_receipt(receipt))
    fill = Fill(site_suffix(RECEIPT_SITE), payload, False, type_hash)
    data = encode(Envelope(fills=(fill,), kind=REQUEST, src_peer=engine.peer_id.raw))
    addresses = engine.address_book.addresses(peer, engine.now)
    step = engine.outbox.add(Handed(peer, 0, addresses[0] if addresses else b""))
    engine.steps.append(SendEnvelope(step, peer, addresses, data, engine.now + FIRST_NS))


def bind_delivered(engine: Engine, info: OpInfo) -> Callable[..., Any]:
    """Return the callable of one Delivered: it answers when all peers have what a Send of the Frame gave them."""

    def delivered(ctx: OpContext, request: RequestId) -> Any:
        deliveries, key = engine.deliveries, (ctx.frame.exec_id, int(request))
        if not deliveries.missing(*key):
            deliveries.outcome(*key)
            return TRIGGER
        promised = ctx.later(missing=lambda: deliveries.missing(*key), on_cancel=lambda: deliveries.tell(*key, None))

        def settle() -> None:
            try:
                deliveries.outcome(*key)
            except NotDelivered as error:
                promised.fail(error)
            else:
                promised.complete(TRIGGER)

        deliveries.tell(*key, settle)
        return promised

    return delivered
