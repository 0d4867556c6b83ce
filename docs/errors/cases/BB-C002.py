"""An artefact is compiled a second time."""

import bb_core as bb


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("y", g.input("x", bb.f32["N"]))


def wrong() -> object:
    return bb.Compiler().compile(bb.Compiler().compile(Right()))


def right() -> object:
    return bb.Compiler().compile(Right().build())
