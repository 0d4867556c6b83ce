"""All links of one host: doors, neighbours, and what is counted of them. The `Station` of its transports."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bb_core as bb
from bb_core.errors import BBError, UsageError
from bb_core.plugins import installed_plugins
from bb_core.steps import SendEnvelope
from bb_plugins.hosts.asyncio.neighbours import Neighbour, Patience
from bb_plugins.transports.interface import Credentials, Hello, Link, Listener, Transport

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """Limits of a host's links."""

    queue_bytes: int = 64 * 2**20
    """Bytes that may wait for one peer; not less than the largest Envelope."""
    queue_frames: int = 4096
    """How many Envelopes may wait for one peer."""
    links: int = 1024
    """How many links there may be; one more is closed again."""
    patience: Patience = field(default_factory=Patience)
    """How a peer out of reach is tried again."""


class Switchboard:
    """The links of one host.

    Args:
        hello: Who it is, and what it runs.
        max_frame: Bytes of the largest Envelope.
        credentials: With them a host proves who it is, and talks to nobody who does not.
        protocols: Which transports may be used, such as `["tcp/tls"]`; by default TLS with credentials, TCP without,
            and memory.
        now: The Node's time.
        deliver: Is given Envelopes, with their peer and the address at which it was dialed, if it was.
        outcome: Is told what became of each SendEnvelope.
        changed: Is called when a link has come or gone.
    """

    def __init__(
        self,
        hello: Hello,
        max_frame: int,
        credentials: Credentials | None,
        protocols: Iterable[str] | None,
        config: LinkConfig,
        *,
        now: Callable[[], int],
        deliver: Callable[[Sequence[memoryview | bytes], bb.PeerId, bytes], None],
        outcome: Callable[..., None],
        changed: Callable[[], None],
    ) -> None:
        if config.queue_bytes < max_frame:
            raise UsageError(f"queue_bytes is {config.queue_bytes}", expected=f"{max_frame} or more: one Envelope")
        self.hello = hello
        self.max_frame = max_frame
        self.config = config
        self.now = now
        self.outcome = outcome
        self.is_open = True
        self.counters: Counter[str] = Counter()
        self.neighbours: dict[bb.PeerId, Neighbour] = {}
        self._deliver = deliver
        self._changed = changed
        self._listeners: list[Listener] = []
        secure = "tcp" if credentials is None else "tcp/tls"
        named = [secure, "memory"] if protocols is None else protocols
        self._transports: dict[str, Transport] = {protocol: _transport(protocol, credentials) for protocol in named}

    # --- what the host asks for ---------------------------------------------------------------------------------------

    def serves(self, address: bb.Address) -> bool:
        """Whether there is a transport for an address that this host may use."""
        return _protocol(address) in self._transports

    def transport_of(self, address: bb.Address) -> Transport:
        """Return the transport for an address.

        Raises:
            UsageError: there is none that this host may use.
        """
        protocol = _protocol(address)
        if protocol not in self._transports:
            legal = ", ".join(f"/{p}" for p in self._transports)
            raise UsageError(f"this host does not use /{protocol}, as in {address}", expected=legal)
        return self._transports[protocol]

    async def listen(self, address: bb.Address) -> bb.Address:
        """Open a door; returns its address with the real port.

        Raises:
            UsageError: there is no transport for the address, or it cannot be listened at.
        """
        transport = self.transport_of(address)
        try:
            listener = await transport.listen(address, self)
        except OSError as error:
            raise UsageError(
                f"cannot listen at {address}: {error.strerror or error}",
                expected="an address of this machine, and a port that is free",
            ) from error
        self._listeners.append(listener)
        _log.info("listening at %s", listener.address, extra={"address": str(listener.address)})
        return listener.address

    def neighbour(self, peer: bb.PeerId) -> Neighbour:
        """Return what is known of a peer."""
        found = self.neighbours.get(peer)
        if found is None:
            found = self.neighbours[peer] = Neighbour(self, peer)
        return found

    def send(self, steps: Sequence[SendEnvelope]) -> None:
        """Send Envelopes, those for one peer together."""
        touched: dict[bb.PeerId, Neighbour] = {}
        for step in steps:
            neighbour = touched.get(step.peer)
            if neighbour is None:
                neighbour = touched[step.peer] = self.neighbour(step.peer)
            neighbour.add(step)
        for neighbour in touched.values():
            neighbour.pump()

    @property
    def connected(self) -> list[bb.PeerId]:
        """The peers to which there is a link, in order of id."""
        return sorted(peer for peer, n in self.neighbours.items() if n.links)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be sent."""
        return all(n.is_quiet for n in self.neighbours.values())

    @property
    def listening(self) -> list[bb.Address]:
        """Where its doors are open."""
        return [listener.address for listener in self._listeners]

    async def shut(self) -> None:
        """Take no new connections."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()

    def hang_up(self, *, at_once: bool) -> None:
        """End all links, and make no new ones."""
        self.is_open = False
        for neighbour in list(self.neighbours.values()):
            neighbour.stop()
            for link in list(neighbour.links):
                link.abort() if at_once else link.close()

    # --- what the transports tell (`Station`) -------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """A link is there."""
        self.counters["opened"] += 1
        if not self.is_open or sum(len(n.links) for n in self.neighbours.values()) >= self.config.links:
            self.counters["refused: too many links"] += 1
            link.abort()
            return
        extra = {"peer": str(link.peer), "at": link.seen_at, "dialed": bool(link.dialed)}
        _log.info("connected to %s, %s", link.peer, link.seen_at, extra=extra)
        self.neighbour(link.peer).opened(link)
        self._changed()

    def received(self, link: Link, frames: Sequence[memoryview | bytes]) -> None:
        """Envelopes have come."""
        self.neighbours[link.peer].traffic.took(frames, self.now())
        self._deliver(frames, link.peer, link.dialed)

    def drained(self, link: Link) -> None:
        """A link is free again."""
        self.neighbour(link.peer).drained(link)

    def closed(self, link: Link, error: BBError | None) -> None:
        """A link is gone."""
        self.counters["closed"] += 1
        if error is not None:
            self._count(link.seen_at, error)
        _log.info("disconnected from %s", link.peer, extra={"peer": str(link.peer), "at": link.seen_at})
        neighbour = self.neighbour(link.peer)
        neighbour.closed(link)
        if neighbour.is_idle:
            del self.neighbours[link.peer]
        self._changed()

    def refused(self, seen_at: str, error: BBError) -> None:
        """Somebody was not let in."""
        self._count(seen_at, error)
        self._changed()

    def _count(self, seen_at: str, error: BBError) -> None:
        self.counters[f"refused: {type(error).__name__}"] += 1
        _log.warning("refused %s: %s", seen_at, error, extra={"at": seen_at, "code": error.code})


def _protocol(address: bb.Address) -> str:
    entry = installed_plugins().transports.find(address.protocols)
    return "/".join(address.protocols) if entry is None else "/".join(entry.protocols)


def _transport(protocol: str, credentials: Credentials | None) -> Any:
    transports = installed_plugins().transports
    entry = transports.find(protocol.split("/"))
    if entry is None:
        legal = ", ".join("/".join(e.protocols) for e in transports)
        raise UsageError(f"no plugin registers a transport for /{protocol}", expected=legal)
    return transports.resolve(entry)(credentials)
