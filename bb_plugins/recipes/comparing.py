"""Codecs and Aggregators beside one another, on scikit-learn's digits: the experiments behind `bb compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, ClassVar, Final

import numpy as np

import bb_core as bb
from bb_core.errors import UsageError
from bb_plugins.data_sources.datasets import load_dataset
from bb_plugins.recipes.compressed_averaging import CompressedAveraging
from bb_plugins.recipes.experiment import Experiment, accuracy

LAST: Final = 10
"""An accuracy is the mean of so many last rounds."""
LIARS: Final = 4
FACTOR: Final = -5.0
"""What a liar multiplies its update by."""


@bb.concrete("bytesandbrains.recipes.AsItIs")
class AsItIs(bb.roles.Codec):
    """Sends a value as it is, or as a liar would have it: multiplied.

    Shape:
        value (...) f32 · encoded (...) f32
    """

    has_state: ClassVar[bool] = False

    @dataclass(frozen=True, slots=True)
    class Config:
        """How it lies."""

        factor: float = 1.0
        """What a value is multiplied by before it is sent."""

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Multiply."""
        sent = np.multiply(value, np.float32(self.config.factor))
        off = float(np.sum((sent - value) ** 2, dtype=np.float64))
        return sent, bb.Record(bytes_in=value.nbytes, bytes_out=sent.nbytes, distortion=off)

    def decode(self, ctx: bb.Context, encoded: bb.Tensor) -> bb.Tensor:
        """Return what came."""
        return encoded.copy()


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of a comparison.

    Attributes:
        codec: What fills the Codec's slot.
        aggregator: What fills the Aggregator's.
        is_reference: The others are compared with it.
    """

    name: str
    codec: Any = AsItIs
    aggregator: Any = "bytesandbrains.FedAvg"
    is_reference: bool = False


def _lying(clients: int) -> Any:
    """Let the first clients lie; the coordinator, which only decodes, is told nothing."""
    return bb.each(AsItIs, lambda client: {"factor": FACTOR if client < LIARS else 1.0})


def codec_arms(clients: int) -> list[Arm]:
    """Return what `bb compare codecs` compares."""
    return [
        Arm("none", is_reference=True),
        Arm("Float16", "bytesandbrains.Float16"),
        Arm("Int8Affine", "bytesandbrains.Int8Affine"),
        Arm("TopK 5%, feedback", bb.use("bytesandbrains.TopK", share=0.05)),
        Arm("TopK 5%, without", bb.use("bytesandbrains.TopK", share=0.05, error_feedback=False)),
        Arm("TopK 1%, feedback", bb.use("bytesandbrains.TopK", share=0.01)),
        Arm("TopK 1%, without", bb.use("bytesandbrains.TopK", share=0.01, error_feedback=False)),
    ]


def aggregator_arms(clients: int) -> list[Arm]:
    """Return what `bb compare aggregators` compares."""
    if clients < 2 * LIARS + 3:
        raise UsageError(f"clients is {clients}", expected=f"at least {2 * LIARS + 3}, of whom {LIARS} lie")
    krum = {"liars": LIARS, "minimum": 2 * LIARS + 3}
    robust = {
        "CoordinateMedian": "bytesandbrains.CoordinateMedian",
        "TrimmedMean": bb.use("bytesandbrains.TrimmedMean", trim=LIARS / clients),
        "Krum": bb.use("bytesandbrains.Krum", **krum),
        "MultiKrum": bb.use("bytesandbrains.MultiKrum", **krum),
    }
    return [
        Arm("FedAvg, nobody lies", is_reference=True),
        *(Arm(f"{name}, nobody lies", aggregator=bound) for name, bound in robust.items()),
        Arm("FedAvg", _lying(clients)),
        *(Arm(name, _lying(clients), bound) for name, bound in robust.items()),
    ]


KINDS: Final[dict[str, Callable[[int], list[Arm]]]] = {"codecs": codec_arms, "aggregators": aggregator_arms}


@dataclass(slots=True)
class Line:
    """What an arm gave, over all seeds.

    Attributes:
        curves: Accuracy by round, one list for each seed.
        update_bytes: Mean bytes of an encoded update.
        error: Mean squared error of an element of an update.
        wire_bytes: Bytes of all Envelopes of a run, both ways.
    """

    arm: Arm
    curves: list[list[float]] = field(default_factory=list)
    update_bytes: float = 0.0
    whole_bytes: float = 0.0
    error: float = 0.0
    wire_bytes: float = 0.0

    @property
    def finals(self) -> list[float]:
        """For each seed the mean accuracy of the last rounds."""
        return [fmean(curve[-LAST:]) for curve in self.curves]

    @property
    def mean(self) -> float:
        """Mean of `finals`."""
        return fmean(self.finals)

    @property
    def deviation(self) -> float:
        """Standard deviation of `finals` over the seeds."""
        return stdev(self.finals) if len(self.finals) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All lines of a comparison, and how they were made."""

    kind: str
    experiment: Experiment
    seeds: int
    lines: list[Line]

    @property
    def reference(self) -> Line:
        """What the others are compared with."""
        return next(line for line in self.lines if line.arm.is_reference)

    def points(self, line: Line) -> float:
        """Return by how many points a line is above the reference."""
        return 100 * (line.mean - self.reference.mean)

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        experiment = self.experiment
        return {
            "kind": self.kind,
            "clients": experiment.clients,
            "rounds": experiment.rounds,
            "epochs": experiment.epochs,
            "alpha": "iid" if experiment.alpha is None else experiment.alpha,
            "seeds": self.seeds,
            "liars": LIARS if self.kind == "aggregators" else 0,
            "lines": [
                {
                    "name": line.arm.name,
                    "accuracy": line.mean,
                    "deviation": line.deviation,
                    "points": self.points(line),
                    "update_bytes": line.update_bytes,
                    "update_share": line.update_bytes / line.whole_bytes,
                    "squared_error": line.error,
                    "wire_bytes": line.wire_bytes,
                    "curves": line.curves,
                }
                for line in self.lines
            ],
        }


