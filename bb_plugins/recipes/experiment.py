"""Federated averaging on labelled images: the experiment behind `bb demo`, one call of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import UsageError
from bb_plugins.data_sources.datasets import dealt, load_dataset
from bb_plugins.models.architectures import cnn, mlp

CLASSES = 10
HIDDEN = 128
MODELS = ("mlp", "cnn")
SIDES = {"digits": 8, "mnist5k": 28, "fashion": 28}
"""Pixels along the side of a picture, by data set."""
DATA_TITLES = {"digits": "handwritten digits", "mnist5k": "5,000 digits of MNIST", "fashion": "Fashion-MNIST"}
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
    """`mlp`, the fused network with 128 hidden units, or `cnn`, a small convolutional one by GraphModel."""
    onnx: bytes = b""
    """A model of one's own, instead: batch (b, pixels) float32 to logits (b, 10)."""
    data: str = "digits"
    """What is learnt: `digits`, `mnist5k` or `fashion`."""
    share: float = 1.0
    """Which share of the clients takes part in a round."""
    aggregator: Any = "bytesandbrains.FedAvg"
    """What fills the aggregator's slot: a stable name, or `bb.use(...)`."""
    proximal: float = 0.0
    """Weight of FedProx's term; the network is then a GraphModel."""
    control_variates: bool = False
    """SCAFFOLD; likewise."""

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
        if not 0 < self.share <= 1:
            raise UsageError(f"share is {self.share}", expected="a number above 0, at most 1")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}", expected="0 or more")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate is {self.learning_rate}", expected="a number above 0")
        if self.model not in MODELS:
            raise UsageError(f"there is no model {self.model!r}", expected=" or ".join(MODELS))
        if self.data not in SIDES:
            raise UsageError(f"there is no data set {self.data!r}", expected=", ".join(SIDES))

    @property
    def pixels(self) -> int:
        """How many numbers a picture has."""
        return SIDES[self.data] ** 2

    @property
    def title(self) -> str:
        """What is trained, for people."""
        if self.onnx:
            return "an ONNX model"
        return f"a {self.pixels}-{HIDDEN}-{CLASSES} network" if self.model == "mlp" else "a small convolutional network"

    def bound_model(self) -> Any:
        """What fills the model's slot."""
        layers = (self.pixels, HIDDEN, CLASSES)
        if self.proximal or self.control_variates:
            return bb.use(
                "bytesandbrains.GraphModel", graph=self.onnx or mlp(*layers, seed=self.seed), optimizer="sgd",
                learning_rate=self.learning_rate, proximal=self.proximal, control_variates=self.control_variates,
            )  # fmt: skip
        if self.model == "mlp" and not self.onnx:
            return bb.use("bytesandbrains.MLP", layers=layers, learning_rate=self.learning_rate, seed=self.seed)
        graph = self.onnx or cnn(side=SIDES[self.data], seed=self.seed)
        return bb.use(
            "bytesandbrains.GraphModel", graph=graph, optimizer="momentum", learning_rate=self.learning_rate / 4
        )

    def bound_data(self) -> Any:
        """What fills the slot of a client's own examples, but for which client that is."""
        return bb.use(
            "bytesandbrains.Dataset", name=self.data, alpha=self.alpha, seed=self.seed, batch_size=self.batch_size
        )

    def split(self) -> list[npt.NDArray[np.int64]]:
        """Deal the training examples to the clients: indices by client."""
        labels = load_dataset(self.data).train_labels
        if self.clients > len(labels):
            raise UsageError(f"clients is {self.clients}", expected=f"at most {len(labels)}, one for each example")
        return dealt(labels, self.clients, self.alpha, self.seed)


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


def run_experiment(experiment: Experiment, on_round: Callable[[bb.Round], None] | None = None) -> Outcome:
    """Run an experiment in this process.

    Args:
        experiment: What to run.
        on_round: Called after each round.
    """
    from bb_core.commands.loading import load
    from bb_plugins.protocols.stopping import StopRule
    from bb_plugins.recipes.running import run_loaded

    shares = experiment.split()
    began = perf_counter_ns()
    cohort = max(1, round(experiment.share * experiment.clients))
    result, _ = run_loaded(
        load("recipe:FederatedAveraging", {"clients_per_round": cohort, "epochs": experiment.epochs}),
        {"model": experiment.bound_model(), "data": experiment.bound_data(), "aggregator": experiment.aggregator},
        experiment.clients,
        StopRule(rounds=experiment.rounds),
        experiment.seed,
        on_round and (lambda done, _: on_round(done)),
        bb.NodeConfig(profile=perf_counter_ns),
    )
    total = perf_counter_ns() - began
    evaluation = sum(result.op_ns.get(op, 0) for op in _EVALUATION)
    labels = load_dataset(experiment.data).train_labels
    return Outcome(
        experiment,
        result,
        [accuracy(outputs) for outputs in result.metrics],
        np.stack([np.bincount(labels[s], minlength=CLASSES) for s in shares]),
        total / 1e9,
        (result.rounds_ns - evaluation) / 1e9,
        result.op_ns["model", "TrainEpochs"] / 1e9,
    )
