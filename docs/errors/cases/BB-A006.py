"""What is sent to is no peer."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        # Wrong:
        back = g.send(x, to=x)
        g.output("back", back)


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        back = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        g.output("back", back)


def wrong() -> object:
    return bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView"}).compile(Right())
