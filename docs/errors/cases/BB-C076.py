"""A Module has a bootstrap, and its parent's bootstrap does not call it."""

import bb_core as bb


class Counting(bb.Module):
    def bootstrap(self, g: bb.Graph) -> None:
        bb.syscalls.metric(g, bb.syscalls.pulse(g), name="started")

    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("x", bb.f32["N"]))


class Wrong(bb.Module):
    def __init__(self) -> None:
        self.part = Counting()

    def bootstrap(self, g: bb.Graph) -> None:
        bb.syscalls.app_notify(g, bb.syscalls.pulse(g), name="up")

    def body(self, g: bb.Graph) -> None:
        g.output("y", self.part(g, x=g.input("x", bb.f32["N"])).y)


class Right(Wrong):
    def bootstrap(self, g: bb.Graph) -> None:
        self.part(g)
        bb.syscalls.app_notify(g, bb.syscalls.pulse(g), name="up")


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
