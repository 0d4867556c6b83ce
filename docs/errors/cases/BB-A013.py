"""A slot is made in `__init__`, where it has no name."""

import bb_core as bb


class Wrong(bb.Module):
    def __init__(self) -> None:
        self.model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        # Wrong:
        g.output("params", self.model.params(g, after=go))


class Right(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("params", self.model.params(g, after=go))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Right())
