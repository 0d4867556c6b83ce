"""Text has a type here, and nothing says how it is written on the wire."""

import bb_core as bb

TEXT = bb.types.declare("docs.text", python_class=str)


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        title = g.input("title", TEXT)
        # Wrong:
        there = g.send(title, to=self.cohort.sample(g, n=3, after=title))
        g.output("there", there)


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        title = g.input("title", bb.types.BYTES)
        there = g.send(title, to=self.cohort.sample(g, n=3, after=title))
        g.output("there", there)


def wrong() -> object:
    return bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Right())
