"""A program asks a Model for what it cannot do."""

import bb_core as bb


@bb.concrete("docs.Fixed")
class Fixed(bb.roles.Model):
    """Predicts, and does not learn."""

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        return batch


class Wrong(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        # Wrong:
        g.output("done", self.model.backward(g, g.input("grad", bb.f32["N"])))


class Right(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("prediction", self.model.forward(g, g.input("batch", bb.f32["N"])))


def wrong() -> object:
    return bb.Compiler().bind({"model": Fixed}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"model": Fixed}).compile(Right())
