"""Peer ids: multihashes, and those that are made of a key."""

from __future__ import annotations

import pytest

from bb_core.errors import AddressError
from bb_core.ids import PeerId

KEY = bytes(range(32))


def test_the_id_of_an_ed25519_key_is_that_of_libp2p() -> None:
    peer = PeerId.from_ed25519(KEY)
    assert peer.raw == bytes.fromhex("002408011220") + KEY
    assert str(peer) == "12D3KooW9pP4Seg3kZYhySpuVjn1RPdQBsUFZKiFxGMGQN5MeL6A"
    assert PeerId.parse(str(peer)) == peer
    assert peer.ed25519 == KEY


def test_ids_of_other_kinds_hold_no_key() -> None:
    assert PeerId.from_int(7).ed25519 is None
    assert PeerId(bytes.fromhex("002408021220") + KEY).ed25519 is None  # another kind of key


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(AddressError, match=f"{length} bytes"):
        PeerId.from_ed25519(bytes(length))
