"""A coordinator under attack goes on serving an honest client, in bounded memory, and every refusal is in a Step."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

import bb_core as bb
from bb_core.engine.address_book import MOST, MOST_EACH
from bb_core.engine.assembling import IDLE_NS
from bb_core.engine.assembling import MOST_EACH as ASSEMBLIES_EACH
from bb_core.engine.backpressure import NOTICE_SITE, Cause, write_notice
from bb_core.engine.dedup import Seen
from bb_core.engine.receiving import TOLD
from bb_core.steps import (
    AppEvent,
    Backpressure,
    Dropped,
    EnvelopeRejected,
    FillRejected,
    OpFailed,
    PeerBlocked,
    SendEnvelope,
    Step,
)
from bb_core.wire.address import Address, site_suffix
from bb_core.wire.chunks import CHUNK, RECEIPT_SITE, Chunk, Receipt, encode_chunk, write_receipt
from bb_core.wire.codec import Envelope, Fill, decode, encode, varint
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import TENSOR, encode_value
from tests.support import AVERAGING, Averaging, Everyone, NumpyBackend, peer

SECOND = 10**9
HONEST = peer(1)
ATTACKERS = [peer(100 + n) for n in range(40)]
OPTIONS = bb.NodeConfig(ingress_bytes=8 * 2**20, max_value_bytes=2**20)
ROUNDS = 4
EACH = 60  # Envelopes of an attack before each poll


@dataclass(frozen=True, slots=True)
class Shot:
    """What an attacker sends, and how many refusals the Steps must tell of it."""

    data: bytes
    refused: int
    source: bb.PeerId
    observed: str | None = None


class World:
    """The victim, its honest client, and what attackers may have overheard."""

    def __init__(self, seed: int = 0) -> None:
        artefact = bb.Compiler().bind(AVERAGING).compile(Averaging(1))
        self.victim = bb.install(peer(0), [], artefact, ["Averaging"], options=OPTIONS)
        self.client = bb.install(HONEST, [], artefact, ["Averaging@client"])
        self.victim.add_peer(HONEST, peer_class="client")
        self.random = Random(seed)
        self.now = 0
        self.count = 0
        self.answers = [b""]
        self.answers.append(self.round(lambda world: []))

    @property
    def update_site(self) -> bytes:
        """Where the honest client's update goes."""
        return bytes(decode(self.answers[-1], WireLimits()).fills[0].dest_suffix)

    def number(self) -> int:
        self.count += 1
        return self.count

    def source(self) -> bb.PeerId:
        return self.random.choice(ATTACKERS)

    def round(self, attack: Callable[[World], list[Shot]]) -> bytes:
        """One round, with an attack before each poll of the victim. Returns the honest client's answer."""
        victim, steps, refused = self.victim, list[Step](), 0

        def poll() -> list[Step]:
            nonlocal refused
            for shot in attack(self):
                victim.receive(shot.data, self.now, source=shot.source, observed=shot.observed)
                refused += shot.refused
            found = victim.poll(self.now).steps
            steps.extend(found)
            self.check_memory()
            return found

        victim.invoke("Averaging", {"round": bb.TRIGGER}, self.now)
        (sent,) = [s for s in poll() if isinstance(s, SendEnvelope) and s.peer == HONEST]
        self.client.receive(sent.data, self.now, source=victim.peer_id)
        self.now += SECOND
        (back,) = [s for s in self.client.poll(self.now).steps if isinstance(s, SendEnvelope)]
        poll()
        victim.receive(back.data, self.now, source=HONEST)
        poll()
        assert [s.port for s in steps if isinstance(s, AppEvent)] == ["params", "training"]
        assert sum(map(told, steps)) == refused
        assert not [s for s in steps if isinstance(s, Dropped | PeerBlocked) and getattr(s, "source", None) == HONEST]
        self.now += SECOND
        return bytes(back.data)

    def check_memory(self) -> None:
        stats = self.victim.stats()
        assert stats["charged_bytes"] <= OPTIONS.ingress_bytes
        assert stats["assembled_bytes"] <= 1.1 * OPTIONS.ingress_bytes
        assert stats["peers"] <= MOST
        assert stats["ingress"] <= OPTIONS.ingress


def told(step: Step) -> int:
    """How many refusals a Step stands for."""
    match step:
        case FillRejected() | PeerBlocked():
            return step.count
        case Dropped():
            return 0 if step.reason == "abandoned" else step.count
        case EnvelopeRejected() | Backpressure() | OpFailed():
            return 1
    return 0


