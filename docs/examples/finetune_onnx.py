"""A pre-trained model that somebody else made, fine-tuned over ten Nodes: Magika on pieces from the middle of files.

Magika (`pip install magika`, Apache-2.0) tells by a file's first and last bytes what it is. Here it is shown 400 bytes
from somewhere inside, which it reads less well. Ten Nodes have such pieces of different files of this Python; none
leaves its Node. What is trained, by federated averaging, is the model's last layer alone: that is all that travels.
"""

import json
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import bb_core as bb
from bb_plugins.data_sources.partition import dirichlet
from bb_plugins.recipes.federated_averaging import FederatedAveraging

NODES, ROUNDS, PIECE = 10, 4, 400
KINDS = {
    ".py": "python",
    ".pyc": "pythonbytecode",
    ".h": "c",
    ".so": "elf",
    ".json": "json",
    ".rst": "rst",
    ".txt": "txt",
}
EACH = 60  # pieces of each kind, one from each file


def magika() -> tuple[Path, list[str]] | None:
    """The model's file and its labels, or None where it is not installed."""
    spec = find_spec("magika")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "models" / "standard_v3_3"
    if not (folder / "model.onnx").exists():
        return None
    return folder / "model.onnx", json.loads((folder / "config.min.json").read_text())["target_labels_space"]


def pieces(labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of this Python's files, as Magika takes them: (n, 2048) i32, 1024 bytes of each end, 256 where none is."""
    random = np.random.Generator(np.random.Philox(0))
    paths = sysconfig.get_paths()
    roots = sorted({paths["stdlib"], paths["purelib"]})
    found = sorted(p for root in roots for p in Path(root).rglob("*") if p.suffix in KINDS)
    batch, truth = [], []
    for suffix, kind in KINDS.items():
        files = [p for p in found if p.suffix == suffix and p.stat().st_size > 4 * PIECE]
        for file in [files[i] for i in random.permutation(len(files))[:EACH]]:
            raw = np.frombuffer(file.read_bytes(), np.uint8)
            start = random.integers(PIECE, len(raw) - 2 * PIECE)
            row = np.full(2048, 256, np.int32)
            row[:PIECE] = row[-PIECE:] = raw[start : start + PIECE]
            batch.append(row)
            truth.append(labels.index(kind))
    return np.array(batch), np.array(truth)


def last_layer(path: Path) -> tuple[str, tuple[str, ...]]:
    """Names of the logits, before the Softmax that is written out in ops, and of the weight and bias that give them."""
    import onnx

    graph = onnx.load(path).graph
    product = [n for n in graph.node if n.op_type == "MatMul"][-1]
    total = next(n for n in graph.node if product.output[0] in n.input)
    initial = {i.name for i in graph.initializer}
    return total.output[0], tuple(name for name in (*product.input, *total.input) if name in initial)


def main() -> int:
    """Measure, train, measure."""
    there = magika()
    if there is None:
        print("magika is not installed; nothing is done: pip install magika")
        print("finetune_onnx: ok")
        return 0
    path, labels = there
    batch, truth = pieces(labels)
    random = np.random.Generator(np.random.Philox(1))
    order = random.permutation(len(truth))
    test, train = order[: len(order) // 3], order[len(order) // 3 :]
    shares = [train[rows] for rows in dirichlet(truth[train], NODES, alpha=1.0, seed=0)]
    logits, trained = last_layer(path)
    source = "bytesandbrains.ArrayDataSource"
    bindings: dict[str, Any] = {
        "cohort": "bytesandbrains.ConstantView",
        "model": bb.use(
            "bytesandbrains.GraphModel", path=str(path), prediction=logits, trained=trained, learning_rate=0.02
        ),
        "compute": "bytesandbrains.CpuBackend",
        "data": bb.each(source, lambda n: {"inputs": batch, "labels": truth, "indices": shares[n], "batch_size": 16}),
        "aggregator": "bytesandbrains.FedAvg",
        "holdout": bb.use(source, inputs=batch[test], labels=truth[test], batch_size=len(test), shuffle=False),
    }
    before = measured(bindings, batch[test], truth[test])
    result = bb.run(FederatedAveraging(NODES, epochs=2), bindings=bindings, peers={"client": NODES}, rounds=ROUNDS)
    after = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
    result.save("magika_pieces.onnx")
    print(f"{len(train)} pieces on {NODES} Nodes, {len(test)} held out, of {len(KINDS)} kinds among {len(labels)}")
    print(f"before: accuracy {before:.3f}")
    print("after each round:", " ".join(f"{a:.3f}" for a in after))
    print(f"sent: {result.bytes_on_wire / 1e6:.1f} MB; written: magika_pieces.onnx, the whole model")
    good = after[-1] > before + 0.05 and not result.failures
    print("finetune_onnx:", "ok" if good else "WRONG")
    return 0 if good else 1


def measured(bindings: dict[str, Any], batch: np.ndarray, truth: np.ndarray) -> float:
    """The accuracy of the model as it comes."""

    class Measuring(bb.Module):
        """Evaluate once."""

        model = bb.ModelSlot()

        def body(self, g: bb.Graph) -> None:
            """Record it."""
            metrics = self.model.evaluate(g, g.input("batch", bb.types.TENSOR), g.input("labels", bb.types.TENSOR))
            g.output("metrics", metrics)

    only = {name: bindings[name] for name in ("model", "compute")}
    result = bb.run(Measuring(), bindings=only, peers={}, inputs={"batch": batch, "labels": truth})
    return float(result.metrics[0]["metrics"]["correct"]) / len(truth)


if __name__ == "__main__":
    sys.exit(main())