def compare(
    kind: str,
    experiment: Experiment,
    seeds: int,
    on_run: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Run every arm of a comparison with every seed.

    Args:
        kind: A key of `KINDS`.
        experiment: What all arms have in common; its seed is the first.
        seeds: How many.
        on_run: Called before each run with (how many are done, how many there are, the arm's name), and at the end.

    Raises:
        UsageError: there is no such comparison, too few clients or seeds, or too few rounds for their last ten.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no comparison of {kind!r}", expected=" or ".join(KINDS))
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}", expected="at least 1")
    if experiment.rounds < LAST:
        raise UsageError(f"rounds is {experiment.rounds}", expected=f"at least {LAST}, over which accuracy is averaged")
    lines = [Line(arm) for arm in KINDS[kind](experiment.clients)]
    whole = len(lines) * seeds
    for seed in range(seeds):
        seeded = replace(experiment, seed=experiment.seed + seed)
        for number, line in enumerate(lines):
            if on_run is not None:
                on_run(seed * len(lines) + number, whole, line.arm.name)
            _run(line, seeded, seeds)
    if on_run is not None:
        on_run(whole, whole, "")
    return Comparison(kind, experiment, seeds, lines)


def bindings(experiment: Experiment) -> dict[str, Any]:
    """Bind what all arms have in common, each Concrete by its stable name, as a third party's would be."""
    data, shares = load_dataset(experiment.data), experiment.split()

    def client_data(client: int) -> dict[str, Any]:
        return {
            "inputs": data.train_inputs,
            "labels": data.train_labels,
            "indices": shares[client],
            "batch_size": experiment.batch_size,
        }

    return {
        "cohort": "bytesandbrains.ConstantView",
        "model": experiment.bound_model(),
        "compute": "bytesandbrains.CpuBackend",
        "data": bb.each("bytesandbrains.ArrayDataSource", client_data),
        "holdout": bb.use(
            "bytesandbrains.ArrayDataSource",
            inputs=data.test_inputs,
            labels=data.test_labels,
            batch_size=len(data.test_labels),
            shuffle=False,
        ),
    }


def _run(line: Line, experiment: Experiment, seeds: int) -> None:
    result = bb.run(
        CompressedAveraging(experiment.clients, experiment.epochs),
        bindings=bindings(experiment) | {"codec": line.arm.codec, "aggregator": line.arm.aggregator},
        peers={"client": experiment.clients},
        rounds=experiment.rounds,
        seed=experiment.seed,
    )
    line.curves.append([accuracy(outputs) for outputs in result.metrics])
    told = list(_told(result))
    line.update_bytes += fmean(each["bytes_out"] for each in told) / seeds
    line.whole_bytes += fmean(each["bytes_in"] for each in told) / seeds
    line.error += fmean(each["distortion"] / (each["bytes_in"] / 4) for each in told) / seeds
    line.wire_bytes += result.bytes_on_wire / seeds


def _told(result: bb.RunResult) -> Iterator[Any]:
    """What the Codecs of all clients have said, of the rounds that the Nodes still have."""
    for node in result.nodes.values():
        yield from node.records("codec")
