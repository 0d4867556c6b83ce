from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.errors import AddressError
from bb_core.ids import PeerId
from bb_core.wire.address import (
    COMPONENT,
    OP,
    P2P,
    SITE,
    Address,
    Segment,
    address_bytes,
    p2p_address,
    parse_site_suffix,
    site_suffix,
)

SHA = "QmVmwEiH2PcRuKUaZ8ehM5AwhaHCHtxzhanLB9UisiijbH"
FORMS = [
    ("", ""),
    ("/site/17", "e2010000000000000011"),
    ("/component/0/op/Announce", "e30100000000e40108416e6e6f756e6365"),
    ("/component/1/op/Handshake", "e30100000001e4010948616e647368616b65"),
    ("/component/5/op/FindNode", "e30100000005e4010846696e644e6f6465"),
    ("/p2p/16uZAbWC1AJvS", "a5030a00080000000000000007"),
    ("/p2p/16uZAbWC1AJvS/site/17", "a5030a00080000000000000007e2010000000000000011"),
    (f"/p2p/{SHA}", "a5032212206e7c0441a0fd00b92c5b364e5410f059833414059af6b6bea697b25d30c65ca4"),
    ("/op/", "e40100"),
    ("/site/18446744073709551615", "e201ffffffffffffffff"),
    ("/ip4/127.0.0.1/udp/4001/quic-v1", "047f00000191020fa1cd03"),
    ("/ip4/10.0.0.7/tcp/4001/tls/p2p/16uZAbWC1AJvS", "040a000007060fa1c003a5030a00080000000000000007"),
    ("/ip6/2001:db8::1/tcp/443/wss", "2920010db80000000000000000000000010601bbde03"),
    ("/dns/example.org/tcp/80/ws", "350b6578616d706c652e6f7267060050dd03"),
    ("/dns4/a/udp/1/quic", "36016191020001cc03"),
    ("/dns6/a", "370161"),
    ("/memory/7", "89060000000000000007"),
]

segments = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda n: Segment(P2P, PeerId.from_int(n))),
    st.integers(0, 2**64 - 1).map(lambda n: Segment(SITE, n)),
    st.integers(0, 2**32 - 1).map(lambda n: Segment(COMPONENT, n)),
    st.text(st.characters(codec="utf-8")).map(lambda text: Segment(OP, text)),
    st.ip_addresses(v=4).map(lambda ip: Segment(4, str(ip))),
    st.ip_addresses(v=6).filter(lambda ip: ip.scope_id is None).map(lambda ip: Segment(41, str(ip))),
    st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1).map(lambda name: Segment(53, name)),
    st.integers(0, 2**16 - 1).map(lambda port: Segment(6, port)),
    st.sampled_from((448, 460, 461, 477, 478)).map(lambda code: Segment(code, None)),
)
addresses = st.lists(segments, max_size=4).map(lambda items: Address(tuple(items)))


@pytest.mark.parametrize(("text", "raw"), FORMS)
def test_text_and_bytes_are_two_forms_of_one_address(text, raw):
    address = Address.parse(text)
    assert address.to_bytes().hex() == raw
    assert Address.from_bytes(bytes.fromhex(raw)) == address
    assert str(address) == text


@given(addresses)
def test_the_binary_form_of_any_address_is_read_back(address):
    assert Address.from_bytes(memoryview(address.to_bytes())) == address


@given(st.binary(max_size=40) | st.builds(lambda a, tail: a.to_bytes() + tail, addresses, st.binary(max_size=3)))
def test_any_bytes_are_an_address_in_canonical_form_or_refused(raw):
    try:
        address = Address.from_bytes(raw)
    except AddressError:
        return
    assert address.to_bytes() == raw


REFUSED_BYTES = {
    "unknown code": "05",
    "IP address too short": "047f0000",
    "port too short": "060f",
    "name of no length": "3500",
    "name with a slash": "3503612f62",
    "name that is not UTF-8": "3501ff",
    "code in a longer form": "e28100" + "00" * 8,
    "code that does not end": "e2",
    "code above 64 bits": "ff" * 9 + "7f",
    "site too short": "e20100000000000011",
    "op shorter than it says": "e4010561",
    "op that is not UTF-8": "e40101ff",
    "peer that is no multihash": "a50302ff00",
    "trailing byte": "e201000000000000001100",
}


@pytest.mark.parametrize("raw", REFUSED_BYTES.values(), ids=REFUSED_BYTES)
def test_other_bytes_are_refused(raw):
    with pytest.raises(AddressError):
        Address.from_bytes(bytes.fromhex(raw))
    with pytest.raises(AddressError):
        parse_site_suffix(bytes.fromhex(raw))


