"""A collection wants five answers of three peers."""

import bb_core as bb


class Wrong(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=3, after=go)
        asked = g.send(go, to=clients)
        answer = g.reply(self.model.params(g, after=asked), to=asked)
        # Wrong:
        everyone = g.gather(answer, n=5, deadline="30s")
        g.output("params", g.stack(everyone))


class Right(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=3, after=go)
        asked = g.send(go, to=clients)
        answer = g.reply(self.model.params(g, after=asked), to=asked)
        everyone = g.gather(answer, n=2, deadline="30s")
        g.output("params", g.stack(everyone))


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
