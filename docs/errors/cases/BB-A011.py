"""A Module calls itself; recording that would never end."""

import bb_core as bb


class Wrong(bb.Module):
    def __init__(self) -> None:
        self.again = self

    def body(self, g: bb.Graph) -> None:
        value = g.input("value", bb.f32["N"])
        # Wrong:
        g.output("next", self.again(g, value=value).next)


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        value = g.input("value", bb.f32["N"])
        g.output("seen", value)
        g.again("value", value, after=bb.syscalls.limit.acquire(g, bb.syscalls.on_trigger(g, value), name="times", n=3))


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
