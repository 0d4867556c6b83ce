"""An estimator of scikit-learn, trained over clients of whom most have never seen most of the labels."""

import sys

import bb_core as bb
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.recipes.federated_averaging import FederatedAveraging

CLIENTS, ROUNDS = 10, 15


def main() -> int:
    """Train logistic regression, and ask the estimator itself at the end."""
    dataset = "bytesandbrains.Dataset"
    result = bb.run(
        FederatedAveraging(CLIENTS, epochs=1),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use(
                "bytesandbrains.SklearnModel",
                estimator="sklearn.linear_model:SGDClassifier",
                options={"loss": "log_loss", "alpha": 1e-4},
                features=64,
                classes=10,
            ),
            "data": bb.each(dataset, lambda n, of: {"share": n, "shares": of, "alpha": 0.2}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(dataset, part="test"),
        },
        peers={"client": CLIENTS},
        rounds=ROUNDS,
    )
    accuracy = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
    print("accuracy by round:", " ".join(f"{a:.3f}" for a in accuracy))
    estimator = result.component("model").estimator  # a fitted SGDClassifier, for all that scikit-learn can do with one
    digits = load_digits()
    score = estimator.score(digits.test_inputs, digits.test_labels)
    print(f"{type(estimator).__name__}.score: {score:.3f}")
    good = accuracy[-1] > 0.85 and abs(score - accuracy[-1]) < 1e-9 and not result.failures
    print("sklearn_model:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
