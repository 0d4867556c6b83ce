"""Small programs for the tests of the passes."""

from __future__ import annotations

import bb_core as bb
from tests.support import Everyone, Mean, Numbers, NumpyBackend, Weight


class Asking(bb.Module):
    """Sends a value to clients, who answer; the answers are gathered."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        answer = g.reply(self.backend.neg(g, asked), to=asked)
        g.output("all", g.stack(g.gather(answer, deadline="5s")))


ASKING = {"cohort": Everyone, "backend": NumpyBackend}


class Sum(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("z", g.input("x", bb.f32[2]) + g.input("y", bb.f32[2]))


class Twice(bb.Module):
    """One child, two calls."""

    def __init__(self) -> None:
        self.child = Sum()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        g.output("out", self.child(g, y=self.child(g, x=x, y=x).z, x=x).z)


class Gossip(bb.Module):
    """Equals: what is sent runs on the Module's own class."""

    peers = bb.PeerSelectorSlot()
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        pushed = g.send(self.model.params(g, after=go), to=self.peers.sample(g, n=1, after=go), name="push")
        self.model.load_parameters(g, pushed)


GOSSIP = {"peers": Everyone, "model": Weight}


class Greeting(bb.Module):
    """A bootstrap that sends, and a body that does too, over edges of one name."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def bootstrap(self, g: bb.Graph) -> None:
        hello = g.send(bb.syscalls.pulse(g), to=self.cohort.current_view(g), name="hello")
        bb.syscalls.metric(g, hello, name="greeted")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        g.output("there", g.send(x, to=self.cohort.sample(g, n=2, after=x), name="hello"))


GREETING = {"cohort": Everyone}


class Ordered(bb.Module):
    """Three ops on one slot, the last two without an edge between them."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        g.output("loaded", self.model.load_parameters(g, x))
        g.output("added", self.model.apply_delta(g, x))
        g.output("params", self.model.params(g, after=x))


ORDERED = {"model": Weight}
AVERAGING = {"cohort": Everyone, "model": Weight, "data": Numbers, "aggregator": Mean}


class Careful(bb.Module):
    """One Send that asks for a gate, one that does not."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        peers = self.cohort.sample(g, n=2, after=x)
        g.output("a", g.send(x, to=peers, gates=["backoff"]))
        g.output("b", g.send(x, to=peers))
