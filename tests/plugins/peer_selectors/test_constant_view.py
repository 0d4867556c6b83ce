"""Never self, never one twice, by the seed alone."""

from __future__ import annotations

import bb_core as bb
from bb_plugins.peer_selectors.constant_view import ConstantView
from tests.plugins.fake_context import FakeContext

VIEW = ConstantView(ConstantView.Config())


def test_a_sample_is_sorted_without_repetition_and_seeded() -> None:
    first, again, other = (VIEW.sample(FakeContext(seed, peers=20), n=5) for seed in (0, 0, 1))
    assert first == again != other
    assert list(first) == sorted(set(first))
    assert len(first) == 5


def test_fewer_peers_than_wanted_are_all_taken() -> None:
    ctx = FakeContext(peers=3)
    assert VIEW.sample(ctx, n=5) == VIEW.current_view(ctx) == bb.PeerList(bb.PeerId.from_int(n) for n in (1, 2, 3))


def test_a_fixed_list_leaves_this_node_out() -> None:
    names = tuple(str(bb.PeerId.from_int(n)) for n in (2, 0, 1, 2))
    view = ConstantView(ConstantView.Config(names)).current_view(FakeContext())
    assert view == bb.PeerList(bb.PeerId.from_int(n) for n in (1, 2))
