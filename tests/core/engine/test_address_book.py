"""Whom a Node knows, and how it learns where they are."""

from __future__ import annotations

import bb_core as bb
from bb_core import steps
from bb_core.engine import address_book
from bb_core.engine.address_book import AddressBook
from tests.support import AVERAGING, Averaging, peer


def test_peers_come_in_order_of_id_and_by_class() -> None:
    book = AddressBook()
    for number, name in ((3, "a"), (1, "b"), (2, "a")):
        book.add(peer(number), [], name)
    assert book.peers(None) == (peer(1), peer(2), peer(3))
    assert book.peers("a") == (peer(2), peer(3))
    book.forget(peer(2))
    assert book.peers("a") == (peer(3),)


def test_what_is_known_is_not_overwritten_and_the_class_stays() -> None:
    book = AddressBook()
    book.add(peer(1), [], "client")
    book.learn(peer(1), [b"here"])
    book.learn(peer(1), [b"elsewhere"])
    assert book.addresses(peer(1)) == (b"here",)
    assert book.peers("client") == (peer(1),)


def test_strangers_cannot_fill_the_book() -> None:
    book = AddressBook()
    for number in range(address_book.MOST + 10):
        book.learn(peer(number), [b"x"])
    assert len(book.peers(None)) == address_book.MOST


def test_a_peer_is_answered_where_its_envelope_says_that_it_is() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging(n=1))
    coordinator = bb.install(peer(0), [b"door 0"], artefact, ["Averaging"])
    client = bb.install(peer(1), [b"door 1"], artefact, ["Averaging@client"])
    coordinator.add_peer(peer(1), peer_class="client")
    coordinator.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    (sent,) = coordinator.poll(0).steps
    assert isinstance(sent, steps.SendEnvelope)
    assert sent.addresses == ()
    client.receive(sent.data, 0, source=peer(0))
    (answer,) = client.poll(0).steps
    assert answer.addresses == (b"door 0",)
    coordinator.receive(answer.data, 0, source=peer(1), observed=b"seen at 1")
    coordinator.poll(0)
    coordinator.invoke("Averaging", {"round": bb.TRIGGER}, 1)
    (again,) = [s for s in coordinator.poll(1).steps if isinstance(s, steps.SendEnvelope)]
    assert again.addresses == (b"seen at 1",)
