"""An interval of no length would never let anything else run."""

import bb_core as bb


class Wrong(bb.Module):
    def body(self, g: bb.Graph) -> None:
        # Wrong:
        g.output("tick", bb.syscalls.interval(g, period="0s"))


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        g.output("tick", bb.syscalls.interval(g, period="1s"))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
