"""The files of a program of one's own."""

from __future__ import annotations

from typing import Final

FILES: Final = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "A federated program"
readme = "README.md"
requires-python = ">=3.11"
# license = "..."  # yours to choose: https://spdx.org/licenses
dependencies = ["bytesandbrains>=$version"]

[project.optional-dependencies]
test = ["bytesandbrains[test]"]

[project.scripts]
$name = "$package.__main__:main"

[tool.setuptools]
packages = ["$package"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """
# $name

```sh
pip install -e ".[test]"                          # in this folder
python -m $package                                # train on eight clients, in this process
python -m pytest                                  # does it learn, and survive a bad network?
python -m pytest bench                            # how long does a round take?
bb inspect $package/program.py:$Class             # what runs where, and what crosses the network
bb compile $package/program.py:$Class -o program.onnx
```

The program is `$package/program.py`. What fills its slots is chosen in `$package/__main__.py`.
""",
    ".gitignore": """
__pycache__/
*.egg-info/
build/
dist/
.pytest_cache/
*.onnx
""",
    "$package/__init__.py": '''
"""A federated program."""

from $package.program import $Class

__all__ = ["$Class"]
''',
    "$package/program.py": '''
"""The program: what happens in one round, and where."""

import bb_core as bb


class $Class(bb.Module):
    """One round: the coordinator sends its model out, each client trains it, the coordinator averages and measures."""

    cohort = bb.PeerSelectorSlot(peer_class="client", default="bytesandbrains.ConstantView")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot(default="bytesandbrains.FedAvg")
    holdout = bb.DataSourceSlot()

    def __init__(self, clients: int = 8) -> None:
        self.clients = clients

    def body(self, g: bb.Graph) -> None:
        """Record one round."""
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=self.clients, after=start)
        received = g.send(self.model.params(g, after=clients), to=clients)
        # From here on: on every client.
        loaded = self.model.load_parameters(g, received)
        loss, stats = self.model.train_epochs(g, self.data, epochs=2, after=loaded)
        update, update_stats = g.send((self.model.params(g, after=loss), stats), to=received.sender)
        # And from here on: on the coordinator again.
        self.aggregator.contribute(g, update, update_stats)
        done = self.aggregator.collect(g, clients, deadline="30s", after=received.request)
        params, _ = self.aggregator.aggregate(g, after=done)
        updated = self.model.load_parameters(g, params)
        batch, labels, _ = self.holdout.next_batch(g, after=updated)
        g.output("metrics", self.model.evaluate(g, batch, labels))


bindings = {
    "model": bb.use("bytesandbrains.MLP", layers=(2, 16, 3)),
    "compute": "bytesandbrains.CpuBackend",
    "data": "bytesandbrains.ArrayDataSource",
    "holdout": "bytesandbrains.ArrayDataSource",
}
"""What `bb compile` and `bb inspect` bind; each site configures its own data when it installs the program."""
''',
    "$package/__main__.py": '''
"""Runs the program in one process: `python -m $package`."""

import numpy as np

import bb_core as bb
from $package.program import $Class, bindings

CLASSES = 3


def examples(count: int, seed: int) -> dict:
    """Make points around three centres; put your own data here."""
    random = np.random.Generator(np.random.Philox(seed))
    labels = random.integers(0, CLASSES, count)
    angles = 2 * np.pi * labels / CLASSES
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.3 * random.standard_normal((count, 2))
    return {"inputs": points.astype(np.float32), "labels": labels}


def train(clients: int = 8, rounds: int = 10) -> bb.RunResult:
    """Train on so many clients."""
    held_out = examples(300, seed=10_000)
    return bb.run(
        $Class(clients),
        bindings={
            **bindings,
            "data": bb.each("bytesandbrains.ArrayDataSource", lambda n: examples(50, seed=n)),
            "holdout": bb.use("bytesandbrains.ArrayDataSource", **held_out, batch_size=300, shuffle=False),
        },
        peers={"client": clients},
        rounds=rounds,
    )


def accuracy(result: bb.RunResult) -> list[float]:
    """Return the accuracy on held-out points, by round."""
    return [float(m["metrics"]["correct"]) / float(m["metrics"]["count"]) for m in result.metrics]


def main() -> None:
    """Train, and print how it went."""
    for number, found in enumerate(accuracy(train()), 1):
        print(f"round {number:2}: accuracy {found:.3f}")


if __name__ == "__main__":
    main()
''',
    "tests/test_program.py": '''
"""It learns, does the same twice, and compiles."""

import bb_core as bb
from $package.__main__ import accuracy, train
from $package.program import $Class, bindings


def test_it_learns() -> None:
    found = accuracy(train(clients=4, rounds=5))
    assert found[-1] > 0.85


def test_equal_seeds_give_equal_models() -> None:
    first, second = (train(clients=3, rounds=2).parameters_sha256() for _ in range(2))
    assert first == second


def test_it_compiles_to_a_function_for_each_class() -> None:
    compiled = bb.Compiler().bind(bindings).compile($Class())
    assert [f.name for f in compiled.functions] == ["$Class", "$Class@client"]
''',
    "bench/test_bench_round.py": '''
"""How long a round takes: `python -m pytest bench`."""

from typing import Any

from $package.__main__ import train


def test_bench_round(benchmark: Any) -> None:
    benchmark.pedantic(train, kwargs={"clients": 4, "rounds": 3}, rounds=3, warmup_rounds=1)
''',
}
