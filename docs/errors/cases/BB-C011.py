"""A Concrete depends on a slot that nobody has bound."""

import bb_core as bb


@bb.concrete("docs.NeedsCompute")
@bb.depends(backend="compute")
class NeedsCompute(bb.roles.Model):
    """Computes on the Backend in the slot `compute`."""

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        ctx.dependency("compute")


class Loading(bb.Module):
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = g.input("params", bb.f32["D"])
        # Wrong:
        g.output("done", self.model.load_parameters(g, params))


def wrong() -> object:
    return bb.Compiler().bind({"model": NeedsCompute}).compile(Loading())


def right() -> object:
    return bb.Compiler().bind({"model": NeedsCompute, "compute": "bytesandbrains.CpuBackend"}).compile(Loading())
