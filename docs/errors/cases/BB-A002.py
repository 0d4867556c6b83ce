"""Two inputs of one name could not be told apart by whoever gives them."""

import bb_core as bb


class Wrong(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        # Wrong:
        y = g.input("x", bb.f32["N"])
        g.output("sum", x + y)


class Right(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = g.input("y", bb.f32["N"])
        g.output("sum", x + y)


def wrong() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Right())