# --- attacks ----------------------------------------------------------------------------------------------------------


def random_bytes(world: World) -> Iterator[Shot]:
    yield Shot(world.random.randbytes(world.random.randrange(300)), 1, world.source())


def cut_short(world: World) -> Iterator[Shot]:
    """Any beginning of a legal Envelope, which is legal itself where a field ends; so it has no fill left."""
    data = encode(Envelope(fills=[Fill(site_suffix(9), bytes(100), type_hash=1)], kind=1))
    yield Shot(data[: world.random.randrange(100)], 1, world.source())


def unexported(world: World) -> Iterator[Shot]:
    fills = [Fill(site_suffix(world.number()), b"", trigger_only=True) for _ in range(world.random.randrange(1, 257))]
    yield Shot(encode(Envelope(fills=fills, kind=1)), len(fills), world.source())


def tiny_fills(world: World) -> Iterator[Shot]:
    """Triggers for an edge that takes tensors, and for one that there is not."""
    fills = [Fill(world.update_site, b"", trigger_only=True), Fill(site_suffix(9), b"", trigger_only=True)] * 128
    yield Shot(encode(Envelope(fills=fills, kind=1)), 256, world.source())


def forged_source(world: World) -> Iterator[Shot]:
    fills = [Fill(site_suffix(9), b"", trigger_only=True)]
    yield Shot(encode(Envelope(fills=fills, kind=1, src_peer=HONEST.raw)), 1, world.source())


def replays(world: World) -> Iterator[Shot]:
    """An answer of an earlier round, from who overheard it, and from the honest client's own connection."""
    yield Shot(world.answers[-1], 1, world.source())
    yield Shot(world.answers[-1], 1, HONEST)


def giant_lengths(world: World) -> Iterator[Shot]:
    for field in range(1, 16):
        promised = world.random.choice([2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**64 - 1])
        yield Shot(bytes((field << 3 | 2,)) + varint(promised) + bytes(world.random.randrange(10)), 1, world.source())


def poisoned_addresses(world: World) -> Iterator[Shot]:
    addresses = [Address.parse(f"/dns/{world.number()}.example/tcp/1").to_bytes() for _ in range(8)]
    fills = [Fill(site_suffix(9), b"", trigger_only=True)]
    data = encode(Envelope(fills=fills, kind=1, src_peer_addresses=addresses))
    yield Shot(data, 1, peer(10**6 + world.number()), f"/dns/{world.number()}.example/tcp/2")
    yield Shot(data, 1, ATTACKERS[0], f"/dns/{world.number()}.example/tcp/2")


def unasked_answers(world: World) -> Iterator[Shot]:
    fills = [Fill(world.update_site, b"", trigger_only=True)]
    yield Shot(encode(Envelope(fills=fills, kind=2, request=world.random.getrandbits(64))), 1, world.source())


def special(site: int, value: object) -> bytes:
    type_hash, payload, _ = encode_value(value)
    return encode(Envelope(fills=[Fill(site_suffix(site), payload, False, type_hash)], kind=1))


def forged_notices(world: World) -> Iterator[Shot]:
    yield Shot(special(NOTICE_SITE, write_notice(2**62, Cause.QUEUE)), 1, world.source())
    yield Shot(special(NOTICE_SITE, bb.Record(min_backoff_ns=-1, cause="queue")), 1, world.source())
    yield Shot(special(NOTICE_SITE, bb.Record(min_backoff_ns=1, cause="x" * 10_000)), 1, world.source())
    yield Shot(special(NOTICE_SITE, bb.Record(**{f"{n:x}": 0 for n in range(4096)})), 1, world.source())


def forged_receipts(world: World) -> Iterator[Shot]:
    """For what was never sent, which is no matter, and ones that cannot be."""
    for upto in (0, 1, 2**62):
        yield Shot(special(RECEIPT_SITE, write_receipt(Receipt(1, world.number(), 9, upto, b"\xff" * 32))), 0, HONEST)
    yield Shot(special(RECEIPT_SITE, write_receipt(Receipt(1, 7, 9, 0, bytes(33)))), 1, world.source())
    yield Shot(
        special(RECEIPT_SITE, bb.Record(kind=1, request=bytes(8), site=b"", upto=1, more=b"")), 1, world.source()
    )
    yield Shot(special(RECEIPT_SITE, bb.Record(kind="1")), 1, world.source())
    yield Shot(special(RECEIPT_SITE, np.zeros(3)), 1, world.source())


