"""Whom a Node knows, and how it learns where they are."""

from __future__ import annotations

import pytest

import bb_core as bb
from bb_core import steps
from bb_core.engine import address_book
from bb_core.engine.address_book import MOST_EACH, TTL, AddressBook, Origin
from bb_core.errors import AddressError, RoleError, UsageError
from bb_core.wire.address import Address
from tests.support import AVERAGING, Averaging, peer


def door(number: int) -> bytes:
    return Address.parse(f"/memory/{number}").to_bytes()


DOORS = [door(n) for n in range(2 * MOST_EACH)]


def learn(book: AddressBook, number: int, *doors: int, origin: Origin = Origin.CLAIMED, now: int = 0) -> None:
    book.learn(peer(number), [DOORS[d] for d in doors], origin, now)


def places(book: AddressBook, number: int, now: int = 0) -> list[int]:
    return [DOORS.index(raw) for raw in book.addresses(peer(number), now)]


def test_peers_come_in_order_of_id_and_by_class() -> None:
    book = AddressBook()
    for number, name in ((3, "a"), (1, "b"), (2, "a")):
        book.add(peer(number), [], name)
    assert book.peers(None, 0) == (peer(1), peer(2), peer(3))
    assert book.peers("a", 0) == (peer(2), peer(3))
    book.forget(peer(2))
    assert book.peers("a", 0) == (peer(3),)


def test_what_is_learnt_comes_after_what_is_given_and_the_class_stays() -> None:
    book = AddressBook()
    book.add(peer(1), [DOORS[0]], "client")
    learn(book, 1, 1, origin=Origin.OBSERVED)
    learn(book, 1, 2)
    book.insert(peer(1), [DOORS[3]], 0)
    assert places(book, 1) == [0, 3, 2, 1]
    assert book.peers("client", 0) == (peer(1),)


def test_a_learnt_address_that_the_program_confirms_is_believed_more_and_stays() -> None:
    book = AddressBook()
    learn(book, 1, 0, 1)
    book.insert(peer(1), [DOORS[1]], 0)
    assert places(book, 1) == [1, 0]
    assert places(book, 1, now=TTL) == [1]


