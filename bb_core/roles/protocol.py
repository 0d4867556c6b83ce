"""Protocol: ops of its own, and what peers may ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, get_type_hints

from bb_core import keys
from bb_core.errors import DuplicateRegistration, InvalidConcrete
from bb_core.roles.context import Context
from bb_core.roles.contract import Role, type_of
from bb_core.types import python_class

F = TypeVar("F", bound=Callable[..., Any])

_COMPONENTS: Final = 1 << 32


def inbound(name: str, *, reply: str = "") -> Callable[[F], F]:
    """Mark a method of a Protocol as one that peers may call, at `/component/<id>/op/<name>`.

    The method is given `(ctx, payload)`. The annotation of `payload` says what is taken: `memoryview` or `bytes` for
    bytes that say no type, or the class of a value, such as `bb.Record`; anything else is refused. `Any` takes all.

    What it returns goes back to the sender, bytes as they are and other values with their type; None is no answer.

    Args:
        name: Name of the op, as it stands in the address.
        reply: Where the answer goes: an op of the sender's component of the same id, or a whole address such as
            `/component/1/op/Handshake`. Empty: to `on_reply` of the component that has asked; one that has not asked
            for an answer gets none.
    """

    def mark(method: F) -> F:
        method.__bb_inbound__ = (name, reply)  # type: ignore[attr-defined]
        return method

    return mark


class Protocol(Role):
    """Speak a protocol with other peers.

    A protocol is a subclass that sets `protocol` and declares ops, with `@bb.roles.op` on methods of its own; a
    Concrete is a subclass of that. A Module names the protocol in its slot, whose methods are then its ops. What is
    marked with `@bb.roles.inbound` can be called by peers::

        class Gossip(bb.roles.Protocol):
            protocol = "acme.gossip"

            @bb.roles.op("Tell")
            def tell(self, ctx: bb.Context, to: bb.PeerId, rumour: bytes) -> None:
                ctx.send(to, "Rumour", rumour)

            @bb.roles.inbound("Rumour")
            def heard(self, ctx: bb.Context, rumour: bytes) -> None: ...

        class Town(bb.Module):
            gossip = bb.ProtocolSlot(Gossip)

    Attributes:
        protocol: Stable dotted name; its ops are in the domain `ai.bytesandbrains.protocol.<name>`.
        component: Id of the component in addresses, for a protocol whose ids are agreed on beforehand; None: a hash of
            the slot's path. A program has at most one slot of an id.
    """

    role: ClassVar[str] = keys.PROTOCOL
    protocol: ClassVar[str] = ""
    component: ClassVar[int | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Take in a class that declares a protocol."""
        super().__init_subclass__(**options)
        name = vars(cls).get("protocol")
        if not name:
            return
        known = _protocols.get(keys.PROTOCOL_PREFIX + name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise DuplicateRegistration(
                f"the protocol {name!r} is declared by two classes",
                where=f"{known.__module__}.{known.__qualname__} and {cls.__module__}.{cls.__qualname__}",
            )
        _protocols[keys.PROTOCOL_PREFIX + name] = cls

    @classmethod
    def domain(cls) -> str:
        """ONNX domain of the protocol's ops."""
        return keys.PROTOCOL_PREFIX + cls.protocol if cls.protocol else super().domain()

    def on_reply(self, ctx: Context, op: str, payload: Any) -> None:
        """Take in the answer to `ctx.send(..., answer=True)`; `ctx.request` says to which.

        Args:
            ctx: Its `source` is the peer that was asked.
            op: What it was asked.
            payload: A view of bytes that say no type, or a value.
        """


@dataclass(frozen=True, slots=True)
class Inbound:
    """An op that peers may call.

    Attributes:
        method: Name of the Concrete's method.
        wanted: Class of the payload that it takes; None for any.
        reply: Where its answer goes; see `inbound`.
    """

    name: str
    method: str
    wanted: type | None
    reply: str


_derived: Final[dict[type, dict[str, Inbound]]] = {}


def inbound_of(cls: type) -> dict[str, Inbound]:
    """Return what peers may call on a Concrete, or on any that speaks a protocol, by name of the op.

    Raises:
        InvalidConcrete: a method cannot be called so, two have one name, or the class is no Protocol.
    """
    found = _derived.get(cls)
    if found is None:
        found = _derived[cls] = dict(sorted(_derive(cls).items()))
    return found


def _derive(cls: type) -> dict[str, Inbound]:
    marked = {n: m for c in reversed(cls.__mro__) for n, m in vars(c).items() if hasattr(m, "__bb_inbound__")}
    found: dict[str, Inbound] = {}
    for method, function in marked.items():
        name, reply = function.__bb_inbound__
        title = f"{cls.__name__}.{method}"
        if not issubclass(cls, Protocol):
            raise InvalidConcrete(f"{title} is marked as inbound", expected="a subclass of bb.roles.Protocol")
        if not name or "/" in name:
            raise InvalidConcrete(f"{title} is marked as inbound {name!r}", expected="a name without a slash")
        if name in found:
            raise InvalidConcrete(f"{title} and {found[name].method} are both the inbound op {name!r}")
        found[name] = Inbound(name, method, _wanted(title, function), reply)
    _check_component(cls)
    return found


def _wanted(title: str, function: Callable[..., Any]) -> type | None:
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 3 or any(p.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters):
        raise InvalidConcrete(
            f"{title} takes ({', '.join(p.name for p in parameters[1:])})", expected="(ctx, payload), as inbound ops do"
        )
    hint = get_type_hints(function, include_extras=True).get(parameters[2].name, Any)
    return memoryview if hint is memoryview else python_class(type_of(hint))


def _check_component(cls: type) -> None:
    number = getattr(cls, "component", None)
    if number is not None and not (isinstance(number, int) and 0 <= number < _COMPONENTS):
        raise InvalidConcrete(f"{cls.__name__} has the component id {number!r}", expected="a number of 32 bits")


_protocols: Final[dict[str, type[Protocol]]] = {}


def protocol_of(domain: str) -> type[Protocol] | None:
    """Return the class that declares the protocol of a domain, or None."""
    return _protocols.get(domain)
