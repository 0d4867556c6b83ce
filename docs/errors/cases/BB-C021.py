"""A stage is put at an anchor that is not there."""

import bb_core as bb


class Averaging(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return bb.Compiler().with_stage(lambda model, state: None, after="type_solve", name="mine")


def right() -> object:
    compiler = bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"})
    return compiler.with_stage(lambda model, state: None, after="type_solver", name="mine").compile(Averaging())
