"""Peers that come out of nowhere: nothing says of which class they are."""

import bb_core as bb


class Wrong(bb.Module):
    def body(self, g: bb.Graph) -> None:
        peers = g.cast(g.input("parts"), bb.types.PEER_LIST)
        # Wrong:
        back = g.send(g.input("x", bb.f32["N"]), to=peers)
        g.output("back", back)


class Right(bb.Module):
    def body(self, g: bb.Graph) -> None:
        peers = g.input("peers", bb.types.PEER_LIST)
        back = g.send(g.input("x", bb.f32["N"]), to=peers)
        g.output("back", back)


def wrong() -> object:
    return bb.Compiler().compile(Wrong())


def right() -> object:
    return bb.Compiler().compile(Right())
