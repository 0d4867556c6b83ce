"""One Model's parameters are of 64 bits, and the Model that gets them takes 32."""

from typing import Annotated

import bb_core as bb


@bb.concrete("docs.Wide")
class Wide(bb.roles.Model):
    """Has parameters of 64 bits."""

    def params(self, ctx: bb.Context) -> Annotated[bb.Tensor, bb.f64["D"]]:
        raise NotImplementedError


@bb.concrete("docs.Narrow")
class Narrow(bb.roles.Model):
    """Takes parameters of 32 bits."""

    def load_parameters(self, ctx: bb.Context, params: Annotated[bb.Tensor, bb.f32["D"]]) -> None:
        raise NotImplementedError


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    mine = bb.ModelSlot()
    theirs = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        params = g.send(self.mine.params(g, after=go), to=self.cohort.sample(g, n=3, after=go))
        # Wrong:
        self.theirs.load_parameters(g, params)


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    mine = bb.ModelSlot()
    theirs = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        narrow = g.cast(self.mine.params(g, after=go), bb.f32)
        params = g.send(narrow, to=self.cohort.sample(g, n=3, after=go))
        self.theirs.load_parameters(g, params)


def wrong() -> object:
    return (
        bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView", "mine": Wide, "theirs": Narrow}).compile(Wrong())
    )


def right() -> object:
    return (
        bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView", "mine": Wide, "theirs": Narrow}).compile(Right())
    )
