"""`bb run`, as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from bb_core.cli import application
from bb_core.errors import BBError
from bb_plugins.models.architectures import mlp


def bb(*arguments: str, cwd: Path) -> str:
    """Run the command in this process, and return what it prints."""
    printed = io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(printed):
        application()(list(arguments), standalone_mode=False)
    return printed.getvalue()


DIGITS = ("--bind", "data=bytesandbrains.Dataset")
MLP = ("--bind", "model=bytesandbrains.MLP")


def run(*arguments: str, cwd: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bb("run", *arguments, "--json", cwd=cwd))
    return told


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "net.onnx").write_bytes(mlp(64, 16, 10))
    return folder


def test_a_recipe_needs_no_file(here: Path) -> None:
    told = run("recipe:FederatedAveraging", *MLP, *DIGITS, "--peers", "4", "--until", "rounds=3", cwd=here)
    assert told["rounds"] == 3
    assert told["ended"] == "3 rounds are done"
    assert told["accuracy"][-1] > told["accuracy"][0]
    assert told["outputs"]["training"] == {"num_samples": 1437, "peers": 4}
    assert told["envelopes"] == 3 * 2 * 4
    assert not told["failures"]


def test_it_is_what_the_demo_plays(here: Path) -> None:
    """The demo is one call of it: equal bytes."""
    told = run(
        "recipe:FederatedAveraging", *MLP, *DIGITS, "--peers", "4", "--until", "rounds=2", "--with", "epochs=1",
        "--set", "model.learning_rate=0.1", cwd=here,
    )  # fmt: skip
    shown = bb("demo", "--json", "--clients", "4", "--rounds", "2", "--epochs", "1", cwd=here)
    assert json.loads(shown)["parameters_sha256"] == told["parameters_sha256"]


def test_an_onnx_file_is_a_model_and_a_target_ends_it(here: Path) -> None:
    told = run(
        "recipe:FedOpt", "--bind", "model=net.onnx", "--set", "model.learning_rate=0.05", *DIGITS, "--peers", "5",
        "--until", "accuracy=0.8,rounds=40", "--save", "out.onnx", cwd=here,
    )  # fmt: skip
    assert told["ended"].startswith("accuracy is 0.")
    assert told["accuracy"][-1] >= 0.8 > told["accuracy"][-2]
    before, after = onnx.load(here / "net.onnx"), onnx.load(here / "out.onnx")
    assert [i.name for i in after.graph.initializer] == [i.name for i in before.graph.initializer]
    assert after.graph.initializer[0].raw_data != before.graph.initializer[0].raw_data


def test_edges_are_dealt_their_clients(here: Path) -> None:
    told = run(
        "recipe:Hierarchical", *MLP, *DIGITS, "--peers", "client=6,edge=2", "--until", "rounds=2", "--with", "epochs=1",
        cwd=here,
    )  # fmt: skip
    assert told["outputs"]["training"] == {"num_samples": 1437, "peers": 2}


def test_rounds_that_begin_by_themselves_take_the_rule_of_the_run(here: Path) -> None:
    arguments = (*MLP, *DIGITS, "--peers", "3", "--until", "rounds=3", "--with", "epochs=1")
    invoked = run("recipe:FederatedAveraging", *arguments, cwd=here)
    by_itself = run("recipe:FederatedAveraging", *arguments, "--with", "repeats=true", cwd=here)
    assert by_itself["outputs"]["ended"]["rounds"] == by_itself["rounds"] == 3
    assert by_itself["parameters_sha256"] == invoked["parameters_sha256"]


def test_scaffold_and_its_model(here: Path) -> None:
    told = run(
        "recipe:Scaffold", "--bind", "model=net.onnx", "--set", "model.control_variates=true", *DIGITS,
        "--set", "data.alpha=0.3", "--peers", "4", "--until", "rounds=3", cwd=here,
    )  # fmt: skip
    assert told["accuracy"][-1] > told["accuracy"][0]


def test_for_people_it_prints_a_table(here: Path) -> None:
    shown = bb("run", "recipe:FederatedAveraging", *MLP, *DIGITS, "--peers", "3", "--until", "rounds=2", cwd=here)
    for text in ("accuracy", "best round", "2 rounds are done", "num_samples 1437", "sha256"):
        assert text in shown


def test_a_program_of_ones_own_runs_too(here: Path) -> None:
    (here / "own.py").write_text(
        "import bb_core as bb\n"
        "class Half(bb.Module):\n"
        "    backend = bb.BackendSlot(default='bytesandbrains.CpuBackend')\n"
        "    def body(self, g):\n"
        "        go = g.input('go', bb.types.TRIGGER)\n"
        "        g.output('loss', g.gate(g.constant(0.25), go))\n",
        encoding="utf-8",
    )
    told = run("own.py:Half", "--until", "loss=0.3,rounds=5", cwd=here)
    assert (told["rounds"], told["ended"], told["loss"]) == (1, "loss is 0.25", [0.25])
    assert told["parameters_sha256"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("recipe:FedratedAveraging",), "did you mean 'FederatedAveraging'"),
        (("recipe:FederatedAveraging", "--with", "epoch=3"), "did you mean 'epochs'"),
        (("recipe:FederatedAveraging", "--with", "3"), "--with name=value"),
        (("recipe:FederatedAveraging", "--until", "0.95"), "no rule to stop by"),
        (("recipe:FederatedAveraging", "--peers", "many"), "client=20,edge=2"),
        (("recipe:FederatedAveraging", "--seed", "-1"), "0 or more"),
        (("recipe:FederatedAveraging", "--bind", "model=absent.onnx"), "no file 'absent.onnx'"),
        (("recipe:FederatedAveraging", *MLP), "the data_source slot 'data' has no Concrete"),
        (("recipe:FederatedAveraging", *MLP, *DIGITS, "--set", "data.name=imagenet"), "imagenet"),
        (("recipe:FederatedAveraging", *MLP, *DIGITS, "--save", "no/such/m.onnx"), "no directory"),
        (("recipe:Hierarchical", *MLP, *DIGITS, "--peers", "20"), "which of the classes"),
        (("recipe:GossipAveraging", "--bind", "average=bytesandbrains.GossipMean"), "begins by itself"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(arguments: tuple[str, ...], says: str, here: Path) -> None:
    with pytest.raises(BBError) as caught:
        bb("run", *arguments, cwd=here)
    assert says in str(caught.value)


def test_recipes_are_programs_of_the_other_commands_too(here: Path) -> None:
    assert "TrainEpochs" in bb("inspect", "recipe:FederatedAveraging", cwd=here)
    listed = bb("plugins", cwd=here)
    assert "SplitLearning" in listed
    assert "Hierarchical" in listed


def test_methods_are_set_beside_one_another(here: Path) -> None:
    arguments = ("--seeds", "2", "--rounds", "2", "--clients", "4")
    told = json.loads(bb("methods", "--methods", "FedAvg,SCAFFOLD", *arguments, "--json", cwd=here))
    assert [(r["setting"], r["method"]) for r in told["rows"][:3]] == [
        ("even, E=1", "FedAvg"), ("even, E=1", "SCAFFOLD"), ("even, E=5", "FedAvg"),
    ]  # fmt: skip
    first, scaffold = (r["curves"] for r in told["rows"][:2])
    assert len(first) == 2
    assert all(len(curve) == 2 for curve in first)
    assert [c[0] for c in first] == [c[0] for c in scaffold]  # equal beginnings, and no variates yet
    with pytest.raises(BBError, match="did you mean 'FedAvg'"):
        bb("methods", "--methods", "FedAvgg", cwd=here)
