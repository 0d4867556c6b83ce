"""Every first-party Concrete keeps the promises of its Role, by the kit that strangers use."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.plugins import installed_plugins
from bb_core.testing.kit import BoundCheck, checks_of
from bb_plugins.models.architectures import mlp

RANDOM = np.random.Generator(np.random.Philox(0))
EXAMPLES = {"inputs": RANDOM.standard_normal((20, 3), np.float32), "labels": RANDOM.integers(0, 3, 20)}

FUNCTIONS = {name: f"tests.plugins.models.logistic:{name}" for name in ("init", "train", "evaluate", "predict")}
SGD = {"estimator": "sklearn.linear_model:SGDClassifier", "features": 4, "classes": 3}

SUBJECTS: dict[str, dict[str, Any]] = {
    "bytesandbrains.ArrayDataSource": {
        "make": bb.use("bytesandbrains.ArrayDataSource", **EXAMPLES, batch_size=6),
        "traits": {"portable_config": False},
    },
    "bytesandbrains.FlatIndex": {"make": bb.use("bytesandbrains.FlatIndex", dim=8, metric="cosine")},
    "bytesandbrains.Float16": {"traits": {"max_error": 2.0**-11, "empty": True}},
    "bytesandbrains.Int8Affine": {
        "make": bb.use("bytesandbrains.Int8Affine", block=5),
        "traits": {"max_error": 1 / 254, "empty": True},
    },
    "bytesandbrains.TopK": {
        "make": bb.use("bytesandbrains.TopK", share=0.3),
        "traits": {"empty": True},
    },
    "bytesandbrains.FunctionModel": {
        "make": bb.use("bytesandbrains.FunctionModel", **FUNCTIONS),
        "traits": {"portable_config": True},
    },
    "bytesandbrains.GlobalRegistryClient": {"traits": {"inputs": {"announce": (bb.PeerId.from_int(1),)}}},
    "bytesandbrains.GlobalRegistryServer": {"traits": {"sees_all": False}},
    "bytesandbrains.FedAvgM": {"make": bb.use("bytesandbrains.FedAvgM", momentum=0.5)},
    "bytesandbrains.GossipMean": {
        "make": bb.use("bytesandbrains.GossipMean", start=[0.0] * 7),
        "traits": {"patience_s": 0.01, "identity": False, "bounded": False},  # it goes half-way only
        "expected_failures": {
            "laters_are_answered": "its collect waits for answers to requests, which only a program makes",
            "order_of_arrival_does_not_matter": "it moves half-way to each update, so the last one weighs most",
            "a_duplicate_replaces": "each update of a peer that asks again is an exchange of its own",
        },
    },
    "bytesandbrains.GraphModel": {
        "make": bb.use("bytesandbrains.GraphModel", graph=mlp(4, 8, 3), learning_rate=0.05),
        "traits": {"dependencies": {"compute": "bytesandbrains.CpuBackend"}},
    },
    "bytesandbrains.OnnxRuntimeBackend": {"traits": {"dtypes": ("float32",)}},  # it has few kernels for float64
    "bytesandbrains.MLP": {
        "make": bb.use("bytesandbrains.MLP", layers=(4, 8, 3), momentum=0.5),
        "traits": {"example_shape": (4,), "classes": 3},
    },
    "bytesandbrains.Scaffold": {
        "traits": {"parameters": 8, "stats": lambda peer: {"num_samples": peer + 1, "control_variates": True}},
    },
    "bytesandbrains.SklearnModel": {
        "make": bb.use("bytesandbrains.SklearnModel", **SGD, options={"loss": "log_loss"}),
    },
    "bytesandbrains.StopRule": {
        "make": bb.use("bytesandbrains.StopRule", rounds=2, patience=1),
        "traits": {"inputs": {"judge": (bb.Record(correct=5, count=10),)}},
    },
    "bytesandbrains.TorchModel": {
        "make": bb.use("bytesandbrains.TorchModel", module="tests.plugins.models.nets:Net", learning_rate=0.05),
    },
}
"""What needs more than its name; all others are checked as they are without configuration."""
NEEDS = {
    "bytesandbrains.OnnxRuntimeBackend": ("onnxruntime",),
    "bytesandbrains.SklearnModel": ("sklearn",),
    "bytesandbrains.TorchModel": ("torch",),
}
"""Packages without which a Concrete cannot be made here."""


def bound() -> list[Any]:
    """The checks of every Concrete that the first-party plugins register and that this environment can make."""
    found = []
    for entry in installed_plugins().registry:
        if entry.target.startswith("bb_plugins.") and all(find_spec(p) for p in NEEDS.get(entry.name, ())):
            options = {"make": entry.name, **SUBJECTS.get(entry.name, {})}
            name = entry.name.removeprefix("bytesandbrains.")
            found += [pytest.param(c, id=f"{name}-{c.name}") for c in checks_of(options.pop("make"), **options)]
    return found


@pytest.mark.parametrize("check", bound())
def test_conformance(check: BoundCheck) -> None:
    check()
