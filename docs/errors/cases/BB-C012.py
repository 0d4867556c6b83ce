"""A configuration has an option that the Concrete does not know."""

import bb_core as bb


class Averaging(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return (
        bb.Compiler()
        .bind({"model": bb.use("bytesandbrains.MLP", learning_rat=0.1), "compute": "bytesandbrains.CpuBackend"})
        .compile(Averaging())
    )


def right() -> object:
    return (
        bb.Compiler()
        .bind({"model": bb.use("bytesandbrains.MLP", learning_rate=0.1), "compute": "bytesandbrains.CpuBackend"})
        .compile(Averaging())
    )
