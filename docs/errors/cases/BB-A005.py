"""A value of one Module is used in another without being passed in."""

import bb_core as bb


class Child(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("x", bb.f32["N"]) * 2)


class LeakingChild(Child):
    def __init__(self) -> None:
        self.outer: bb.Output | None = None

    def body(self, g: bb.Graph) -> None:
        # Wrong:
        g.output("y", self.backend.mul(g, self.outer, 2))


class Wrong(bb.Module):
    def __init__(self) -> None:
        self.child = LeakingChild()

    def body(self, g: bb.Graph) -> None:
        self.child.outer = g.input("x", bb.f32["N"])
        g.output("y", self.child(g).y)


class Right(bb.Module):
    def __init__(self) -> None:
        self.child = Child()

    def body(self, g: bb.Graph) -> None:
        g.output("y", self.child(g, x=g.input("x", bb.f32["N"])).y)


def wrong() -> object:
    return bb.Compiler().bind({"child.backend": "bytesandbrains.CpuBackend"}).compile(Wrong())


def right() -> object:
    return bb.Compiler().bind({"child.backend": "bytesandbrains.CpuBackend"}).compile(Right())
