"""One client floods the coordinator before every poll; the nine others have their rounds as if it were not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import bb_core as bb
from bb_core import syscalls as s
from bb_core.steps import AppEvent, Backpressure, Dropped, PeerBlocked, PeerSilenced, SendEnvelope
from bb_core.testing import Loopback
from bb_core.wire.address import site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_core.wire.limits import WireLimits
from tests.support import AVERAGING, Averaging, Everyone, bring_up, of_kind, peer

SECOND = 10**9
HONEST = [peer(n) for n in range(1, 10)]
FLOODER = peer(10)
EACH = 20_000  # Envelopes of one flood
ROUNDS = 3

ELSEWHERE = encode(Envelope(fills=[Fill(site_suffix(9), b"", trigger_only=True)], kind=1))
_LIMITS = WireLimits()
LARGEST = encode(
    Envelope(fills=[Fill(site_suffix(9), bytes(_LIMITS.payload_bytes - 100), type_hash=1)] * 4, kind=1)
)  # as large as one may be, to within some bytes


class Flooded(Loopback):
    """Floods the coordinator before the others' Envelopes are delivered, and again just before each poll."""

    flood: Callable[[], Sequence[bytes]] = staticmethod(list)
    sent = 0

    def _flood(self) -> None:
        node = self.nodes[peer(0)]
        for data in self.flood():
            node.receive(data, self.now, source=FLOODER)
            self.sent += 1

    def _advance(self) -> bool:
        self._flood()
        return super()._advance()

    def _poll_due(self) -> None:
        self._flood()
        self.wake(peer(0))
        super()._poll_due()


def flooded(options: bb.NodeConfig | None = None) -> Flooded:
    plain = bring_up(
        Averaging(10), AVERAGING, 10, config_of=lambda n: {} if n else {"aggregator": {"quorum": 9}}, options=options
    )
    return Flooded(plain.nodes.values())


def rubbish(loopback: Flooded) -> list[bytes]:
    return [b"rubbish"] * EACH


def elsewhere(loopback: Flooded) -> list[bytes]:
    return [ELSEWHERE] * EACH


