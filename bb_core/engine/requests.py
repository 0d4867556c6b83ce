"""Requests: which answers this Node still waits for, and from whom.

A request lives until what collects it closes it. One that nothing collects lives until its delivery deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from bb_core.engine.dispatch import Frame
from bb_core.engine.phi import FailureDetector
from bb_core.engine.timers import Timer, Timers
from bb_core.errors import UnexpectedResponse
from bb_core.ids import PeerId

REQUEST: Final = 1  # an Envelope that begins something
RESPONSE: Final = 2  # one that answers a request

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: successive ids are spread over the whole range


@dataclass(slots=True)
class Request:
    """One open request.

    Attributes:
        began: When it was sent, in nanoseconds.
        delivery: Nanoseconds within which its Envelopes must be handed over.
        title: The op that sent it.
        waiting: Peers whose answers are being waited for; None until something collects them.
        slot: The component that has sent it by `ctx.send`; empty when an op has.
        asked: The address that the component asked, where its answer comes to.
    """

    number: int
    peers: frozenset[PeerId]
    frame: Frame
    began: int
    delivery: int
    title: str
    timer: Timer | None = None
    waiting: set[PeerId] | None = None
    slot: str = ""
    asked: bytes = b""


class Requests:
    """The open requests of one Node."""

    def __init__(self, peer_id: PeerId, incarnation: int, timers: Timers, health: FailureDetector) -> None:
        salt = blake2b(peer_id.raw + incarnation.to_bytes(8, "big"), digest_size=8).digest()
        self._salt = int.from_bytes(salt, "big")
        self._count = 0
        self._timers = timers
        self._health = health
        self._open: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        peers: Iterable[PeerId],
        frame: Frame,
        now: int,
        delivery: int,
        title: str,
        slot: str = "",
        asked: bytes = b"",
    ) -> Request:
        """Mint an id (64 bits, never zero, salted by the Node's incarnation) for a request to some peers."""
        number = 0
        while number == 0 or number in self._open:
            self._count += 1
            number = (self._salt + self._count * _ODD) & _MASK
        request = Request(number, frozenset(peers), frame, now, delivery, title, slot=slot, asked=asked)
        self._add(request)
        self.watch(request, now)
        return request

    def _add(self, request: Request) -> None:
        self._open[request.number] = request
        if request.frame.requests is None:
            request.frame.requests = []
        request.frame.requests.append(request.number)

    def watch(self, request: Request, now: int) -> None:
        """Look at a request again when its Envelopes must have been handed over."""
        title = f"delivery of {request.title}"
        request.timer = self._timers.set(now + request.delivery, "request", request.number, title)

    def wait_for(self, number: int, peers: Iterable[PeerId], now: int) -> None:
        """Take in that somebody waits for the answers of some of a request's peers; their silence counts now."""
        request = self._open.get(number)
        if request is not None and request.waiting is None:
            request.waiting = {p for p in peers if p in request.peers}
            for peer in sorted(request.waiting):
                self._health.expect(peer, now)

    def answered(self, number: int, source: PeerId, now: int) -> int | None:
        """Take in that a peer has answered. Returns how long it took; None when nobody waits, or it has before."""
        request = self._open.get(number)
        if request is None or request.waiting is None or source not in request.waiting:
            return None
        request.waiting.discard(source)
        self._health.release(source, now)
        return now - request.began

    def close(self, number: int, now: int) -> Request | None:
        """Accept no further answer to a request. Returns it; None when it was not open."""
        request = self._open.pop(number, None)
        if request is not None:
            for peer in sorted(request.waiting or ()):
                self._health.release(peer, now)
            if request.timer is not None:
                self._timers.cancel(request.timer)
            if request.frame.requests and number in request.frame.requests:
                request.frame.requests.remove(number)
        return request

    def refuse(self, number: int, source: PeerId) -> UnexpectedResponse | None:
        """Say why an answer is not expected; None when it is."""
        request = self._open.get(number)
        if request is None:
            return UnexpectedResponse(
                "a response belongs to no open request", hint="its collection has closed, or it was never asked for"
            )
        if source not in request.peers:
            return UnexpectedResponse(f"{source} answered a request that was sent to others")
        return None

    def find(self, number: int) -> Request | None:
        """Return an open request."""
        return self._open.get(number)

    def begin_anew(self, other: Requests) -> None:
        """Mint ids as another incarnation would; the open requests stay."""
        self._salt, self._count = other._salt, 0

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the count of ids and the open requests, as plain data."""
        return {
            "salt": self._salt.to_bytes(8, "big"),
            "count": self._count,
            "open": [
                {
                    "number": r.number.to_bytes(8, "big"),
                    "peers": [p.raw for p in sorted(r.peers)],
                    "frame": 0 if r.frame.ended else r.frame.exec_id,  # 0 stands for a Frame that is over
                    "began": r.began,
                    "delivery": r.delivery,
                    "title": r.title,
                    "waiting": None if r.waiting is None else [p.raw for p in sorted(r.waiting)],
                    "slot": r.slot,
                    "asked": r.asked,
                }
                for r in self._open.values()
            ],
        }

    def load(self, state: dict[str, Any], frames: dict[int, Frame], timers: dict[int, Timer], ended: Frame) -> None:
        """Take over a state.

        Args:
            state: What `state` has returned.
            frames: The live Frames by id.
            timers: The timers of requests by number.
            ended: Stands for the Frame of a request whose own has ended.
        """
        self._salt, self._count = int.from_bytes(state["salt"], "big"), state["count"]
        for one in state["open"]:
            number = int.from_bytes(one["number"], "big")
            frame = frames[one["frame"]] if one["frame"] else ended
            peers = frozenset(PeerId(raw) for raw in one["peers"])
            waiting = None if one["waiting"] is None else {PeerId(raw) for raw in one["waiting"]}
            timer = timers.get(number)
            request = Request(
                number, peers, frame, one["began"], one["delivery"], one["title"], timer, waiting, one["slot"],
                one["asked"],
            )  # fmt: skip
            self._add(request)
