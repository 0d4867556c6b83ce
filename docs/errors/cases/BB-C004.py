"""A value of the coordinator is added to one of a client."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        there = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        # Wrong:
        g.output("sum", self.backend.add(g, x, there))


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        there = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        g.output("sum", self.backend.add(g, there, there))


def wrong() -> object:
    return (
        bb.Compiler()
        .bind({"cohort": "bytesandbrains.ConstantView", "backend": "bytesandbrains.CpuBackend"})
        .compile(Wrong())
    )


def right() -> object:
    return (
        bb.Compiler()
        .bind({"cohort": "bytesandbrains.ConstantView", "backend": "bytesandbrains.CpuBackend"})
        .compile(Right())
    )
