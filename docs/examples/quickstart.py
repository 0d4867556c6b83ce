"""The smallest useful program: record it, compile it, bring up a Node, and step it by hand."""

import sys

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent


class Scale(bb.Module):
    """Doubles what it is given, and adds one."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record the computation; nothing is computed here."""
        x = g.input("x", bb.f32["N"])
        g.output("y", x * 2 + 1)


def main() -> int:
    """Run it twice: by hand, and by `bb.run`."""
    bindings = {"backend": "bytesandbrains.CpuBackend"}
    artefact = bb.Compiler().bind(bindings).compile(Scale())  # an onnx.ModelProto: save it, ship it, open it in Netron

    node = bb.install(bb.PeerId.from_int(0), [], artefact, targets=["Scale"])
    node.invoke("Scale", {"x": np.array([1, 2, 3], np.float32)}, now=0)  # takes in; nothing runs yet
    result = node.poll(now=0)  # runs what can run, and says what has happened
    by_hand = [step.value for step in result.steps if isinstance(step, AppEvent)]

    by_run = bb.run(Scale(), bindings=bindings, peers={}, inputs={"x": np.array([4, 5], np.float32)}).metrics[0]["y"]
    print("by hand:", by_hand[0], " by bb.run:", by_run)
    good = by_hand[0].tolist() == [3, 5, 7] and by_run.tolist() == [9, 11]
    print("quickstart:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
