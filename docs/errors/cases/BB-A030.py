"""A method is misspelled."""

import bb_core as bb


class Wrong(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["B", 784])
        # Wrong:
        g.output("y", self.model.foward(g, x))


class Right(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["B", 784])
        g.output("y", self.model.forward(g, x))


def wrong() -> object:
    return Wrong().build()


def right() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Right())
