"""A dot in a name would be read as a path."""

import bb_core as bb


class Wrong(bb.Module):
    def body(self, g: bb.Graph) -> None:
        # Wrong:
        g.output("y", g.input("my.input", bb.f32["N"]))


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("my_input", bb.f32["N"]))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
