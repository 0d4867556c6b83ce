"""One Module, bound to Concretes of 32 and of 64 bits; a type of one's own; and a mismatch that does not compile."""

import sys
from typing import Annotated

import numpy as np

import bb_core as bb
from bb_core.errors import EdgeTypeMismatch
from bb_core.ir.proto import value_types
from bb_core.steps import AppEvent

TEXT = bb.types.declare("examples.text", python_class=str)  # any Python class can be the class of a type


@bb.concrete("examples.Narrow")
class Narrow(bb.roles.Model):
    """Parameters of 32 bits: the annotations narrow the Role's ports."""

    def params(self, ctx: bb.Context) -> Annotated[bb.Tensor, bb.f32["D"]]:
        """Give them."""
        return np.array([1.5], np.float32)

    def load_parameters(self, ctx: bb.Context, params: Annotated[bb.Tensor, bb.f32["D"]]) -> None:
        """Take them."""


@bb.concrete("examples.Wide")
class Wide(bb.roles.Model):
    """Parameters of 64 bits."""

    def params(self, ctx: bb.Context) -> Annotated[bb.Tensor, bb.f64["D"]]:
        """Give them."""
        return np.array([2.5], np.float64)

    def load_parameters(self, ctx: bb.Context, params: Annotated[bb.Tensor, bb.f64["D"]]) -> None:
        """Take them."""


class Doubled(bb.Module):
    """Doubles a Model's parameters, of whatever elements they are."""

    model = bb.ModelSlot()
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it; the number takes the elements that the Model has."""
        params = self.model.params(g, after=g.input("go", bb.types.TRIGGER))
        g.output("twice", params + params)
        g.output("title", g.cast(g.input("name"), TEXT))


class Handing(bb.Module):
    """Hands one Model's parameters to another, on other peers."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    mine = bb.ModelSlot()
    theirs = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        go = g.input("go", bb.types.TRIGGER)
        self.theirs.load_parameters(g, g.send(self.mine.params(g, after=go), to=self.cohort.sample(g, n=1, after=go)))


def doubled(model: type[bb.roles.Model]) -> tuple[str, str, object]:
    """The solved type, and what a Node gives, with one Model or the other."""
    artefact = bb.Compiler().bind({"model": model, "backend": "bytesandbrains.CpuBackend"}).compile(Doubled())
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Doubled"])
    node.invoke("Doubled", {"go": bb.TRIGGER, "name": "weights"}, 0)
    given = {s.port: s.value for s in node.poll(0).steps if isinstance(s, AppEvent)}
    types = value_types(artefact.functions[0])
    return (
        str(types["twice"]),
        str(types["title"]),
        (given["twice"].dtype.name, given["twice"].tolist(), given["title"]),
    )


def main() -> int:
    """Bind both, then mix them."""
    narrow, wide = doubled(Narrow), doubled(Wide)
    print("narrow:", *narrow)
    print("wide:  ", *wide)
    try:
        bb.Compiler().bind({"cohort": "bytesandbrains.ConstantView", "mine": Wide, "theirs": Narrow}).compile(Handing())
        refused = ""
    except EdgeTypeMismatch as error:
        refused = str(error)
        print(refused)
    good = narrow == ("f32[D]", "examples.text", ("float32", [3.0], "weights"))
    good = good and wide == ("f64[D]", "examples.text", ("float64", [5.0], "weights"))
    good = good and "f32[D]" in refused and "f64[D]" in refused and "polymorphic_types.py" in refused
    print("polymorphic_types:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
