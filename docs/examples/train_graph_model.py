"""ONNX models trained with no framework: a fully connected and a convolutional one, and a look at the gradients."""

import sys
from collections import Counter

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.models.architectures import cnn, mlp
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from bb_plugins.training.trainable import Trainable

CLIENTS, ROUNDS = 5, 6
NETWORKS = {  # bytes of ONNX files; open("mine.onnx", "rb").read() does as well
    "mlp": bb.use("bytesandbrains.GraphModel", graph=mlp(64, 64, 10), optimizer="adam", learning_rate=2e-3),
    "cnn": bb.use("bytesandbrains.GraphModel", graph=cnn(), optimizer="nesterov", learning_rate=5e-2, clip_norm=2.0),
}


def main() -> int:
    """Train both over five Nodes, write them as ONNX files, and let another runtime read those."""
    digits = load_digits()
    good = True
    for name, model in NETWORKS.items():
        dataset = "bytesandbrains.Dataset"
        result = bb.run(
            FederatedAveraging(CLIENTS, epochs=4),
            bindings={
                "cohort": "bytesandbrains.ConstantView",
                "model": model,
                "compute": "bytesandbrains.CpuBackend",
                "data": bb.each(dataset, lambda n, of: {"name": "digits", "share": n, "shares": of}),
                "aggregator": "bytesandbrains.FedAvg",
                "holdout": bb.use(dataset, name="digits", part="test"),
            },
            peers={"client": CLIENTS},
            rounds=ROUNDS,
        )
        accuracy = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
        result.save(f"{name}.onnx")
        trained = onnx.load(f"{name}.onnx")
        (logits,) = ReferenceEvaluator(trained).run(None, {"batch": digits.test_inputs})
        elsewhere = float(np.mean(np.argmax(logits, 1) == digits.test_labels))
        print(f"{name}: accuracy by round", " ".join(f"{a:.3f}" for a in accuracy), f"; of {name}.onnx {elsewhere:.3f}")
        good &= accuracy[-1] > 0.9 and elsewhere == accuracy[-1] and not result.failures
    step, _ = Trainable(trained).learns("cross_entropy")  # what a Backend computes in one step: standard ONNX
    counts = Counter(n.op_type for n in step.node)
    print("ops of the network's gradient:", ", ".join(f"{n} {op}" for op, n in counts.most_common(6)))
    good &= all(not n.domain for n in step.node) and counts["Conv"] >= 4
    print("train_graph_model:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