def chunk(world: World, index: int, count: int, total: int, request: int) -> bytes:
    payload = encode_chunk(Chunk(index, count, 0, total, TENSOR.type_hash, b"1"))
    return encode(Envelope(fills=[Fill(world.update_site, payload, False, CHUNK.type_hash)], kind=1, request=request))


def giant_chunks(world: World) -> Iterator[Shot]:
    for total in (2**21, 2**31, 2**40, 2**63, 2**64 - 1):
        yield Shot(chunk(world, 0, 2, total, world.number()), 1, world.source())
    yield Shot(chunk(world, 0, 65_537, 2**20, world.number()), 1, world.source())
    yield Shot(chunk(world, 2**31, 2**32, 2**20, world.number()), 1, world.source())


def many_assemblies(world: World) -> Iterator[Shot]:
    """Each source begins as many as it may, each of as many chunks as there may be, and then one more."""
    source = peer(10**6 + world.number())
    for _ in range(ASSEMBLIES_EACH):
        yield Shot(chunk(world, 0, 2, 10, world.number()), 0, source)
    yield Shot(chunk(world, 0, 2, 10, world.number()), 1, source)


ATTACKS = {
    each.__name__: each
    for each in (
        random_bytes, cut_short, unexported, tiny_fills, forged_source, replays, giant_lengths, poisoned_addresses,
        unasked_answers, forged_notices, forged_receipts, giant_chunks, many_assemblies,
    )
}  # fmt: skip


def volley(world: World, attacks: list[Callable[[World], Iterator[Shot]]]) -> list[Shot]:
    found: list[Shot] = []
    while len(found) < EACH:
        found += world.random.choice(attacks)(world)
    return found


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_honest_client_is_served_and_each_refusal_is_told(attack: Callable[[World], Iterator[Shot]]) -> None:
    world = World()
    for _ in range(ROUNDS):
        world.answers.append(world.round(lambda world: volley(world, [attack])))
    assert world.victim.is_idle


@pytest.mark.parametrize("seed", range(5))
def test_all_attacks_at_once(seed: int) -> None:
    world = World(seed)
    for _ in range(ROUNDS):
        world.answers.append(world.round(lambda world: volley(world, [*ATTACKS.values()])))
    assert world.victim.is_idle


# --- what one refusal costs -------------------------------------------------------------------------------------------


def steps_of(world: World, *shots: bytes, source: bb.PeerId = ATTACKERS[0]) -> list[Step]:
    for data in shots:
        world.victim.receive(data, world.now, source=source)
    return world.victim.poll(world.now).steps


def test_the_steps_of_one_envelope_are_few_however_many_fills_are_refused() -> None:
    world = World()
    fills = [Fill(site_suffix(9), b"", trigger_only=True)] * 256
    steps = steps_of(world, encode(Envelope(fills=fills, kind=1)))
    assert len(steps) == TOLD
    assert [step.count for step in steps if isinstance(step, FillRejected)] == [1] * (TOLD - 1) + [257 - TOLD]


def test_a_step_keeps_nothing_of_what_it_refuses() -> None:
    class Data(np.ndarray):  # can be referred to weakly, which bytes cannot
        pass

    world = World()
    rubbish = np.frombuffer(b"rubbish", np.uint8).view(Data)
    fills = [Fill(site_suffix(9), bytes(1000), type_hash=1), Fill(site_suffix(NOTICE_SITE), b"\x08\xff", type_hash=1)]
    refused = np.frombuffer(encode(Envelope(fills=fills, kind=1)), np.uint8).view(Data)
    alive = [weakref.ref(rubbish), weakref.ref(refused)]
    steps = steps_of(world, rubbish, refused)  # type: ignore[arg-type]
    assert [type(step) for step in steps] == [EnvelopeRejected, FillRejected, FillRejected]
    del rubbish, refused
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_a_refusal_says_no_more_of_a_payload_than_a_few_characters() -> None:
    world = World()
    name = b"\0" * 100_000
    field = b"\x0a" + varint(len(name)) + name
    record = b"\x08\x01\x12" + varint(len(field)) + field
    type_hash, _, _ = encode_value(bb.Record())
    stats_site = bytes(decode(world.answers[-1], WireLimits()).fills[1].dest_suffix)
    fills = [Fill(stats_site, record, type_hash=type_hash)]
    (refused, *_) = steps_of(world, encode(Envelope(fills=fills, kind=1)))
    assert isinstance(refused, FillRejected)
    assert len(str(refused.error)) < 1000


