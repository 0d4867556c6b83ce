"""An input is declared and read by nobody."""

import bb_core as bb


class Wrong(bb.Module):
    def body(self, g: bb.Graph) -> None:
        # Wrong:
        g.input("learning_rate", bb.f32[()])
        g.output("y", g.input("x", bb.f32["N"]))


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("x", bb.f32["N"]))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
