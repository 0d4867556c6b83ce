"""An input without a type is sent, and types are permissive."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x")
        # Wrong:
        there = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        g.output("there", there)


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        there = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        g.output("there", there)


def wrong() -> object:
    return bb.Compiler().with_permissive_types().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().with_permissive_types().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Right())
