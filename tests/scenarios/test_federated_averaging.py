"""The flagship: federated averaging on real data, through every layer, against a plain loop over the same kernels."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import bb_core as bb
from bb_core.testing import Network
from bb_plugins.data_sources.digits import Digits, load_digits
from bb_plugins.recipes.experiment import Experiment, run_experiment
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from tests.oracles.plain_fedavg import plain_rounds

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(clients=3, rounds=3, epochs=2),
        Experiment(clients=7, rounds=2, epochs=1, alpha=0.3, seed=5),
        Experiment(clients=1, rounds=1, epochs=1, batch_size=1437),
    ],
    ids=["iid", "skewed", "one client, one batch"],
)
def test_the_engine_equals_a_plain_loop_bit_for_bit(experiment: Experiment, digits: Digits) -> None:
    ours = run_experiment(experiment)
    shares = experiment.split()
    theirs = plain_rounds(digits.train_inputs, digits.train_labels, shares, experiment)
    np.testing.assert_array_equal(ours.result.parameters(), theirs)


def test_a_bad_network_changes_nothing_but_the_time(digits: Digits) -> None:
    experiment = Experiment(clients=5, rounds=2, epochs=1)
    source = "bytesandbrains.ArrayDataSource"
    train = {"inputs": digits.train_inputs, "labels": digits.train_labels}
    test = {"inputs": digits.test_inputs, "labels": digits.test_labels, "batch_size": 360, "shuffle": False}
    bindings = {
        "cohort": "bytesandbrains.ConstantView",
        "model": experiment.bound_model(),
        "compute": "bytesandbrains.CpuBackend",
        "data": bb.each(source, lambda n: {**train, "indices": experiment.split()[n]}),
        "aggregator": "bytesandbrains.FedAvg",
        "holdout": bb.use(source, **test),
    }

    def run(network: Network | None) -> bb.RunResult:
        return bb.run(
            FederatedAveraging(experiment.clients, experiment.epochs),
            bindings=bindings,
            peers={"client": experiment.clients},
            rounds=experiment.rounds,
            network=network,
        )

    calm, rough = run(None), run(Network(duplicate=0.5, reorder=0.5, jitter_ns=20_000_000))
    assert calm.parameters_sha256() == rough.parameters_sha256()
    assert rough.steps["Dropped"] + rough.steps["EnvelopeRejected"] > 0


@pytest.mark.slow
def test_iid_reaches_095() -> None:
    outcome = run_experiment(Experiment())
    assert outcome.final_accuracy >= 0.95
    assert not outcome.result.failures


@pytest.mark.slow
def test_skewed_labels_reach_092() -> None:
    found = [run_experiment(Experiment(alpha=0.1, seed=seed)).final_accuracy for seed in range(5)]
    assert np.mean(found) >= 0.92, found
    assert min(found) >= 0.90, found


@pytest.mark.slow
def test_the_example_in_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs" / "examples" / "federated_averaging.py"), run_name="__main__")
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.split()[-1]) > 0.9
    assert (tmp_path / "digits.onnx").exists()


def test_the_readme_shows_the_example_whole() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = (ROOT / "docs" / "examples" / "federated_averaging.py").read_text(encoding="utf-8")
    assert f"```python\n{program}```" in readme
