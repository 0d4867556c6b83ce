"""A value is computed and read by nobody."""

import bb_core as bb


class Wrong(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        # Wrong:
        x * 2
        g.output("y", x)


class Right(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        g.output("y", x * 2)


def wrong() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"backend": "bytesandbrains.CpuBackend"}).compile(Right())
