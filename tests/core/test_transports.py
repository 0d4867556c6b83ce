"""The hook for transports: found by an address's segments, taken over whole, two owners of one named."""

from __future__ import annotations

import pytest

from bb_core.errors import DuplicateRegistration, InvalidConcrete, PluginLoadError
from bb_core.registry import Transports
from bb_core.wire.address import Address


def registered() -> Transports:
    transports = Transports(owner="bb-one 1.0 (a)")
    transports.add("one.tcp", "one:Tcp", protocols=("tcp",))
    transports.add("one.tls", "one:Tls", protocols=("tcp", "tls"))
    return transports


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/ip4/10.0.0.7/tcp/4001", "one.tcp"),
        ("/dns/example.org/tcp/4001/tls", "one.tls"),
        ("/ip6/::1/tcp/4001/tls/p2p/16uZAbWC1AJvK", "one.tls"),
        ("/ip4/10.0.0.7/udp/4001", None),
        ("/ip4/10.0.0.7", None),
    ],
)
def test_a_transport_is_found_by_the_segments_of_an_address(address: str, name: str | None) -> None:
    found = registered().find(Address.parse(address).protocols)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(("name", "protocols"), [("two.tcp", ("tcp",)), ("one.tls", ("udp",))])
def test_two_owners_of_one_transport_are_both_named(name: str, protocols: tuple[str, ...]) -> None:
    transports, other = registered(), Transports(owner="bb-two 2.0 (b)")
    other.add("two.udp", "two:Udp", protocols=("udp", "quic"))
    other.add(name, "two:Other", protocols=protocols)
    with pytest.raises(DuplicateRegistration) as caught:
        transports.take(other)
    assert "bb-one 1.0" in str(caught.value)
    assert "bb-two 2.0" in str(caught.value)
    assert [e.name for e in transports] == ["one.tcp", "one.tls"]


def test_a_target_without_a_class_is_refused() -> None:
    with pytest.raises(InvalidConcrete, match="module:Class"):
        Transports().add("x.tcp", "x.tcp", protocols=("tcp",))


def test_a_transport_that_cannot_be_imported_names_its_owner() -> None:
    transports = registered()
    (entry,) = [e for e in transports if e.name == "one.tcp"]
    with pytest.raises(PluginLoadError, match=r"bb-one 1\.0"):
        transports.resolve(entry)
