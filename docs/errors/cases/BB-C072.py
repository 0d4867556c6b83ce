"""Clients train and answer, and nothing waits for them."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        asked = g.send(go, to=self.cohort.sample(g, n=3, after=go))
        # Wrong:
        answer = g.reply(self.model.params(g, after=asked), to=asked)
        g.output("params", answer)


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        asked = g.send(go, to=self.cohort.sample(g, n=3, after=go))
        answer = g.reply(self.model.params(g, after=asked), to=asked)
        g.output("params", g.stack(g.gather(answer, deadline="30s")))


def wrong() -> object:
    return (
        bb.Compiler()
        .bind(
            {
                "cohort": "bytesandbrains.ConstantView",
                "model": "bytesandbrains.MLP",
                "compute": "bytesandbrains.CpuBackend",
            }
        )
        .compile(Wrong())
    )


def right() -> object:
    return (
        bb.Compiler()
        .bind(
            {
                "cohort": "bytesandbrains.ConstantView",
                "model": "bytesandbrains.MLP",
                "compute": "bytesandbrains.CpuBackend",
            }
        )
        .compile(Right())
    )
