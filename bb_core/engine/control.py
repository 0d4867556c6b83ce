"""The control plane: what a component tells peers and is told by them, at `/component/<id>/op/<name>`.

Only what the compiler has exported can be called from outside: the inbound ops of the Concretes on this Node. An answer
comes to the address that was asked, and is taken while the request is open and from the peer that was asked; it goes to
`on_reply`. An answer for which the protocol names an op of its own goes there.

A message that belongs to no request is written as the reference implementation writes its own: without correlation, and
without naming its sender, whom the transport has verified anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core.engine.components import (
    call_function,
    inbound_function,
    inbound_name,
    reply_name,
    timer_name,
)
from bb_core.engine.deliveries import OVERHEAD, payload_size
from bb_core.engine.dispatch import Handler, Lane
from bb_core.engine.handlers import make_handler
from bb_core.engine.outbox import Handed
from bb_core.engine.program import FunctionProgram
from bb_core.engine.receiving import repeated
from bb_core.engine.requests import REQUEST, RESPONSE
from bb_core.engine.sending import time_left
from bb_core.errors import AddressError, InstallError, NotExported, PayloadError, RoleError
from bb_core.ids import PeerId, site_id
from bb_core.roles.protocol import Inbound as Declared
from bb_core.roles.protocol import Protocol, inbound_of
from bb_core.steps import PeerBlocked, SendEnvelope
from bb_core.values import TRIGGER, Trigger
from bb_core.wire.address import Address, op_suffix, p2p_address
from bb_core.wire.codec import Envelope, Fill, encode
from bb_core.wire.payloads import decode_value
from bb_core.wire.wire_types import class_of

if TYPE_CHECKING:
    from bb_core.engine.context import OpContext
    from bb_core.engine.engine import Engine
    from bb_core.engine.receiving import Inbound
    from bb_core.engine.requests import Request

WAIT_NS: Final = 30 * 10**9
"""Within which a message must be handed over and a request answered, unless its component says otherwise."""
_GATES: Final = frozenset({keys.GATE_PEER_HEALTH, keys.GATE_BACKOFF})


@dataclass(frozen=True, slots=True)
class _Door:
    """Something that an Envelope may call."""

    function: str
    wanted: type | None
    site: int
    """By it a duplicate is told."""
    before: tuple[Any, ...] = ()
    """What its method is given before the payload."""


class Control:
    """The control plane of one Node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: dict[str, int] = {}
        self._doors: dict[bytes, _Door] = {}

    # --- install ------------------------------------------------------------------------------------------------------

    def expose(self) -> None:
        """Make functions of what the components can be called for, and export the inbound ops.

        Raises:
            InstallError: a Concrete has other inbound ops than the artefact exports.
        """
        for slot, component in self._engine.components.items():
            if hasattr(component, "on_timer"):
                self._bind_call(slot, timer_name(slot), "on_timer", ("tag",))
            if isinstance(component, Protocol):
                self._expose(slot, component)

    def _expose(self, slot: str, component: Protocol) -> None:
        binding = self._engine.program.bindings[slot]
        declared = inbound_of(type(component))
        if "component" not in binding and not declared:
            return  # it fills another Role, and peers cannot call it
        number, exported = int(binding.get("component", -1)), binding.get("inbound")
        agreed = number if component.component is None else component.component
        if list(declared) != exported or agreed != number:
            raise InstallError(
                f"{type(component).__name__} in slot {slot!r} is called by peers at {_listed(agreed, declared)}",
                expected=f"what the artefact exports: {_listed(number, exported or ())}",
                hint="compile the program with it bound, by the release that is installed here",
            )
        self._ids[slot] = number
        self._bind_call(slot, reply_name(slot), "on_reply", ("op", "payload"))
        for op, what in declared.items():
            suffix = op_suffix(number, op)
            function = inbound_function(self._engine.program, slot, op)
            method, reply = function.ops
            call = _viewing(getattr(component, what.method), what.wanted)
            handlers = [
                make_handler(replace(method, source=_title(component)), call),
                make_handler(replace(reply, source=_title(component)), self._bind_reply(number, what)),
            ]
            self._add(function, handlers)
            self._doors[suffix] = _Door(inbound_name(slot, op), what.wanted, _site(suffix))

    def _bind_call(self, slot: str, name: str, method: str, inputs: tuple[str, ...]) -> None:
        component = self._engine.components[slot]
        function = call_function(self._engine.program, slot, name, method, inputs)
        info = replace(function.ops[0], source=_title(component))
        self._add(function, [make_handler(info, getattr(component, method))])

    def _add(self, function: FunctionProgram, handlers: list[Handler]) -> None:
        self._engine.functions[function.name] = (function, Lane(function.table, handlers))

    # --- what comes ---------------------------------------------------------------------------------------------------

    def take(self, fill: Fill, inbound: Inbound, charge: int) -> bool:
        """Begin the Frame of what a fill calls. Returns whether it has begun, and then holds the charge.

        Raises:
            RemoteError: nothing of that address is exported, or the payload is not what it takes.
        """
        engine, request = self._engine, None
        if inbound.kind == RESPONSE:
            request = engine.requests.find(inbound.request)
        door = self._find(fill, request)
        key = (inbound.source.raw, inbound.kind, inbound.request, door.site)
        if inbound.request and key in engine.seen:
            repeated(engine, inbound.source)
            return False
        payload = _read(fill, door.wanted)
        if not engine.begin_component(door.function, inbound, (*door.before, payload), charge):
            return False
        if inbound.request:
            engine.seen.add(key)
        if request is not None and request.slot:
            engine.requests.close(request.number, engine.now)
        return True

    def _find(self, fill: Fill, request: Request | None) -> _Door:
        suffix = _canonical(fill.dest_suffix)
        if request is not None and request.slot and suffix == request.asked:
            op = str(Address.from_bytes(suffix).op)
            return _Door(reply_name(request.slot), None, _site(suffix), (op,))
        door = self._doors.get(suffix)
        if door is None:
            address = Address.from_bytes(suffix)
            raise NotExported(
                f"a fill calls {address}, which this Node does not export", component=address.component, op=address.op
            )
        return door

    # --- what goes ----------------------------------------------------------------------------------------------------

    def send(
        self,
        ctx: OpContext,
        peer: PeerId,
        op: str,
        payload: Any,
        component: int | None,
        answer: bool,
        deadline: int | None,
    ) -> int:
        """Call an inbound op of a peer; see `Context.send`."""
        engine, slot = self._engine, ctx.slot
        if slot not in self._ids:
            raise RoleError(f"{ctx.handler.info.title} sends, and is no Protocol", expected="a bb.roles.Protocol")
        if answer and type(engine.components[slot]).on_reply is Protocol.on_reply:
            raise RoleError(f"{ctx.handler.info.title} wants an answer, and its class has no `on_reply`")
        suffix = op_suffix(self._ids[slot] if component is None else component, op)
        fill = self._fill(suffix, payload)
        if not self._admits(peer):
            return 0
        wait, kind, number = deadline or WAIT_NS, 0, 0
        if answer:
            title = f"{op} of slot {slot!r}"
            request = engine.requests.open((peer,), ctx.frame, engine.now, wait, title, slot, suffix)
            kind, number = REQUEST, request.number
        self._post(peer, fill, kind, number, wait, deadline or 0)
        return number

    def _bind_reply(self, number: int, what: Declared) -> Callable[..., None]:
        """Return what sends on the answer of an inbound op."""
        own = op_suffix(number, what.name)
        named = b"" if not what.reply else _named(number, what)

        def reply(ctx: OpContext, answer: Any) -> None:
            inbound = ctx.frame.inbound
            is_asked = inbound.kind == REQUEST and inbound.request
            if is_asked:
                time_left(self._engine, inbound, 0)
            if (named or is_asked) and self._admits(inbound.source):
                fill = self._fill(named or own, answer)
                kind, request = (RESPONSE, inbound.request) if is_asked else (0, 0)
                self._post(inbound.source, fill, kind, request, WAIT_NS, 0)

        return reply

    def _admits(self, peer: PeerId) -> bool:
        governor = self._engine.governor
        if governor.is_quiet or governor.admits_sending(peer, _GATES, self._engine.now):
            return True
        self._engine.steps.append(PeerBlocked(peer))
        return False

    def _fill(self, suffix: bytes, payload: Any) -> Fill:
        if isinstance(payload, bytes | bytearray | memoryview):
            type_hash, written, trigger_only = 0, payload, False
        else:
            type_hash, written, trigger_only = self._engine.encode_value(payload)
        size, limits = payload_size(written), self._engine.limits
        most = min(limits.payload_bytes, limits.total_bytes - OVERHEAD)
        if size > most:
            raise RoleError(
                f"a message of {size} bytes cannot be sent to a component",
                expected=f"at most {most}: one Envelope's",
                hint="send it by g.send",
            )
        return Fill(suffix, written, trigger_only, type_hash)

    def _post(self, peer: PeerId, fill: Fill, kind: int, number: int, wait: int, told: int) -> None:
        engine, belongs = self._engine, kind != 0
        data = encode(
            Envelope(
                dest_peer_addresses=(p2p_address(peer),),
                fills=(fill,),
                kind=kind,
                request=number,
                remaining_deadline_ns=told,
                src_peer=engine.peer_id.raw if belongs else b"",
                src_peer_addresses=engine.addresses if belongs else (),
                has_correlation=belongs,
            )
        )
        addresses = engine.address_book.addresses(peer, engine.now)
        step = engine.outbox.add(Handed(peer, number if kind == REQUEST else 0, addresses[0] if addresses else b""))
        engine.steps.append(SendEnvelope(step, peer, addresses, data, engine.now + wait))


