"""The framework's own cost for each client's round trip, beside the training that it carries.

A round here is the demo's: 20 clients, 5 epochs, a 64-128-10 network. Each measurement runs a few rounds by `bb.run`
with a clock handed in; the framework's cost is the time of the rounds without evaluation and without the clients'
TrainEpochs.
"""

from __future__ import annotations

from bb_plugins.bench.harness import Measure
from bb_plugins.recipes.experiment import Experiment, Outcome, run_experiment

_EXPERIMENT = Experiment(rounds=3)


def test_round_trip(row: Measure) -> None:
    """Against the training that a round trip carries."""
    trips = _EXPERIMENT.rounds * _EXPERIMENT.clients
    last: list[Outcome] = []

    def overhead() -> float:
        last[:] = [run_experiment(_EXPERIMENT)]
        return (last[0].seconds_rounds - last[0].seconds_local_training) * 1e9

    def training() -> float:
        return (last[0] if last else run_experiment(_EXPERIMENT)).seconds_local_training * 1e9

    row(
        "framework, per client round trip",
        overhead,
        peer=("local training in the same rounds", training),
        timed=True,
        per=trips,
    )
