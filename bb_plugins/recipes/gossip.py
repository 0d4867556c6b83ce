"""Averaging without a server, as a Module."""

from __future__ import annotations

import bb_core as bb


class GossipAveraging(bb.Module):
    """Average over all Nodes by exchanges of two (Jelasity, Montresor & Babaoglu 2005).

    All Nodes are equals. Each asks one of its peers in every period, and both move half-way to one another: who is
    asked at once, who has asked when the answer comes. It begins by itself and does not end.

    Slots:
        peers: PeerSelector; whom to ask.
        average: Aggregator that moves and says by how much, such as GossipMean.

    Outputs:
        estimate: What a Node believes the mean to be, after each of its exchanges.
    """

    peers = bb.PeerSelectorSlot()
    average = bb.AggregatorSlot()

    def __init__(self, period: str = "1s", deadline: str = "2s", reliable: bool = False) -> None:
        """Set how often a Node asks, how long it waits, and whether answers are sent again until they are confirmed.

        Only with reliable answers, and a deadline that leaves time to send them again (30s), does the mean stay
        although Envelopes are lost.
        """
        self.period = period
        self.deadline = deadline
        self.reliable = reliable

    def body(self, g: bb.Graph) -> None:
        """Record one exchange."""
        tick = bb.syscalls.interval(g, period=self.period)
        mine, stats = self.average.aggregate(g, after=tick)
        asked = self.peers.sample(g, n=1, after=tick)
        pushed, pushed_stats = g.send((mine, stats), to=asked)
        # From here on this runs on the peer that is asked.
        moved = self.average.contribute(g, pushed, pushed_stats)
        move, move_stats = self.average.aggregate(g, after=moved)
        pulled, pulled_stats = g.send((move, move_stats), to=pushed.sender, ack=self.reliable)
        # From here on it runs on the Node that has asked,
        self.average.contribute(g, pulled, pulled_stats)
        # and this, once that has been done, in the Frame that asked.
        done = self.average.collect(g, asked, deadline=self.deadline, after=pushed.request)
        estimate, _ = self.average.aggregate(g, after=done)
        g.output("estimate", estimate)
