"""The branch of an If asks a Model, which only a whole program can."""

import bb_core as bb


class Wrong(bb.Module):
    backend = bb.BackendSlot()
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = self.backend.if_(
            g,
            g.input("use_model", bb.bool_[()]),
            # Wrong:
            then_branch=lambda: self.model.params(g),
            else_branch=lambda: x,
        )
        g.output("y", y)


class Right(bb.Module):
    backend = bb.BackendSlot()
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        params = self.model.params(g, after=x)
        g.output("y", g.cast(params, bb.f32))
        g.output("given", g.input("use_model", bb.bool_[()]))


def wrong() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"model": "bytesandbrains.MLP", "compute": "bytesandbrains.CpuBackend"}).compile(Right())
