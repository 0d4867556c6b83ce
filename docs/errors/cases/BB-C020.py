"""A pass that makes a program safe is left out."""

import bb_core as bb


class Asking(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        # Wrong:
        g.output("there", g.send(x, to=self.cohort.sample(g, n=3, after=x)))


def compiler() -> bb.Compiler:
    return bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView"})


def wrong() -> object:
    return compiler().without_stage("insert_dedup_gate_rx").compile(Asking())


def right() -> object:
    return compiler().compile(Asking())
