"""A Concrete of one Role is bound to a slot of another."""

import bb_core as bb


class Averaging(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.FedAvg"}).compile(Averaging())


def right() -> object:
    return (
        bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Averaging())
    )
