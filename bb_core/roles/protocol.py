"""Protocol: ops of its own, and what peers may ask for."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from bb_core import keys
from bb_core.errors import DuplicateRegistration
from bb_core.roles.contract import Role


class Protocol(Role):
    """Speak a protocol with other peers.

    A protocol is a subclass that sets `protocol` and declares ops, with `@bb.roles.op` on methods of its own; a
    Concrete is a subclass of that. A Module names the protocol in its slot, whose methods are then its ops:

        class Gossip(bb.roles.Protocol):
            protocol = "acme.gossip"

            @bb.roles.op("Announce")
            def announce(self, ctx: bb.Context, rumour: bb.Tensor) -> None: ...

        class Town(bb.Module):
            gossip = bb.ProtocolSlot(Gossip)

    Attributes:
        protocol: Stable dotted name; its ops are in the domain `ai.bytesandbrains.protocol.<name>`.
    """

    role: ClassVar[str] = keys.PROTOCOL
    protocol: ClassVar[str] = ""

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


_protocols: Final[dict[str, type[Protocol]]] = {}


def protocol_of(domain: str) -> type[Protocol] | None:
    """Return the class that declares the protocol of a domain, or None."""
    return _protocols.get(domain)
