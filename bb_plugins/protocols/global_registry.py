"""The global registry: clients announce themselves to one server, from which live peers are drawn.

Theory of operation. A client announces itself once, by the op `Announce`; from then on it does so by itself, each time
that a third of the time has passed for which the server has said that it counts as there. The server answers every
announce with a Handshake. A client that is not heard of in time is dead, and is dropped when the registry is next read;
when it is heard again it is there again. An announce counts for the peer alone from whom the transport says it comes.

The server is a PeerSelector too: bind it to a `bb.PeerSelectorSlot`, and the cohort is drawn from who is there.

Messages and addresses (server `/component/0`, client `/component/1`) are those of the reference implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Final

import bb_core as bb
from bb_core.errors import RoleError, SourceMismatch
from bb_plugins.protocols.registry_messages import Announce, Handshake, own_addresses, reachable

SECOND: Final = 10**9
LEAST_TTL_NS: Final = 30 * SECOND
MOST_TTL_NS: Final = 300 * SECOND
SERVER: Final = 0
CLIENT: Final = 1
_HEARTBEAT: Final = "heartbeat"
_MASK: Final = (1 << 64) - 1
_MARK: Final = 8  # bytes by which a cookie remembers a peer


class GlobalRegistry(bb.roles.Protocol):
    """What a program may ask of either side; the server has `Sample` and `CurrentView`, the client `Announce`."""

    protocol: ClassVar[str] = "global_registry"

    @bb.roles.op("Announce", outputs="wakeup")
    @bb.roles.abstract
    def announce(self, ctx: bb.Context, server_peer: bb.PeerId | None = None) -> None:
        """Announce this Node to a server, and go on doing so; without one, to the configured server.

        Sooner than a heartbeat is due it does nothing.
        """
        raise NotImplementedError

    @bb.roles.op("Sample", outputs="peers next_cookie")
    @bb.roles.abstract
    def draw(self, ctx: bb.Context, count: bb.roles.Count, cookie: bytes | None = None) -> tuple[bb.PeerList, bytes]:
        """Draw live peers at random, without repetition.

        With the cookie of an earlier draw, peers that have not been drawn since the first; an empty one comes back when
        all have been.
        """
        raise NotImplementedError

    @bb.roles.op("CurrentView", outputs="peers next_cookie")
    @bb.roles.abstract
    def page(self, ctx: bb.Context, cookie: bytes | None = None, *, limit: int = 0) -> tuple[bb.PeerList, bytes]:
        """Give live peers in order of id, at most `limit` (0: all), after those of the cookie's page.

        The cookie is empty when there are no more.
        """
        raise NotImplementedError


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """A client that is there until a time in nanoseconds."""

    expires: int
    addresses: tuple[bytes, ...]


@bb.concrete("bytesandbrains.GlobalRegistryServer")
class GlobalRegistryServer(GlobalRegistry, bb.roles.PeerSelector):
    """Knows who is there, and draws among them: never the dead, the blocked or itself, and no one twice."""

    component: ClassVar[int | None] = SERVER

    @dataclass(frozen=True, slots=True)
    class Config:
        """For how long an announce counts."""

        ttl_ns: int = 90 * SECOND
        """Nanoseconds; from 30 s to 300 s. Clients announce themselves three times in it."""
        seed: int = 0
        """Of the draws."""
        most: int = 16_384
        """Clients; more are refused."""

        def __post_init__(self) -> None:
            if not LEAST_TTL_NS <= self.ttl_ns <= MOST_TTL_NS:
                raise ValueError(f"ttl_ns is {self.ttl_ns}, not from {LEAST_TTL_NS} to {MOST_TTL_NS}")
            if self.most < 1:
                raise ValueError(f"most is {self.most}, not at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._entries: dict[bb.PeerId, _Entry] = {}
        self._draws = 0

    def snapshot(self) -> bb.State:
        """Return who is there, and how often was drawn."""
        entries = [[peer.raw, e.expires, list(e.addresses)] for peer, e in self._entries.items()]
        return {"entries": entries, "draws": self._draws}

    def restore(self, state: bb.State) -> None:
        """Become what a state holds."""
        self._entries = {bb.PeerId(raw): _Entry(expires, tuple(where)) for raw, expires, where in state["entries"]}
        self._draws = state["draws"]

    @bb.roles.inbound("Announce", reply=f"/component/{CLIENT}/op/Handshake")
    def announced(self, ctx: bb.Context, payload: memoryview) -> bytes:
        """Take in that a client is there, and say for how long."""
        message = Announce.from_bytes(payload)
        named = {message.peer, *(a.peer for a in message.addresses if a.peer is not None)}
        if named != {ctx.source}:
            others = ", ".join(map(str, sorted(named - {ctx.source})))
            raise SourceMismatch(f"{ctx.source} announces {others}", expected="itself", source=str(ctx.source))
        self._admit(ctx, reachable(message.addresses))
        ttl = self.config.ttl_ns
        return Handshake(ttl, ttl // 3, own_addresses(ctx.peer_id, tuple(ctx.addresses))).to_bytes()

    def _admit(self, ctx: bb.Context, addresses: tuple[bytes, ...]) -> None:
        known = self._entries.get(ctx.source)
        if known is None and len(self._entries) >= self.config.most:
            self._evict(ctx)
            if len(self._entries) >= self.config.most:
                raise RoleError(f"{self.config.most} clients are there", hint="raise Config.most")
        if known is None or known.addresses != addresses:
            ctx.book.withdraw(ctx.source)
            ctx.book.add(ctx.source, addresses)
        self._entries[ctx.source] = _Entry(ctx.now + self.config.ttl_ns, addresses)

    def _evict(self, ctx: bb.Context) -> None:
        """Drop the dead."""
        for peer in [p for p, entry in self._entries.items() if entry.expires <= ctx.now]:
            del self._entries[peer]
            ctx.book.withdraw(peer)

    def _live(self, ctx: bb.Context) -> list[bb.PeerId]:
        """Who is there and not refused, in order of id."""
        self._evict(ctx)
        return sorted(p for p in self._entries if p != ctx.peer_id and ctx.is_allowed(p))

    def _chosen(self, live: Sequence[bb.PeerId], n: int) -> list[bb.PeerId]:
        if n <= 0 or not live:
            return []
        self._draws += 1
        return shuffled(live, n, self.config.seed, self._draws)

    def draw(self, ctx: bb.Context, count: bb.roles.Count, cookie: bytes | None = None) -> tuple[bb.PeerList, bytes]:
        """Draw among those whom the cookie does not remember; it grows by eight bytes with each peer."""
        before = _marks(cookie or b"")
        live = [p for p in self._live(ctx) if _mark(p) not in before]
        chosen = self._chosen(live, int(count))
        more = (cookie or b"") + b"".join(map(_mark, chosen))
        return bb.PeerList(chosen), more if len(chosen) < len(live) else b""

    def page(self, ctx: bb.Context, cookie: bytes | None = None, *, limit: int = 0) -> tuple[bb.PeerList, bytes]:
        """The cookie is the last peer of its page, so that who comes and goes makes none appear twice."""
        live = [p for p in self._live(ctx) if not cookie or p.raw > cookie]
        given = live[:limit] if limit > 0 else live
        return bb.PeerList(given), given[-1].raw if len(given) < len(live) else b""

    def sample(self, ctx: bb.Context, *, n: int, peer_class: str = "") -> bb.PeerList:
        """Draw `n` live peers, or all when there are fewer; in order of id."""
        return bb.PeerList(sorted(self._chosen(self._live(ctx), n)))

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        """Return all live peers, in order of id."""
        return bb.PeerList(self._live(ctx))


def shuffled(items: Sequence[Any], n: int, seed: int, draw: int) -> list[Any]:
    """Return the first n items of a shuffle: Fisher and Yates', by a xorshift that each draw begins anew.

    Source: reference behaviour 5.2. Marsaglia, "Xorshift RNGs", J. Stat. Software 8 (2003), triple (13, 7, 17).
    """
    found = list(items)
    state = (seed * 0x9E3779B97F4A7C15 + draw) & _MASK
    n = min(n, len(found))
    for i in range(n):
        state ^= state << 13 & _MASK
        state ^= state >> 7
        state ^= state << 17 & _MASK
        j = i + state % (len(found) - i)
        found[i], found[j] = found[j], found[i]
    return found[:n]


def _mark(peer: bb.PeerId) -> bytes:
    return blake2b(peer.raw, digest_size=_MARK).digest()


def _marks(cookie: bytes) -> set[bytes]:
    if len(cookie) % _MARK:
        raise RoleError(f"a cookie of {len(cookie)} bytes is none of Sample's", expected="one that it has given")
    return {cookie[i : i + _MARK] for i in range(0, len(cookie), _MARK)}


# --- the client -------------------------------------------------------------------------------------------------------


@bb.concrete("bytesandbrains.GlobalRegistryClient")
class GlobalRegistryClient(GlobalRegistry):
    """Announces its Node to one server, and goes on doing so."""

    component: ClassVar[int | None] = CLIENT

    @dataclass(frozen=True, slots=True)
    class Config:
        """Where to, and how soon again."""

        server: str | None = None
        """Peer id as text; None: `Announce` is given it."""
        retry_ns: int = 5 * SECOND
        """Nanoseconds after which it announces itself again when the server does not answer; twice as long each time,
        up to the time between heartbeats."""

        def __post_init__(self) -> None:
            if self.retry_ns < 1:
                raise ValueError(f"retry_ns is {self.retry_ns}, not at least 1")
            if self.server is not None:
                bb.PeerId.parse(self.server)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._server = None if config.server is None else bb.PeerId.parse(config.server)
        self._where: tuple[bytes, ...] = ()  # the server, as it says
        self._ttl = 0
        self._interval = 0
        self._announced: int | None = None
        self._unanswered = 0

    @property
    def heartbeat_ns(self) -> int:
        """How often it announces itself, as the server has said; 0 before it has."""
        return self._interval

    def snapshot(self) -> bb.State:
        """Return what the server has said, and when it was last told."""
        return {
            "server": b"" if self._server is None else self._server.raw,
            "where": list(self._where),
            "numbers": [self._ttl, self._interval, self._unanswered],
            "announced": self._announced,
        }

    def restore(self, state: bb.State) -> None:
        """Become what a state holds."""
        self._server = bb.PeerId(state["server"]) if state["server"] else None
        self._where = tuple(state["where"])
        self._ttl, self._interval, self._unanswered = state["numbers"]
        self._announced = state["announced"]

    def announce(self, ctx: bb.Context, server_peer: bb.PeerId | None = None) -> None:
        """Announce this Node, unless that was done less than a heartbeat ago."""
        server = server_peer or self._server
        if server is None:
            raise RoleError("nobody says to which server", expected="Announce(server_peer=...), or Config.server")
        is_early = self._announced is not None and ctx.now - self._announced < self._interval
        if server == self._server and is_early:
            return
        self._server, self._unanswered = server, 0
        self._announce(ctx)

    def on_timer(self, ctx: bb.Context, tag: str) -> None:
        """Announce this Node again."""
        self._announce(ctx)

    def _announce(self, ctx: bb.Context) -> None:
        assert self._server is not None
        wait = self.config.retry_ns << min(self._unanswered, 20)
        ctx.after(min(wait, self._interval or MOST_TTL_NS // 3), _HEARTBEAT)
        message = Announce(ctx.peer_id, own_addresses(ctx.peer_id, tuple(ctx.addresses)))
        ctx.send(self._server, "Announce", message.to_bytes(), component=SERVER, deadline=self._ttl or None)
        self._announced = ctx.now
        self._unanswered += 1

    @bb.roles.inbound("Handshake")
    def handshaken(self, ctx: bb.Context, payload: memoryview) -> None:
        """Take in how often to announce, and where the server is. What it says is kept within sensible limits."""
        if self._announced is None or ctx.source != self._server:
            raise SourceMismatch(f"{ctx.source} answers an announce that was made to another", source=str(ctx.source))
        message = Handshake.from_bytes(payload)
        self._ttl = _within(message.ttl_ns, LEAST_TTL_NS, MOST_TTL_NS)
        self._interval = _within(message.heartbeat_ns, LEAST_TTL_NS // 3, self._ttl // 2)
        self._unanswered = 0
        where = reachable(message.addresses)
        if where != self._where:
            ctx.book.withdraw(ctx.source)
            ctx.book.add(ctx.source, where)
            self._where = where
        ctx.after(self._interval, _HEARTBEAT)


def _within(number: int, least: int, most: int) -> int:
    return max(least, min(number, most))
