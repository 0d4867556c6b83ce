"""Two slots whose paths hash to one 32-bit component id: one chance in four thousand million for a pair."""

import bb_core as bb


class Wrong(bb.Module):
    model_66384 = bb.ModelSlot()
    model_86166 = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("one", self.model_66384.params(g, after=go))
        g.output("other", self.model_86166.params(g, after=go))


class Right(bb.Module):
    model_66384 = bb.ModelSlot()
    model_renamed = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        g.output("one", self.model_66384.params(g, after=go))
        g.output("other", self.model_renamed.params(g, after=go))


def wrong() -> object:
    return bb.Compiler().compile(Wrong(), late=["model_66384", "model_86166"])


def right() -> object:
    return bb.Compiler().compile(Right(), late=["model_66384", "model_renamed"])
