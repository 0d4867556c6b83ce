"""TLS between hosts: who is let in, and who is not."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

import bb_core as bb
from bb_core.errors import ConfigError, LoadError, UsageError
from bb_plugins.hosts.asyncio import AsyncioHost
from bb_plugins.transports.certificates import AUTHORITY, credentials_in, issue, make_authority
from bb_plugins.transports.interface import Credentials
from bb_plugins.transports.tls import TlsTransport, own_peer
from tests.plugins.hosts.support import QUICK, SECONDS, a_round, by_loopback, foreign, in_loop, node
from tests.plugins.hosts.test_tcp import talk

TLS = "/ip4/127.0.0.1/tcp/0/tls"


def host(number: int, clients: int, credentials: Credentials) -> AsyncioHost:
    """A host whose Node is who its certificate says."""
    return AsyncioHost(node(number, clients, id_=own_peer(credentials)), credentials=credentials, config=QUICK)


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three", "four"]], ids=["two", "five"])
def test_rounds_give_what_they_give_by_loopback(federation: Path, names: list[str]) -> None:
    @in_loop
    async def test() -> None:
        count = len(names)
        async with host(0, count, credentials_in(federation, "own")) as own:
            clients = []
            try:
                for number, name in enumerate(names, 1):
                    client = host(number, count, credentials_in(federation, name))
                    await client.start()
                    clients.append(client)
                    own.add_peer(client.node.peer_id, [await client.listen(TLS)], peer_class="client")
                found = [float((await a_round(own))["params"][0]) for _ in range(2)]
                assert found == by_loopback(count, 2)
            finally:
                for client in clients:
                    await client.close()

    test()


@pytest.mark.parametrize("bad", ["expired", "foreign"])
@pytest.mark.parametrize("dials", ["good", "bad"])
def test_bad_certificates_are_refused(
    federation: Path, strangers: Path, bad: str, dials: str, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = foreign(federation, strangers) if bad == "foreign" else credentials_in(federation, "expired")

    @in_loop
    async def test() -> None:
        async with host(0, 1, credentials_in(federation, "own")) as own, host(1, 1, theirs) as other:
            caller, called = (own, other) if dials == "good" else (other, own)
            caller.add_peer(called.node.peer_id, [await called.listen(TLS)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []
            assert other.links.connected == []

    with caplog.at_level(logging.WARNING):
        test()
    word = "expired" if bad == "expired" else "issuer"
    assert any("certificate" in r.getMessage() and word in r.getMessage() for r in caplog.records)


def test_an_authority_that_is_not_believed_is_refused_by_the_caller(federation: Path, strangers: Path) -> None:
    @in_loop
    async def test() -> None:
        async with (
            host(0, 1, credentials_in(strangers, "one")) as own,
            host(1, 1, credentials_in(federation, "one")) as other,
        ):
            own.add_peer(other.node.peer_id, [await other.listen(TLS)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert other.links.connected == []

    test()


def test_a_member_cannot_take_another_members_name(federation: Path) -> None:
    @in_loop
    async def test() -> None:
        two = own_peer(credentials_in(federation, "two"))
        liar = AsyncioHost(node(1, 1, id_=two), credentials=credentials_in(federation, "one"), config=QUICK)
        async with host(0, 1, credentials_in(federation, "own")) as own, liar:
            liar.add_peer(own.node.peer_id, [await own.listen(TLS)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


def test_the_member_at_an_address_must_be_the_one_that_was_meant(federation: Path) -> None:
    @in_loop
    async def test() -> None:
        async with (
            host(0, 1, credentials_in(federation, "own")) as own,
            host(1, 1, credentials_in(federation, "one")) as other,
        ):
            own.add_peer(own_peer(credentials_in(federation, "two")), [await other.listen(TLS)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


def test_garbage_and_callers_without_a_certificate_are_refused(federation: Path) -> None:
    @in_loop
    async def test() -> None:
        async with host(0, 1, credentials_in(federation, "own")) as own:
            address = await own.listen(TLS)
            await talk(address, b"GET / HTTP/1.1\r\n\r\n")
            await own.until(lambda: own.links.counters["refused: HandshakeRefused"] == 1, SECONDS)
            bare = ssl.create_default_context(cafile=str(federation / f"{AUTHORITY}.crt"))
            bare.check_hostname = False
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=bare, server_hostname="")
            with suppress(ssl.SSLError):  # the alert, or only the end
                assert await reader.read() == b""
            writer.close()
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] == 1, SECONDS)

    test()


def test_older_tls_is_refused(federation: Path) -> None:
    @in_loop
    async def test() -> None:
        async with host(0, 1, credentials_in(federation, "own")) as own:
            address = await own.listen(TLS)
            old = ssl.create_default_context(cafile=str(federation / f"{AUTHORITY}.crt"))
            old.check_hostname = False
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(address.host, address.port, ssl=old, server_hostname="")
            await own.until(lambda: own.links.counters["refused: HandshakeRefused"] == 1, SECONDS)

    test()


def test_with_credentials_nothing_goes_out_unprotected(federation: Path) -> None:
    @in_loop
    async def test() -> None:
        async with host(0, 1, credentials_in(federation, "own")) as own:
            with pytest.raises(UsageError, match="does not use /tcp"):
                await own.listen("/ip4/127.0.0.1/tcp/0")
            assert not own.links.serves(bb.Address.parse("/ip4/127.0.0.1/tcp/9"))

    test()


def test_keys_are_for_their_owner_alone(federation: Path) -> None:
    for path in federation.glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_certificate_names_the_peer_of_its_key(federation: Path) -> None:
    peer = own_peer(credentials_in(federation, "one"))
    assert peer.ed25519 is not None
    assert str(peer).startswith("12D3KooW")  # what libp2p writes for an Ed25519 key


def test_names_are_not_taken_twice_and_files_are_looked_for(federation: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        issue(federation, "one")
    with pytest.raises(UsageError, match="exists already"):
        make_authority(federation)
    for name in ("../one", "a" * 65):
        with pytest.raises(UsageError, match="cannot be called"):
            issue(federation, name)
    with pytest.raises(UsageError, match="for 99999999 days"):
        issue(federation, "long", days=99_999_999)
    there = (tmp_path / "authority.crt", tmp_path / "one.crt")
    for path in there:
        path.write_text("kept")
    with pytest.raises(UsageError, match=r"authority\.crt exists already"):
        make_authority(tmp_path)
    with pytest.raises(UsageError, match=r"one\.crt exists already"):
        issue(tmp_path, "one")
    for path in there:
        assert path.read_text() == "kept"
        path.unlink()
    with pytest.raises(LoadError, match="no authority"):
        issue(tmp_path, "one")
    with pytest.raises(ConfigError, match="cannot be read"):
        TlsTransport(credentials_in(tmp_path, "one"))
    with pytest.raises(ConfigError, match="bb certs init"):
        TlsTransport(None)
    with pytest.raises(ConfigError, match="no certificate"):
        own_peer(credentials_in(tmp_path, "one"))
