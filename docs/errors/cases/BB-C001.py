"""A program was built where a plugin is installed, and is compiled where it is not."""

import bb_core as bb


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("y", bb.syscalls.pass_through(g, g.input("x", bb.f32["N"])))


def wrong() -> object:
    built = Right().build()
    built.functions[0].node[0].op_type = "PasThrough"  # as if it came from another version
    return bb.Compiler().compile(built)


def right() -> object:
    return bb.Compiler().compile(Right().build())
