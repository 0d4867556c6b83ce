"""A slot has no Concrete."""

import bb_core as bb


class Wrong(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        # Wrong:
        g.output("done", self.model.load_parameters(g, params))


class Right(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Right())
