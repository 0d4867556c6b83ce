"""A stage of one's own between the compiler's passes: it finds x + x and writes x * 2 instead."""

import sys

import numpy as np
import onnx

import bb_core as bb
from bb_core.compiler.state import State
from bb_core.errors import IncompleteProgram
from bb_core.steps import AppEvent


class Doubling(bb.Module):
    """Adds a value to itself, in a child and outside."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        x = g.input("x", bb.f32["N"])
        g.output("y", (x + x) + 1)


def double_by_product(model: onnx.ModelProto, state: State) -> None:
    """Replace every sum of a value with itself. A stage sees the whole model, and changes it in place."""
    for function in model.functions:
        for node in list(function.node):
            if node.op_type == "Add" and node.input[0] == node.input[1]:
                two = onnx.helper.make_node("Constant", [], [f"{node.name}.two"], f"{node.name}/two")
                two.attribute.append(
                    onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(np.asarray(2, np.float32)))
                )
                node.op_type, node.input[1] = "Mul", two.output[0]
                function.node.insert(list(function.node).index(node), two)
                state.counts["sums replaced"] += 1


def ops(artefact: onnx.ModelProto) -> list[str]:
    """The tensor ops of an artefact."""
    return [n.op_type for n in artefact.functions[0].node if n.domain == "" and n.op_type != "Constant"]


def run(artefact: onnx.ModelProto) -> list[float]:
    """What the program gives for 1, 2, 3."""
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Doubling"])
    node.invoke("Doubling", {"x": np.array([1, 2, 3], np.float32)}, 0)
    return next(s.value.tolist() for s in node.poll(0).steps if isinstance(s, AppEvent))


def main() -> int:
    """Compile with and without the stage, and leave out what a program needs."""
    bindings = {"backend": "bytesandbrains.CpuBackend"}
    plain = bb.Compiler().bind(bindings).compile(Doubling())
    seen: dict[str, int] = {}
    changed = (
        bb.Compiler()
        .bind(bindings)
        .with_stage(double_by_product, after="inline_for_partition")
        .compile(Doubling(), observe=lambda seen_now: seen.update(seen_now.counters))
    )
    print("without:", ops(plain), run(plain))
    print("with:   ", ops(changed), run(changed), f"({seen['sums replaced']} replaced)")
    try:
        bb.Compiler().bind(bindings).without_stage("type_solver").compile(Doubling())
        refused = False
    except IncompleteProgram as error:
        refused = True
        print("without the type solver:", error)
    good = ops(plain) == ["Add", "Add"] and ops(changed) == ["Mul", "Add"] and run(plain) == run(changed) == [3, 5, 7]
    print("custom_compiler_pass:", "ok" if good and refused else "WRONG")
    return 0 if good and refused else 1


if __name__ == "__main__":
    sys.exit(main())