def test_what_is_learnt_is_forgotten_half_an_hour_after_it_was_last_heard() -> None:
    book = AddressBook()
    learn(book, 1, 0)
    learn(book, 1, 1)
    learn(book, 1, 0, now=TTL // 2)
    assert places(book, 1, now=TTL - 1) == [0, 1]
    assert places(book, 1, now=TTL) == [0]
    assert places(book, 1, now=2 * TTL) == []
    assert book.peers(None, 2 * TTL) == ()


def test_a_peer_that_was_added_stays_when_what_was_learnt_of_it_is_forgotten() -> None:
    book = AddressBook()
    book.add(peer(1), [], "client")
    learn(book, 1, 0)
    assert places(book, 1, now=TTL) == []
    assert book.peers("client", TTL) == (peer(1),)


def test_where_a_peer_was_not_reached_comes_last_until_it_is() -> None:
    book = AddressBook()
    book.add(peer(1), DOORS[:3], "")
    book.reached(peer(1), DOORS[0], ok=False)
    assert places(book, 1) == [1, 2, 0]
    book.reached(peer(1), b"", ok=False)
    assert places(book, 1) == [0, 1, 2]
    book.reached(peer(1), DOORS[2], ok=True)
    assert places(book, 1) == [2, 0, 1]
    book.reached(peer(1), DOORS[1], ok=True)
    assert places(book, 1) == [1, 2, 0]


def test_a_peer_cannot_claim_more_than_so_many_addresses_nor_displace_what_was_given() -> None:
    book = AddressBook()
    book.add(peer(1), DOORS[:2], "")
    for number in range(2, len(DOORS)):
        learn(book, 1, number, now=number)
    found = places(book, 1)
    assert len(found) == MOST_EACH
    assert found[:2] == [0, 1]
    assert len(DOORS) - 1 in found  # the latest claim is there


def test_the_program_cannot_give_a_peer_more_than_so_many_addresses() -> None:
    book = AddressBook()
    book.insert(peer(1), DOORS[:MOST_EACH], 0)
    book.insert(peer(1), DOORS[:1], 0)
    with pytest.raises(RoleError, match=f"{MOST_EACH + 1} addresses"):
        book.insert(peer(1), [DOORS[MOST_EACH]], 0)
    assert len(book.addresses(peer(1), 0)) == MOST_EACH


def test_what_is_no_address_is_not_learnt() -> None:
    book = AddressBook()
    book.learn(peer(1), [b"", b"\xff", b"door"], Origin.CLAIMED, 0)
    assert book.peers(None, 0) == ()


def test_strangers_cannot_fill_the_book_for_ever() -> None:
    book = AddressBook()
    for number in range(address_book.MOST + 10):
        learn(book, number, 0)
    assert len(book.peers(None, 0)) == address_book.MOST
    with pytest.raises(RoleError, match="full"):
        book.insert(peer(10**6), DOORS[:1], 0)
    learn(book, 10**6, 0, now=TTL)  # the strangers have not been heard of since
    assert book.peers(None, TTL) == (peer(10**6),)


def test_a_book_is_as_it_was_after_a_snapshot() -> None:
    book, other = AddressBook(), AddressBook()
    book.add(peer(2), DOORS[:2], "client")
    learn(book, 1, 3, now=5)
    book.reached(peer(2), DOORS[0], ok=False)
    other.load(book.state())
    assert other.state() == book.state()
    assert places(other, 2) == [1, 0]
    assert places(other, 1, now=TTL + 4) == [3]
    assert places(other, 1, now=TTL + 5) == []


def test_a_peer_is_answered_where_its_envelope_says_that_it_is() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging(n=1))
    coordinator = bb.install(peer(0), ["/memory/0"], artefact, ["Averaging"])
    client = bb.install(peer(1), [Address.parse("/memory/1")], artefact, ["Averaging@client"])
    coordinator.add_peer(peer(1), peer_class="client")
    coordinator.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    (sent,) = coordinator.poll(0).steps
    assert isinstance(sent, steps.SendEnvelope)
    assert sent.addresses == ()
    client.receive(sent.data, 0, source=peer(0))
    (answer,) = client.poll(0).steps
    assert answer.addresses == (DOORS[0],)
    coordinator.receive(answer.data, 0, source=peer(1), observed="/memory/9")
    coordinator.poll(0)
    coordinator.invoke("Averaging", {"round": bb.TRIGGER}, 1)
    (again,) = [s for s in coordinator.poll(1).steps if isinstance(s, steps.SendEnvelope)]
    assert again.addresses == (DOORS[1], DOORS[9])  # what it claims, then where it was seen


def test_the_address_that_worked_comes_first_the_next_time() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging(n=1))
    node = bb.install(peer(0), [], artefact, ["Averaging"])
    node.add_peer(peer(1), ["/memory/1", "/memory/2"], peer_class="client")

    def send(now: int) -> steps.SendEnvelope:
        node.invoke("Averaging", {"round": bb.TRIGGER}, now)
        (sent,) = [s for s in node.poll(now).steps if isinstance(s, steps.SendEnvelope)]
        return sent

    first = send(0)
    assert first.addresses == (DOORS[1], DOORS[2])
    node.sent(first.id, True, 1, address=DOORS[2])
    node.poll(1)
    assert send(2).addresses == (DOORS[2], DOORS[1])


def test_what_a_host_gives_as_an_address_must_be_one() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging(n=1))
    with pytest.raises(AddressError):
        bb.install(peer(0), [b"door"], artefact, ["Averaging"])
    with pytest.raises(UsageError, match="9 addresses"):
        bb.install(peer(0), DOORS[:9], artefact, ["Averaging"])
    node = bb.install(peer(0), [], artefact, ["Averaging"])
    with pytest.raises(AddressError):
        node.add_peer(peer(1), ["example.org:80"])
    with pytest.raises(AddressError):
        node.receive(b"", 0, source=peer(1), observed=b"door")
