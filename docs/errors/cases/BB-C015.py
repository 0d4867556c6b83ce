"""An op waits for a value of the invoke and for one that an Envelope brings: they are never there together."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        answer = g.reply(asked, to=asked)
        # Wrong:
        g.output("sum", self.backend.add(g, x, answer))


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        asked = g.send(x, to=self.cohort.sample(g, n=3, after=x))
        answers = g.gather(g.reply(asked, to=asked), deadline="30s")
        g.output("sum", self.backend.add(g, x, g.cast(g.stack(answers), bb.f32)))


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
