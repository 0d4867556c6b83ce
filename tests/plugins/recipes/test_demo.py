"""`bb demo` and `bb bench` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from bb_plugins.data_sources.digits import load_digits


def bb(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bb_core.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )


def demo(*arguments: str, cwd: Path, **environment: str) -> dict[str, Any]:
    done = bb("demo", "--json", *arguments, cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


SMALL = ("--clients", "4", "--rounds", "2", "--epochs", "1")


def test_json_tells_all(tmp_path: Path) -> None:
    told = demo(*SMALL, "--alpha", "0.5", "--seed", "3", cwd=tmp_path)
    assert {k: told[k] for k in ("rounds", "clients", "epochs", "alpha", "seed", "envelopes")} == {
        "rounds": 2, "clients": 4, "epochs": 1, "alpha": 0.5, "seed": 3, "envelopes": 16,
    }  # fmt: skip
    assert told["final_accuracy"] == told["accuracy_by_round"][-1]
    assert len(told["accuracy_by_round"]) == 2
    assert told["seconds_total"] > told["seconds_rounds"] > told["seconds_local_training"] > 0
    assert told["bytes_on_wire"] > 16 * 4 * 9610
    assert len(told["parameters_sha256"]) == 64


def test_equal_seeds_give_equal_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    first, second, other = (
        demo(*SMALL, "--seed", seed, cwd=tmp_path, PYTHONHASHSEED=hashes)
        for seed, hashes in (("0", "1"), ("0", "2"), ("1", "1"))
    )
    same = ("parameters_sha256", "envelopes", "bytes_on_wire", "accuracy_by_round")
    assert [first[k] for k in same] == [second[k] for k in same]
    assert first["parameters_sha256"] != other["parameters_sha256"]


def test_for_people_it_prints_a_table_and_what_to_try_next(tmp_path: Path) -> None:
    done = bb("demo", *SMALL, "--plot", "a.png", "--save", "m.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("accuracy on held-out digits", "Try next", "a.png", "m.onnx", "sha256"):
        assert text in done.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_saved_model_reads_digits_in_another_runtime(tmp_path: Path) -> None:
    told = demo(*SMALL, "--save", "m.onnx", cwd=tmp_path)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    digits = load_digits()
    (scores,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: digits.test_inputs})
    assert np.mean(scores.argmax(axis=1) == digits.test_labels) == pytest.approx(told["final_accuracy"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--clients", "0"), "at least 1"),
        (("--clients", "100000"), "at most"),
        (("--rounds", "0"), "at least 1"),
        (("--epochs", "-1"), "at least 1"),
        (("--alpha", "-1"), "above 0"),
        (("--alpha", "nan"), "above 0"),
        (("--alpha", "some"), "iid"),
        (("--seed", "-1"), "0 or more"),
        (("--plot", "a.txt"), ".png"),
        (("--plot", "no/such/a.png"), "directory"),
        (("--save", "m.bin"), ".onnx"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_do(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = bb("demo", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "UsageError" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_there_are(tmp_path: Path) -> None:
    done = bb("--help", cwd=tmp_path)
    for command in ("demo", "bench", "plugins", "version"):
        assert command in done.stdout


def test_an_unknown_suite_gets_the_nearest(tmp_path: Path) -> None:
    done = bb("bench", "codecs", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'codec'" in done.stderr


def test_a_convolutional_network_is_trained_saved_and_trained_on(tmp_path: Path) -> None:
    first = demo(
        "--model", "cnn", "--clients", "3", "--rounds", "3", "--epochs", "2", "--save", "cnn.onnx", cwd=tmp_path
    )
    again = demo("--onnx", "cnn.onnx", "--clients", "3", "--rounds", "3", "--epochs", "2", cwd=tmp_path)
    assert again["accuracy_by_round"][-1] > first["accuracy_by_round"][-1] > first["accuracy_by_round"][0]


def test_a_model_that_cannot_learn_the_digits_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "rubbish.onnx").write_bytes(b"rubbish")
    for arguments, told in (
        (("--onnx", "rubbish.onnx"), "no ONNX model"),
        (("--onnx", "absent.onnx"), "no file"),
        (("--model", "rnn"), "mlp or cnn"),
    ):
        done = bb("demo", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert told in done.stderr