def test_chunks_of_one_envelope_are_answered_once() -> None:
    world = World()
    fills = [
        Fill(world.update_site, encode_chunk(Chunk(n, 300, n, 300, TENSOR.type_hash, b"1")), False, CHUNK.type_hash)
        for n in range(256)
    ]
    data = encode(Envelope(fills=fills, kind=1, request=5))
    steps = steps_of(world, data, data)
    answers = [step for step in steps if isinstance(step, SendEnvelope)]
    assert len(answers) == 2
    assert sum(len(step.data) for step in answers) < len(data)
    assert [step.count for step in steps if isinstance(step, Dropped)] == [256]


# --- what is made of what was not sent --------------------------------------------------------------------------------


class Two(bb.Module):
    """A client adds two values that come together."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        a, b = g.send((x, x), to=self.cohort.current_view(g, after=x))
        g.output("sum", self.backend.add(g, a, b))


@pytest.mark.parametrize("request_id", [0, 5])
@pytest.mark.parametrize("times", [2, 3, 256])
def test_one_value_sent_twice_does_not_count_for_two(times: int, request_id: int) -> None:
    artefact = bb.Compiler().bind({"cohort": Everyone, "backend": NumpyBackend}).compile(Two())
    sender = bb.install(peer(0), [], artefact, ["Two"])
    sender.add_peer(peer(1), peer_class="client")
    sender.invoke("Two", {"x": np.ones(1, np.float32)}, 0)
    (sent,) = [s for s in sender.poll(0).steps if isinstance(s, SendEnvelope)]
    first, second = decode(sent.data, WireLimits()).fills
    node = bb.install(peer(1), [], artefact, ["Two@client"])

    def found(fills: list[Fill]) -> list[tuple[str, int]]:
        node.receive(encode(Envelope(fills=fills, kind=1, request=request_id)), 0, source=peer(0))
        return [(type(step).__name__, getattr(step, "count", 1)) for step in node.poll(0).steps]

    assert found([first] * times) == [("Dropped", times - 1), ("FillRejected", 1)]
    assert found([first, second]) == [("AppEvent", 1)]


# --- who may have how much --------------------------------------------------------------------------------------------


def test_one_source_has_half_of_the_room_for_values_in_chunks_and_duplicates_hold_none_of_it() -> None:
    world = World()
    large = OPTIONS.max_value_bytes
    for number in range(10):
        steps_of(world, chunk(world, 0, 2, large, 1000 + number))
    assert world.victim.stats()["assembled_bytes"] <= 0.6 * OPTIONS.ingress_bytes
    steps = steps_of(world, chunk(world, 0, 2, large, 5), source=ATTACKERS[1])
    assert [type(step) for step in steps] == [SendEnvelope]  # its receipt
    for _ in range(4):
        world.now += IDLE_NS // 3
        steps_of(world, *(chunk(world, 0, 2, large, 1000 + number) for number in range(3)))
    world.now += IDLE_NS
    world.victim.poll(world.now)
    assert world.victim.stats()["assembled_bytes"] == 0


def test_assemblies_cost_at_least_what_they_take_however_little_they_are_to_hold() -> None:
    world = World()
    for number in range(6000):
        world.victim.receive(chunk(world, 0, 2, 2, number + 1), world.now, source=peer(1000 + number // 8))
        if number % 1000 == 999:
            world.victim.poll(world.now)
    assert world.victim.stats()["assembled_bytes"] <= 1.1 * OPTIONS.ingress_bytes
    assert len(world.victim._engine.assemblies) <= 1.1 * OPTIONS.ingress_bytes / 2048


def test_who_sends_much_makes_a_node_forget_nothing_of_others() -> None:
    seen = Seen(window=100)
    honest = [(bytes((source,)), 1, request, 7) for source in range(9) for request in range(5)]
    for key in honest:
        seen.add(key)
    for request in range(10_000):
        seen.add((b"flooder", 1, request, 7))
    assert all(key in seen for key in honest)
    assert len(seen.state()) == 100
    other = Seen(window=100)
    other.load(seen.state())
    for each in (seen, other):
        each.add((b"flooder", 1, -1, 7))
    assert other.state() == seen.state()


def test_an_address_book_holds_few_addresses_of_who_claims_many() -> None:
    world = World()
    for _ in range(50):
        for shot in poisoned_addresses(world):
            steps_of(world, shot.data, source=ATTACKERS[0])
    assert len(world.victim._engine.address_book.addresses(ATTACKERS[0], world.now)) <= MOST_EACH


def test_a_million_sources_are_not_told_apart_one_by_one() -> None:
    world = World()
    count = 30_000
    for number in range(count + OPTIONS.ingress):
        world.victim.receive(b"rubbish", world.now, source=peer(10**6 + number))
    steps = world.victim.poll(world.now).steps
    assert sum(map(told, steps)) >= count + OPTIONS.ingress - sum(isinstance(s, SendEnvelope) for s in steps)
    assert len([step for step in steps if isinstance(step, Dropped)]) <= MOST + 1


# --- how much work ----------------------------------------------------------------------------------------------------


def calls(work: Callable[[], object]) -> int:
    """How many Python functions and compiled methods some work calls, comprehensions' steps included."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(None)
    return count


