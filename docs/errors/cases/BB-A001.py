"""A body that records nothing has nothing to run."""

import bb_core as bb


class Wrong(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.input("x", bb.f32["N"])


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("x", bb.f32["N"]))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
