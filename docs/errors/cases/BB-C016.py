"""A target is named that the program does not have."""

import bb_core as bb


class Averaging(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return (
        bb.Compiler()
        .bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .compile(Averaging(), targets=["Averaging@client"])
    )


def right() -> object:
    return (
        bb.Compiler()
        .bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
        .compile(Averaging(), targets=["Averaging"])
    )