REFUSED_TEXT = [
    "site/17",
    "/site",
    "/",
    "/ip4/127.0.0",
    "/ip4/127.0.0.1/tcp",
    "/ip4/::1",
    "/ip6/127.0.0.1",
    "/ip6/fe80::1%eth0",
    "/tcp/65536",
    "/dns/",
    "/dns",
    "/tls/1",
    "/onion/abc",
    "/site/-1",
    "/site/+1",
    "/site/\u0663",
    "/site/18446744073709551616",
    "/component/4294967296",
    "/p2p/0OIl",
    "/p2p/111",
]


@pytest.mark.parametrize("text", REFUSED_TEXT)
def test_other_text_is_refused(text):
    with pytest.raises(AddressError):
        Address.parse(text)


def test_white_space_around_text_is_ignored():
    assert Address.parse(" /site/1\n") == Address.parse("/site/1")


def test_the_first_segment_of_each_kind_counts():
    address = Address.parse("/site/1/op/a/site/2/component/3/p2p/16uZAbWC1AJvS/op/b")
    assert (address.site, address.op, address.component, address.peer) == (1, "a", 3, PeerId.from_int(7))
    empty = Address()
    assert (empty.site, empty.op, empty.component, empty.peer) == (None,) * 4


def test_a_transport_reads_host_and_port_and_knows_its_own_by_the_names():
    address = Address.parse("/dns/example.org/tcp/443/wss/p2p/16uZAbWC1AJvS")
    assert address.protocols == ("dns", "tcp", "wss", "p2p")
    assert (address.host, address.port, address.peer) == ("example.org", 443, PeerId.from_int(7))
    assert (Address().host, Address().port, Address().protocols) == (None, None, ())


def test_endpoints_read_as_a_well_kept_library_reads_them():
    multiaddr = pytest.importorskip("multiaddr")
    for text, raw in FORMS:
        if text and not {"site", "component", "op"} & set(Address.parse(text).protocols):
            theirs = multiaddr.Multiaddr(text)
            assert theirs.to_bytes().hex() == raw
            assert str(multiaddr.Multiaddr(bytes.fromhex(raw))) == text


@pytest.mark.parametrize("form", ["text", "bytes", "object"])
def test_an_address_may_be_given_in_any_form(form):
    address = Address.parse("/memory/7")
    given = {"text": str(address), "bytes": address.to_bytes(), "object": address}[form]
    assert address_bytes(given) == address.to_bytes()


@pytest.mark.parametrize(
    "segment",
    [
        (SITE, -1),
        (SITE, 2**64),
        (SITE, "1"),
        (COMPONENT, 2**32),
        (P2P, b"x"),
        (OP, 1),
        (1, 1),
        (OP, "\ud800"),
        (6, 65536),
        (4, "1"),
        (41, "::0"),
        (448, ""),
        (53, ""),
    ],
)
def test_a_segment_with_a_value_that_it_cannot_hold_is_refused(segment):
    with pytest.raises(AddressError):
        Address((Segment(*segment),))


@given(st.integers(0, 2**64 - 1))
def test_a_site_suffix_is_the_address_of_one_site(site):
    suffix = site_suffix(site)
    assert suffix == Address((Segment(SITE, site),)).to_bytes()
    assert len(suffix) == 10
    assert parse_site_suffix(suffix) == site


def test_a_site_is_found_behind_other_segments():
    assert parse_site_suffix(Address.parse("/p2p/16uZAbWC1AJvS/site/17").to_bytes()) == 17
    assert parse_site_suffix(Address.parse("/component/1/op/x").to_bytes()) is None
    assert parse_site_suffix(b"") is None


def test_the_address_of_a_peer():
    assert p2p_address(PeerId.from_int(7)) == Address.parse("/p2p/16uZAbWC1AJvS").to_bytes()


PEERS = {
    "identity": ("00080000000000000007", True),
    "any code of 64 bits": ("ffffffffffffffffff01" + "00", True),
    "64 bytes of digest": ("1240" + "00" * 64, True),
    "65 bytes of digest": ("1241" + "00" * 65, False),
    "code in a longer form": ("800002abcd", False),
    "length in a longer form": ("128200abcd", False),
    "code above 64 bits": ("ffffffffffffffffff0200", False),
    "digest too short": ("1202ab", False),
    "trailing byte": ("1201abcd", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("raw", "is_legal"), PEERS.values(), ids=PEERS)
def test_a_peer_id_is_a_multihash_in_its_shortest_form(raw, is_legal):
    if is_legal:
        assert PeerId(bytes.fromhex(raw)).raw.hex() == raw
        return
    with pytest.raises(AddressError):
        PeerId(bytes.fromhex(raw))