def largest(loopback: Flooded) -> list[bytes]:
    return [LARGEST] * (EACH // 10)


class Copying:
    """Keeps what the flooder's own Node has answered, and sends it again and again."""

    def __init__(self) -> None:
        self.answer = b""

    def __call__(self, loopback: Flooded) -> list[bytes]:
        return [self.answer or b"nothing yet"] * EACH

    def keep(self, source: bb.PeerId, destination: bb.PeerId, data: bytes) -> bytes:
        if source == FLOODER:
            self.answer = data
        return data


def all_kinds(loopback: Flooded) -> list[bytes]:
    return [b"rubbish", ELSEWHERE, LARGEST, b"", ELSEWHERE[:-1]] * (EACH // 5)


KINDS: dict[str, Callable[[], Callable[[Flooded], list[bytes]]]] = {
    "rubbish": lambda: rubbish,
    "elsewhere": lambda: elsewhere,
    "largest": lambda: largest,
    "duplicates": Copying,
    "all": lambda: all_kinds,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_nine_honest_clients_complete_every_round_while_the_tenth_floods(
    make: Callable[[], Callable[[Flooded], list[bytes]]],
) -> None:
    kind = make()
    loopback = flooded()
    loopback.flood = lambda: kind(loopback)
    if isinstance(kind, Copying):
        loopback.intercept(kind.keep)
    for number in range(1, ROUNDS + 1):
        loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
        loopback.run_until_quiet()
        found = [e.value["peers"] for e in of_kind(loopback.seen, AppEvent) if e.port == "training"]
        assert len(found) == number
        assert found[-1] in (9, 10)
    assert loopback.now < SECOND  # no round came to its deadline
    assert loopback.sent >= 2 * ROUNDS * len(kind(loopback))

    suffered = [s.step for s in loopback.seen if isinstance(s.step, Dropped | PeerSilenced | PeerBlocked)]
    who = Counter(step.source if isinstance(step, Dropped) else step.peer for step in suffered)
    late = [step for step in suffered if isinstance(step, Dropped) and step.source in HONEST]
    assert who.keys() <= {FLOODER}, late
    assert not of_kind(loopback.seen, Backpressure)  # nobody was told to wait
    node = loopback.nodes[peer(0)]
    node.poll(loopback.now)
    assert node.stats()["charged_bytes"] == 0


def test_all_that_a_flooder_sends_is_taken_in_or_counted() -> None:
    loopback = flooded()
    loopback.flood = lambda: rubbish(loopback)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    steps = [s.step for s in loopback.seen if getattr(s.step, "source", None) == FLOODER and s.peer == peer(0)]
    told = sum(getattr(step, "count", 1) for step in steps)
    waits = sum(getattr(step, "count", 1) for step in loopback.nodes[peer(0)].poll(loopback.now).steps)
    answers = 1  # its own Node's, which is dropped, or taken in without a Step
    assert loopback.sent <= told + waits <= loopback.sent + answers


# --- turns ------------------------------------------------------------------------------------------------------------


class Telling(bb.Module):
    """Clients tell what they were sent, after a few ops."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        there = g.send(g.input("x", bb.f32["N"]), to=self.cohort.current_view(g, after=g.input("go", bb.types.TRIGGER)))
        s.metric(g, there, name="arrived")
        g.output("there", there)
        g.output("parked", s.sleep(g, there, duration="1h"))


def telling(**options: int) -> tuple[bb.Node, list[bytes]]:
    """A client, and for each number an Envelope that brings it."""
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Telling())
    node = bb.install(peer(50), [], artefact, ["Telling@client"], options=bb.NodeConfig(**options))
    sender = bb.install(peer(0), [], artefact, ["Telling"])
    sender.add_peer(peer(50), peer_class="client")
    found = []
    for number in range(20):
        sender.invoke("Telling", {"x": np.float32([number]), "go": bb.TRIGGER}, 0)
        found += [bytes(step.data) for step in sender.poll(0).steps if isinstance(step, SendEnvelope)]
    return node, found


def unsigned(data: bytes) -> bytes:
    """The Envelope without its sender's name, so that any peer may have sent it."""
    fills = [Fill(f.dest_suffix, bytes(f.payload), False, f.type_hash) for f in decode(data, _LIMITS).fills]
    return encode(Envelope(fills=fills, kind=1))


@pytest.mark.parametrize("budget", [1, 3, 100_000])
def test_each_honest_envelope_is_taken_in_within_its_turn_whatever_the_budget(budget: int) -> None:
    node, envelopes = telling(op_budget=budget)
    flood, *honest = map(unsigned, envelopes[:10])
    for _ in range(20_000):
        node.receive(flood, 0, source=FLOODER)
    for source, data in zip(HONEST, honest, strict=True):
        for _ in range(3):
            node.receive(data, 0, source=source)
    order: list[int] = []
    more = True
    while more:
        result = node.poll(0)
        order += [int(step.value[0]) for step in result.steps if isinstance(step, AppEvent)]
        more = result.more
    assert order[:30] == 3 * [0, *range(1, 10)]  # all peers take turns: the n-th of each is in the n-th turn
    assert set(order[30:]) == {0}


def test_a_peer_whose_frames_stay_open_leaves_room_for_the_others() -> None:
    node, envelopes = telling(ingress=400, ingress_bytes=64 * 2**20)
    flood, *honest = map(unsigned, envelopes[:10])
    dropped = 0
    for second in range(20):  # all that it is allowed to, again and again; each Frame is open for an hour
        for _ in range(1000):
            node.receive(flood, second * SECOND, source=FLOODER)
        dropped += sum(step.count for step in node.poll(second * SECOND).steps if isinstance(step, Dropped))
    assert node.stats()["frames"] == 100
    assert dropped == 20 * 1000 - 100
    for source, data in zip(HONEST, honest, strict=True):
        node.receive(data, 20 * SECOND, source=source)
    assert [type(step) for step in node.poll(20 * SECOND).steps] == [AppEvent] * 9
    node.restore(node.snapshot())  # whose Frames they are is known from the snapshot
    node.receive(flood, 21 * SECOND, source=FLOODER)
    assert [type(step) for step in node.poll(21 * SECOND).steps] == [Dropped]
    node.poll(3700 * SECOND)
    node.receive(flood, 3700 * SECOND, source=FLOODER)
    assert AppEvent in {type(step) for step in node.poll(3700 * SECOND).steps}


def test_the_bytes_that_a_peers_open_frames_hold_count_as_its_own() -> None:
    node, envelopes = telling(peer_bytes=1000)
    data = unsigned(envelopes[0])
    fitting = 1000 // len(data)
    for _ in range(fitting + 5):
        node.receive(data, 0, source=FLOODER)
        steps = node.poll(0).steps
    assert [type(step) for step in steps] == [Dropped]
    assert node.stats()["frames"] == fitting


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_rate_is_kept_for_each_peer_and_what_comes_faster_is_counted() -> None:
    node, _ = telling(peer_rate=10)
    taken, dropped = Counter[bb.PeerId](), Counter[bb.PeerId]()
    for tenth in range(100):
        now = tenth * SECOND // 10
        for _ in range(50):
            node.receive(b"rubbish", now, source=FLOODER)
        for source in HONEST:
            node.receive(b"rubbish", now, source=source)
        for step in node.poll(now).steps:
            (dropped if isinstance(step, Dropped) else taken)[step.source] += getattr(step, "count", 1)
    assert dropped == {FLOODER: 5000 - taken[FLOODER]}
    assert taken[FLOODER] == 10 + 99  # what may come at once, and one more in each tenth of a second
    assert all(taken[source] == 100 for source in HONEST)


def test_a_rate_survives_a_snapshot() -> None:
    node, _ = telling(peer_rate=5)
    for _ in range(5):
        node.receive(b"rubbish", 0, source=FLOODER)
    node.poll(0)
    node.restore(node.snapshot())
    node.receive(b"rubbish", 0, source=FLOODER)
    assert [type(step) for step in node.poll(0).steps] == [Dropped]


def test_rounds_under_a_rate_are_as_they_are_without() -> None:
    loopback = flooded(bb.NodeConfig(peer_rate=5))
    loopback.flood = lambda: rubbish(loopback)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert {e.port for e in of_kind(loopback.seen, AppEvent)} == {"params", "training"}
    taken = [s for s in loopback.seen if type(s.step).__name__ == "EnvelopeRejected"]
    assert len(taken) == 5
