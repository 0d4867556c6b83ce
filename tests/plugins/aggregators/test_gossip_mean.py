"""What `GossipMean` does that a whole program of Nodes seldom does: see test_simulator.py for the rest."""

from __future__ import annotations

import numpy as np

import bb_core as bb
from bb_core.errors import QuorumNotReached
from bb_core.testing import FakeContext
from bb_plugins.aggregators.gossip_mean import GossipMean


def test_reset_begins_at_the_start_and_fails_what_is_open() -> None:
    mean = GossipMean(GossipMean.Config(start=1.0))
    ctx = FakeContext(peers=2)
    ctx.source = bb.PeerId.from_int(1)
    mean.contribute(ctx, np.array([5.0], np.float32), bb.Record())
    ctx.requests = (7, 8)
    later = mean.collect(ctx, bb.PeerList(map(bb.PeerId.from_int, (1, 2))))
    mean.reset(ctx)
    assert isinstance(later.error, QuorumNotReached)
    assert ctx.closed == [7, 8]
    params, stats = mean.aggregate(ctx)
    assert (params.tolist(), stats["exchanges"]) == ([1.0], 0)
