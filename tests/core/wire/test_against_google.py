"""The codec against google's library, both ways: many Envelopes, every number too long, garbage at every depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from bb_core.errors import CapExceeded, EnvelopeError
from bb_core.wire.codec import BYTES, NUMBER, EdgeRttReport, Envelope, Fields, Fill, decode, encode, varint
from bb_core.wire.limits import WireLimits
from tests.golden.load import envelopes
from tests.oracles import codec as oracle
from tests.oracles import schema

GOLDEN = envelopes()
GOOGLE = schema.messages()
WIDE = WireLimits(dest_addresses=10**6, rtt_reports=10**6, fills=10**6, src_addresses=10**6, src_address_bytes=10**6)

# --- one random Envelope, for both libraries --------------------------------------------------------------------------

EDGES = [0, 1, 127, 128, 2**14 - 1, 2**14, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


def number(random: Random, bits: int) -> int:
    """A number, often at the end of a range."""
    edges = [edge for edge in EDGES if edge < 1 << bits]
    return random.choice(edges) if random.random() < 0.5 else random.getrandbits(random.randint(1, bits))


def content(random: Random) -> bytes:
    """Bytes, often none, now and then with a length of two bytes."""
    return random.randbytes(random.choice((0, 0, 1, 10, 13, 40, 127, 128, 200)))


def contents(random: Random) -> list[bytes]:
    return [content(random) for _ in range(random.choice((0, 0, 1, 2, 5)))]


def facts(random: Random) -> dict[str, Any]:
    """What an Envelope holds."""
    has_correlation = random.random() < 0.8
    return {
        "dest_peer_addresses": contents(random),
        "fills": [
            (content(random), content(random), random.random() < 0.3, number(random, 64))
            for _ in range(random.choice((0, 1, 1, 2, 4)))
        ],
        "kind": random.choice((0, 1, 2, 3, -1, -(2**31), 2**31 - 1)) if has_correlation else 0,
        "request": number(random, 64) if has_correlation else 0,
        "remaining_deadline_ns": number(random, 64),
        "reports": [
            [number(random, 32 if name == "hop" else 64) for name in oracle.REPORT.values()]
            for _ in range(random.choice((0, 0, 1, 3)))
        ],
        "src_peer": content(random),
        "schema_version": random.randint(0, 1),
        "src_peer_addresses": contents(random),
        "has_correlation": has_correlation,
    }


def ours(held: dict[str, Any]) -> Envelope:
    rest = {k: v for k, v in held.items() if k not in ("fills", "reports")}
    return Envelope(
        fills=[Fill(*fill) for fill in held["fills"]],
        edge_rtt_reports=[EdgeRttReport(*report) for report in held["reports"]],
        **rest,
    )


def theirs(held: dict[str, Any]) -> Any:
    message = GOOGLE["WireEnvelope"](
        dest_peer_addresses=held["dest_peer_addresses"],
        remaining_deadline_ns=held["remaining_deadline_ns"],
        src_peer_bytes=held["src_peer"],
        schema_version=held["schema_version"],
        src_peer_addresses=held["src_peer_addresses"],
    )
    if held["has_correlation"]:
        message.correlation.SetInParent()
        message.correlation.kind, message.correlation.wire_req_id = held["kind"], held["request"]
    for fill in held["fills"]:
        message.fills.add(**dict(zip(oracle.FILL.values(), fill, strict=True)))
    names = [field.name for field in GOOGLE["EdgeRttReport"].DESCRIPTOR.fields]
    for report in held["reports"]:
        message.edge_rtt_reports.add(**dict(zip(names, report, strict=True)))
    return message


def of_ours(envelope: Envelope) -> dict[str, Any]:
    return {
        "dest_peer_addresses": list(envelope.dest_peer_addresses),
        "fills": [(f.dest_suffix, bytes(f.payload), f.trigger_only, f.type_hash) for f in envelope.fills],
        "kind": envelope.kind,
        "request": envelope.request,
        "remaining_deadline_ns": envelope.remaining_deadline_ns,
        "reports": [[getattr(r, name) for name in oracle.REPORT.values()] for r in envelope.edge_rtt_reports],
        "src_peer": envelope.src_peer,
        "schema_version": envelope.schema_version,
        "src_peer_addresses": list(envelope.src_peer_addresses),
        "has_correlation": envelope.has_correlation,
    }


def of_theirs(message: Any) -> dict[str, Any]:
    names = [field.name for field in GOOGLE["EdgeRttReport"].DESCRIPTOR.fields]
    return {
        "dest_peer_addresses": list(message.dest_peer_addresses),
        "fills": [(f.dest_suffix, f.payload, f.trigger_only, f.type_hash) for f in message.fills],
        "kind": message.correlation.kind,
        "request": message.correlation.wire_req_id,
        "remaining_deadline_ns": message.remaining_deadline_ns,
        "reports": [[getattr(r, name) for name in names] for r in message.edge_rtt_reports],
        "src_peer": message.src_peer_bytes,
        "schema_version": message.schema_version,
        "src_peer_addresses": list(message.src_peer_addresses),
        "has_correlation": message.HasField("correlation"),
    }


def agree(data: bytes) -> bool:
    """Whether both accept these bytes; that they make the same of them, or both refuse, is asserted."""
    try:
        message = GOOGLE["WireEnvelope"].FromString(data)
    except Exception:  # the library's own class, which differs between its releases
        message = None
    if message is not None and message.schema_version > 1:
        message = None
    try:
        found = of_ours(decode(data, WIDE))
    except EnvelopeError:
        found = None
    assert found == (None if message is None else of_theirs(message)), data.hex()
    return found is not None


def shuffled(data: bytes, random: Random) -> bytes:
    """The top-level fields in another order, one of them twice, one unknown: legal, and no longer canonical."""
    fields = Fields(data)
    ends = [0, *(fields.at for _ in fields)]
    pieces = [data[a:b] for a, b in pairwise(ends)]
    pieces += [random.choice(pieces)] if pieces else []
    pieces.append(varint(random.randint(9, 2000) << 3 | NUMBER) + varint(number(random, 64)))
    random.shuffle(pieces)
    return b"".join(pieces)


def compare(seed: int, count: int) -> int:
    """Compare so many Envelopes, and a damaged one of each; returns how many of the damaged were accepted."""
    random = Random(seed)
    accepted = 0
    for _ in range(count):
        held = facts(random)
        data, message = encode(ours(held)), theirs(held)
        assert data == message.SerializeToString(deterministic=True)
        assert of_ours(decode(data)) == held
        assert of_theirs(GOOGLE["WireEnvelope"].FromString(data)) == held
        assert agree(shuffled(data, random))
        damaged = bytearray(data or b"\0")
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(len(damaged))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.getrandbits(8)))
        accepted += agree(bytes(damaged))
    return accepted


def test_random_envelopes_are_written_and_read_alike() -> None:
    assert compare(seed=1, count=500) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_random_envelopes_are_written_and_read_alike(seed: int) -> None:
    assert compare(seed=100 + seed, count=25_000) > 1000


# --- numbers that are too long ----------------------------------------------------------------------------------------

NESTED = {2, 3, 5}
LONGEST = {"key": 5, "length": 5, "value": 10}


class Padded:
    """Writes the fields of a message again, with one number of it in a longer form."""

    def __init__(self, which: int, to: int) -> None:
        self.which = which
        self.to = to
        self.count = 0
        self.kind = ""

    def message(self, data: bytes, *, is_nested: bool = False) -> bytes:
        return b"".join(self._field(*field, is_nested) for field in oracle.fields(data))

    def _field(self, number: int, wire: int, value: Any, is_nested: bool) -> bytes:
        key = self._number("key", number << 3 | wire)
        if wire == NUMBER:
            return key + self._number("value", value)
        assert wire == BYTES
        inner = self.message(value, is_nested=True) if number in NESTED and not is_nested else value
        return key + self._number("length", len(inner)) + inner

    def _number(self, kind: str, value: int) -> bytes:
        short = varint(value)
        self.count += 1
        if self.count - 1 != self.which:
            return short
        self.kind = kind
        zeros = self.to - len(short)
        return short[:-1] + bytes([short[-1] | 0x80]) + b"\x80" * (zeros - 1) + b"\x00" if zeros > 0 else short


def numbers_in(data: bytes) -> int:
    padded = Padded(-1, 0)
    assert padded.message(data) == data
    return padded.count


@pytest.mark.parametrize("name", GOLDEN)
def test_every_number_may_be_longer_than_it_need_be_up_to_a_point(name: str) -> None:
    data = GOLDEN[name]
    for which in range(numbers_in(data)):
        for length in range(2, 12):
            padded = Padded(which, length)
            longer = padded.message(data)
            if longer == data:
                continue
            assert agree(longer) == (length <= LONGEST[padded.kind]), (which, length, padded.kind)
            if length <= LONGEST[padded.kind]:
                assert encode(decode(longer)) == data


# --- garbage ----------------------------------------------------------------------------------------------------------


def inside(number: int, data: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def groups(data: bytes) -> bytes:
    return b"\x7b" + data + b"\x7c"


def garbage(random: Random) -> Iterator[bytes]:
    yield from (b"", b"\x00", b"\x80", b"\xff" * 10, b"\x7b", b"\x7c", b"\x38", b"\x38\x02", b"\x0f", b"\x12\x00")
    for _ in range(100):
        yield random.randbytes(random.randint(1, 12))


WRAPS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    lambda data: inside(2, data),
    lambda data: inside(3, data),
    lambda data: inside(5, data),
    lambda data: inside(2, inside(1, data) + inside(2, data)),
    lambda data: inside(2, groups(data)),
    lambda data: groups(inside(2, data)),
    lambda data: groups(groups(data)),
    lambda data: inside(3, inside(3, data)) + inside(3, data),
    lambda data: inside(15, data) + inside(2, inside(15, data)),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_garbage_at_every_depth_is_read_or_refused_alike(wrap: Callable[[bytes], bytes]) -> None:
    random = Random(7)
    for each in garbage(random):
        data = wrap(each)
        agree(data)
        agree(GOLDEN["response"] + data)
        agree(data + GOLDEN["response"])
        for end in range(len(data)):
            agree(data[:end])


@pytest.mark.parametrize("name", GOLDEN)
def test_every_truncation_and_every_changed_byte_is_read_or_refused_alike(name: str) -> None:
    data = GOLDEN[name]
    for at in range(len(data)):
        agree(data[:at])
        agree(data[at:])
        for changed in (data[at] ^ 1, data[at] ^ 0x80, 0, 0xFF):
            agree(data[:at] + bytes([changed]) + data[at + 1 :])


# --- the limits that a Node has ---------------------------------------------------------------------------------------


def unknown(size: int) -> bytes:
    """An Envelope of just this size: one field that nobody knows."""
    head = 1 + len(varint(size))
    data = inside(15, bytes(size - head))
    return data if len(data) == size else inside(15, bytes(size - head + 1))


OF_SIZE: dict[str, Callable[[int], bytes]] = {
    "total_bytes": unknown,
    "fills": lambda n: inside(2, b"") * n,
    "payload_bytes": lambda n: inside(2, inside(2, bytes(n))),
    "suffix_bytes": lambda n: inside(2, inside(1, bytes(n))),
    "src_addresses": lambda n: inside(8, b"") * n,
    "src_address_bytes": lambda n: inside(8, bytes(n)),
    "dest_addresses": lambda n: inside(1, b"") * n,
    "rtt_reports": lambda n: inside(5, b"") * n,
}


@pytest.mark.parametrize("limits", [WireLimits(), WireLimits.edge()], ids=["default", "edge"])
@pytest.mark.parametrize("cap", OF_SIZE)
def test_each_limit_of_a_node_is_inclusive(cap: str, limits: WireLimits) -> None:
    limit = getattr(limits, cap)
    decode(OF_SIZE[cap](limit), limits)
    with pytest.raises(CapExceeded) as caught:
        decode(OF_SIZE[cap](limit + 1), limits)
    assert caught.value.fields == {"cap": cap, "limit": limit}
