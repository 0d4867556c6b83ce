"""The golden Envelopes: what they hold, that their page is true, and that all readers and writers agree on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bb_core.engine.backpressure import NOTICE_SITE, Cause, read_notice, write_notice
from bb_core.ids import PeerId
from bb_core.values import TRIGGER, Composite, PeerList, Record, RequestId
from bb_core.wire.address import Address, AddressList, p2p_address, site_suffix
from bb_core.wire.codec import EdgeRttReport, Envelope, Fill, decode, encode
from bb_core.wire.payloads import decode_value, encode_value
from tests.golden.load import envelopes, explained
from tests.oracles import payloads as oracle
from tests.oracles import schema

GOLDEN = envelopes()
GOOGLE = schema.messages()["WireEnvelope"]

ONE, SEVEN = PeerId.from_int(1), PeerId.from_int(7)
SHA = PeerId.parse("QmVmwEiH2PcRuKUaZ8ehM5AwhaHCHtxzhanLB9UisiijbH")
CPU_TENSOR = oracle.fnv1a64("bb_ops::backends::cpu::tensor::CpuTensor")


def fill(site: int, value: Any) -> Fill:
    type_hash, payload, trigger_only = encode_value(value)
    return Fill(site_suffix(site), payload, trigger_only, type_hash)


def op(address: str, payload: str, type_hash: int = 0) -> Fill:
    return Fill(Address.parse(address).to_bytes(), bytes.fromhex(payload), False, type_hash)


def reference_tensor(site: int, values: Any) -> Fill:
    array = np.asarray(values, "<f4")
    dims = np.array([array.ndim, *array.shape], "<u8").tobytes()
    size = np.array([array.size], "<u8").tobytes()
    return Fill(site_suffix(site), b"\1" + dims + size + array.tobytes() + dims, False, CPU_TENSOR)


TO_SEVEN = [p2p_address(SEVEN)]
FROM_ONE = [p2p_address(ONE)]
CARRIED = [
    TRIGGER,
    SEVEN,
    PeerList([ONE, SEVEN]),
    RequestId(42),
    b"hi",
    Address.parse("/p2p/16uZAbWC1AJvS/site/17/component/5/op/Ping"),
    AddressList([Address(), Address.parse("/site/17")]),
    Composite([b"hi", Composite([TRIGGER])]),
]
EXPECTED = {
    "empty": Envelope(has_correlation=False),
    "request": Envelope(
        TO_SEVEN, [fill(17, b"hi")], 1, 42, remaining_deadline_ns=100_000_000, src_peer_addresses=FROM_ONE
    ),
    "trigger_only": Envelope(TO_SEVEN, [fill(3, TRIGGER)]),
    "control_plane": Envelope(
        FROM_ONE,
        [
            op(
                "/component/0/op/Announce",
                "0a000000000000000008000000000000000701000000000000000100000000000000"
                "000000000a0000000000000000080000000000000007",
            )
        ],
        has_correlation=False,
    ),
    "backoff_of_the_reference": Envelope(
        TO_SEVEN, [op("/p2p/16uZAbWC1AJvL", "00ca9a3b00000000000000000000000000000000", 0x835411050E7217C5)]
    ),
    "backpressure_notice": Envelope(
        TO_SEVEN, [fill(NOTICE_SITE, write_notice(10**9, Cause.QUEUE))], kind=1, src_peer=ONE.raw
    ),
    "response": Envelope(
        [*TO_SEVEN, p2p_address(SHA)],
        [reference_tensor(17, [[1, 2], [3, 4]]), fill(18, Composite([b"hi", TRIGGER]))],
        2,
        300,
        250_000_000,
        [EdgeRttReport(9, oracle.fnv1a64("Client,Server"), 1, 1_500_000, 250_000, 12)],
        ONE.raw,
        src_peer_addresses=FROM_ONE,
    ),
    "tensor": Envelope(fills=[fill(17, np.array([[1, 2], [3, 4]], np.float32))]),
    "record": Envelope(
        fills=[
            fill(
                17,
                Record(f64=0.5, flag=False, i64=-5, raw=b"\x00\xff", tensor=np.full(1, 0.25, np.float32), text="né"),
            )
        ]
    ),
    "several_fills": Envelope(fills=[fill(1, b"hi"), fill(2, TRIGGER), fill(3, RequestId(42))], kind=1, request=7),
    "carriers": Envelope(fills=[*(fill(i, v) for i, v in enumerate(CARRIED, 1)), reference_tensor(9, [1, 2])]),
}


def test_the_page_explains_every_byte_of_every_file() -> None:
    assert explained() == GOLDEN


def test_what_is_in_every_file_is_known() -> None:
    assert EXPECTED.keys() == GOLDEN.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_file_holds_what_its_page_says_and_is_written_alike(name: str) -> None:
    assert decode(GOLDEN[name]) == EXPECTED[name]
    assert encode(EXPECTED[name]) == GOLDEN[name]
    assert encode(decode(GOLDEN[name])) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_google_writes_the_same_bytes(name: str) -> None:
    message = GOOGLE.FromString(GOLDEN[name])
    assert message.SerializeToString(deterministic=True) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_values_are_read_as_the_page_of_the_wire_says(name: str) -> None:
    for each in decode(GOLDEN[name]).fills:
        if each.type_hash in oracle.READERS or each.type_hash == oracle.COMPOSITE:
            value = decode_value(each.type_hash, each.payload)
            assert oracle.shown(value) == oracle.decode(each.type_hash, bytes(each.payload))
        if each.dest_suffix:
            assert oracle.shown(Address.from_bytes(each.dest_suffix)) == oracle.address(each.dest_suffix)


def test_every_carrier_is_there() -> None:
    found = [each.type_hash for each in decode(GOLDEN["carriers"]).fills]
    ours = {oracle.fnv1a64(name) for name in ("bb.tensor", "bb.record", "bb.chunk")}
    assert sorted(found) == sorted((oracle.READERS.keys() | {oracle.COMPOSITE}) - ours)


def test_the_notice_is_one() -> None:
    each = decode(GOLDEN["backpressure_notice"]).fills[0]
    assert read_notice(decode_value(each.type_hash, each.payload)).min_backoff_ns == 10**9