# --- small things -----------------------------------------------------------------------------------------------------


def _canonical(suffix: bytes) -> bytes:
    """Return the address of the op that a suffix names, whatever stands around it."""
    try:
        address = Address.from_bytes(suffix)
    except AddressError as error:
        raise NotExported(f"a fill's destination is no address: {error.message}") from error
    if address.component is None or address.op is None:
        raise NotExported("a fill names neither a site nor an op of a component")
    return op_suffix(address.component, address.op)


def _read(fill: Fill, wanted: type | None) -> Any:
    """Return what a fill brings; a type that is not wanted is refused before it is decoded."""
    if fill.trigger_only:
        kind: type = Trigger
    else:
        kind = class_of(fill.type_hash) if fill.type_hash else bytes
    is_untyped = kind is bytes and not fill.type_hash
    fits = is_untyped if wanted is memoryview else wanted is None or issubclass(kind, wanted)
    if wanted is not None and not fits:
        raise PayloadError(f"an op of a component was sent a {kind.__name__}", expected=wanted.__name__)
    if fill.trigger_only:
        return TRIGGER
    if is_untyped:
        view = memoryview(fill.payload).toreadonly()
        return view if wanted is memoryview else bytes(view)
    return decode_value(fill.type_hash, fill.payload)


def _viewing(method: Callable[..., Any], wanted: type | None) -> Callable[..., Any]:
    """Return a method that is given a view, also when a snapshot has kept its bytes."""
    if wanted is not memoryview:
        return method
    return lambda ctx, payload: method(ctx, memoryview(payload))


def _named(number: int, what: Declared) -> bytes:
    """Return where the answer of an inbound op goes that names it."""
    if not what.reply.startswith("/"):
        return op_suffix(number, what.reply)
    return Address.parse(what.reply).to_bytes()


def _site(suffix: bytes) -> int:
    """Return a number for an address, which stands among those of sites."""
    return site_id(keys.COMPONENT, suffix.hex())


def _title(component: Any) -> str:
    cls = type(component)
    return f"{cls.__module__}.{cls.__qualname__}"


def _listed(number: int, ops: Iterable[str]) -> str:
    if number < 0:
        return ", ".join(ops) or "nothing"
    return ", ".join(f"/component/{number}/op/{op}" for op in ops) or f"no op of component {number}"
