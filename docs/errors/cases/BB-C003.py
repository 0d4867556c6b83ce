"""Two tensors of different elements meet in one op."""

import bb_core as bb


class Wrong(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = g.input("y", bb.f64["N"])
        # Wrong:
        g.output("sum", x + y)


class Right(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = g.input("y", bb.f64["N"])
        g.output("sum", x + g.cast(y, bb.f32))


def wrong() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Right())