class Telling(bb.Module):
    """Sends something to all clients, and waits until all have it."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        sent = g.send(x, to=self.cohort.current_view(g, after=x), ack=True)
        g.output("there", sent)
        assert sent.delivered is not None
        g.output("delivered", sent.delivered)


def receipts_of(clients: int) -> int:
    """The work that receipts of so many clients make, per client."""
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Telling())
    node = bb.install(peer(0), [], artefact, ["Telling"])
    for number in range(clients):
        node.add_peer(peer(1 + number), peer_class="client")
    node.invoke("Telling", {"x": np.ones(1, np.float32)}, 0)
    sent = [step for step in node.poll(0).steps if isinstance(step, SendEnvelope)]
    assert len(sent) == clients
    envelope = decode(sent[0].data, WireLimits())
    site = int.from_bytes(bytes(envelope.fills[1].dest_suffix)[-8:], "big")
    receipt = special(RECEIPT_SITE, write_receipt(Receipt(1, envelope.request, site, 1)))
    for step in sent:
        node.receive(receipt, SECOND, source=step.peer)
    work = calls(lambda: node.poll(SECOND))
    assert not len(node._engine.deliveries)
    return work // clients


def assemblies_of(sources: int) -> int:
    """The work that the last of many assemblies makes, and dropping all of them, per source."""
    world = World()
    for number in range(sources):
        world.victim.receive(chunk(world, 0, 2, 2, 5), world.now, source=peer(1000 + number))
    began = calls(lambda: world.victim.poll(world.now))
    dropped = calls(lambda: world.victim.poll(world.now + 2 * IDLE_NS))
    return (began + dropped) // sources


@pytest.mark.parametrize("work", [receipts_of, assemblies_of])
def test_the_work_for_each_does_not_grow_with_how_many_there_are(work: Callable[[int], int]) -> None:
    few, many = work(100), work(1000)
    assert many < 1.5 * few


# --- memory -----------------------------------------------------------------------------------------------------------

TEN_MILLION = """
import resource
import bb_core as bb
from bb_core.wire.address import site_suffix
from bb_core.wire.codec import Envelope, Fill, encode
from tests.scenarios.test_under_attack import ATTACKERS, World, told

world = World()
fills = [Fill(site_suffix(n % 7), b"", trigger_only=True) for n in range(256)]
data = encode(Envelope(fills=fills, kind=1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sent = found = rounds = 0

def volley(world):
    global sent
    for n in range(1400):
        world.victim.receive(bytes(bytearray(data)), world.now, source=ATTACKERS[n % 40])
        sent += 256
    return []

# The refusals are counted by what `World.round` checks: told == refused; here by hand, as nothing is expected.
import tests.scenarios.test_under_attack as module
def counting(step):
    global found
    found += told(step)
    return 0
module.told = counting
while sent < 10_000_000:
    world.round(volley)
    rounds += 1
print(sent, found, rounds, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.slow
def test_ten_million_tiny_fills_take_little_memory_and_each_is_counted() -> None:
    run = subprocess.run([sys.executable, "-c", TEN_MILLION], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    sent, found, rounds, grown = map(int, run.stdout.split())
    assert sent == found >= 10_000_000
    assert rounds >= 9
    assert grown < 128 * 2**20
