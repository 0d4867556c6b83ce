"""An option is misspelled."""

import bb_core as bb


class Wrong(bb.Module):
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("start", bb.types.TRIGGER)
        # Wrong:
        loss, _ = self.model.train_epochs(g, self.data, epoch=5, after=start)
        g.output("loss", loss)


class Right(bb.Module):
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("start", bb.types.TRIGGER)
        loss, _ = self.model.train_epochs(g, self.data, epochs=5, after=start)
        g.output("loss", loss)


def wrong() -> object:
    return (
        bb.Compiler()
        .bind(
            {
                "model": "bytesandbrains.MLP",
                "compute": "bytesandbrains.CpuBackend",
                "data": "bytesandbrains.ArrayDataSource",
            }
        )
        .compile(Wrong())
    )


def right() -> object:
    return (
        bb.Compiler()
        .bind(
            {
                "model": "bytesandbrains.MLP",
                "compute": "bytesandbrains.CpuBackend",
                "data": "bytesandbrains.ArrayDataSource",
            }
        )
        .compile(Right())
    )
