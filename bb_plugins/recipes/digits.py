"""Federated averaging on scikit-learn's digits: the program behind `bb demo`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import UsageError
from bb_plugins.data_sources.digits import Digits, load_digits
from bb_plugins.data_sources.partition import dirichlet, iid
from bb_plugins.models.architectures import cnn
from bb_plugins.recipes.federated_averaging import FederatedAveraging

CLASSES = 10
LAYERS = (64, 128, CLASSES)
TITLES = {"mlp": "a 64-128-10 network", "cnn": "a small convolutional network"}
_EVALUATION = (("holdout", "NextBatch"), ("model", "Evaluate"))


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is trained, on what, and for how long."""

    clients: int = 20
    rounds: int = 50
    epochs: int = 5
    alpha: float | None = None
    """Concentration of the Dirichlet distribution by which labels are dealt to clients; None deals evenly (IID)."""
    seed: int = 0
    batch_size: int = 32
    learning_rate: float = 0.1
    model: str = "mlp"
    """`mlp`, the fused 64-128-10 network, or `cnn`, a small convolutional one by GraphModel."""
    onnx: bytes = b""
    """A model of one's own, instead: batch (b, 64) float32 to logits (b, 10)."""

    def __post_init__(self) -> None:
        for name in ("clients", "rounds", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", expected="at least 1")
        if self.alpha is not None and not (0 < self.alpha < float("inf")):
            raise UsageError(
                f"alpha is {self.alpha}",
                expected="a number above 0, or iid",
                hint="0.1 gives each client few labels, 100 nearly all; iid deals them evenly",
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}", expected="0 or more")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate is {self.learning_rate}", expected="a number above 0")
        if self.model not in TITLES:
            raise UsageError(f"there is no model {self.model!r}", expected=" or ".join(TITLES))

    @property
    def title(self) -> str:
        """What is trained, for people."""
        return "an ONNX model" if self.onnx else TITLES[self.model]

    def bound_model(self) -> Any:
        """What fills the model's slot."""
        if self.model == "mlp" and not self.onnx:
            return bb.use("bytesandbrains.MLP", layers=LAYERS, learning_rate=self.learning_rate, seed=self.seed)
        graph = self.onnx or cnn(seed=self.seed)
        return bb.use(
            "bytesandbrains.GraphModel", graph=graph, optimizer="momentum", learning_rate=self.learning_rate / 4
        )

    def split(self, digits: Digits) -> list[npt.NDArray[np.int64]]:
        """Deal the training examples to the clients: indices by client."""
        if self.clients > len(digits.train_labels):
            raise UsageError(
                f"clients is {self.clients}", expected=f"at most {len(digits.train_labels)}, one for each example"
            )
        if self.alpha is None:
            return iid(digits.train_labels, self.clients, self.seed)
        return dirichlet(digits.train_labels, self.clients, self.alpha, self.seed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment gave.

    Attributes:
        label_counts: (clients, classes): examples of each label by client.
        seconds_total: From data in memory to the last round: compile, install, rounds.
        seconds_rounds: The rounds alone, without evaluation.
        seconds_local_training: Spent in the clients' TrainEpochs, within the rounds.
    """

    experiment: Experiment
    result: bb.RunResult
    accuracy_by_round: list[float]
    label_counts: npt.NDArray[np.int64]
    seconds_total: float
    seconds_rounds: float
    seconds_local_training: float

    @property
    def final_accuracy(self) -> float:
        """Share of the held-out digits that the model reads rightly after the last round."""
        return self.accuracy_by_round[-1]

    @property
    def overhead_ms(self) -> float:
        """The framework's own milliseconds for each client round trip."""
        trips = self.experiment.rounds * self.experiment.clients
        return (self.seconds_rounds - self.seconds_local_training) * 1e3 / trips

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain data; `bb demo --json` prints it."""
        experiment, result = self.experiment, self.result
        return {
            "final_accuracy": self.final_accuracy,
            "accuracy_by_round": self.accuracy_by_round,
            "rounds": experiment.rounds,
            "clients": experiment.clients,
            "epochs": experiment.epochs,
            "alpha": "iid" if experiment.alpha is None else experiment.alpha,
            "seed": experiment.seed,
            "seconds_total": self.seconds_total,
            "seconds_rounds": self.seconds_rounds,
            "seconds_local_training": self.seconds_local_training,
            "overhead_ms_per_client": self.overhead_ms,
            "envelopes": result.envelopes,
            "bytes_on_wire": result.bytes_on_wire,
            "parameters_sha256": result.parameters_sha256(),
        }


def accuracy(outputs: dict[str, Any]) -> float:
    """Return the accuracy in one round's outputs."""
    metrics = outputs["metrics"]
    return float(metrics["correct"]) / float(metrics["count"])


def run_digits(
    experiment: Experiment, digits: Digits | None = None, on_round: Callable[[bb.Round], None] | None = None
) -> Outcome:
    """Run an experiment in this process.

    Args:
        experiment: What to run.
        digits: The data, when it is in memory already.
        on_round: Called after each round.
    """
    digits = digits or load_digits()
    shares = experiment.split(digits)
    began = perf_counter_ns()
    result = bb.run(
        FederatedAveraging(experiment.clients, experiment.epochs),
        bindings=bindings(experiment, digits, shares),
        peers={"client": experiment.clients},
        rounds=experiment.rounds,
        seed=experiment.seed,
        options=bb.NodeConfig(profile=perf_counter_ns),
        on_round=on_round,
    )
    total = perf_counter_ns() - began
    evaluation = sum(result.op_ns.get(op, 0) for op in _EVALUATION)
    return Outcome(
        experiment,
        result,
        [accuracy(outputs) for outputs in result.metrics],
        np.stack([np.bincount(digits.train_labels[s], minlength=CLASSES) for s in shares]),
        total / 1e9,
        (result.rounds_ns - evaluation) / 1e9,
        result.op_ns["model", "TrainEpochs"] / 1e9,
    )


def bindings(experiment: Experiment, digits: Digits, shares: list[npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Bind the program's slots, each Concrete by its stable name, as a third party's would be."""

    def client_data(client: int) -> dict[str, Any]:
        return {
            "inputs": digits.train_inputs,
            "labels": digits.train_labels,
            "indices": shares[client],
            "batch_size": experiment.batch_size,
        }

    return {
        "cohort": "bytesandbrains.ConstantView",
        "model": experiment.bound_model(),
        "compute": "bytesandbrains.CpuBackend",
        "data": bb.each("bytesandbrains.ArrayDataSource", client_data),
        "aggregator": "bytesandbrains.FedAvg",
        "holdout": bb.use(
            "bytesandbrains.ArrayDataSource",
            inputs=digits.test_inputs,
            labels=digits.test_labels,
            batch_size=len(digits.test_labels),
            shuffle=False,
        ),
    }
