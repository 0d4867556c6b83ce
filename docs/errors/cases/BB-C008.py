"""One slot is bound twice."""

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
        .bind_model("model", "bytesandbrains.MLP")
    )


def right() -> object:
    return (
        bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Averaging())
    )
