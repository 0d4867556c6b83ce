"""Two Concretes depend on one another, so that neither could be used first."""

import bb_core as bb


@bb.concrete("docs.Left")
@bb.depends(model="right")
class Left(bb.roles.Model):
    """Asks the other side."""

    def params(self, ctx: bb.Context) -> bb.Tensor:
        raise NotImplementedError


@bb.concrete("docs.Right")
@bb.depends(model="left")
class Other(Left):
    """Asks back."""


class Pair(bb.Module):
    left = bb.ModelSlot()
    right = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("left", self.left.params(g, after=go))
        g.output("right", self.right.params(g, after=go))


def wrong() -> object:
    return bb.Compiler().bind({"left": Left, "right": Other}).compile(Pair())


def right() -> object:
    return (
        bb.Compiler()
        .bind({"left": Left, "right": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .compile(Pair())
    )
