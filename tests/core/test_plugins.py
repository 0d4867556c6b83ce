"""The plugin door: a stranger's package, installed by pip into an environment of its own, and used by name."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from bb_core.errors import DuplicateRegistration, InvalidConcrete, UnknownConcrete
from bb_core.registry import Registry

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "bb-median"
version = "1.2.3"
[project.entry-points.bytesandbrains]
median = "bb_median.plugin"
broken = "bb_median.broken"
[tool.setuptools]
packages = ["bb_median"]
"""
PLUGIN = """
import bb_core as bb
from bb_core.ops import Attribute, OpSpec, Port
from bb_core.types import TENSOR

@bb.hookimpl
def bb_register_concretes(registry):
    registry.add("bb_median.Median", "bb_median.median:Median", role="aggregator")

@bb.hookimpl
def bb_register_ops(ops):
    ops.add(OpSpec(
        "bb_median.ops", "Spread", 1, (Port("values", TENSOR, variadic=True),), (Port("spread", TENSOR),),
        (Attribute("scale", "float", 1.0),), call="bb_median.median:spread",
    ))

@bb.hookimpl
def bb_register_gradients(gradients):
    gradients.add("Atan", "bb_median.rules:atan")

@bb.hookimpl
def bb_register_recipes(recipes):
    recipes.add("Passing", "bb_median.rules:Passing")

@bb.hookimpl
def bb_register_commands(app):
    raise LookupError("no terminal today")
"""
MEDIAN = '''
from dataclasses import dataclass
import numpy as np
import bb_core as bb

@bb.concrete("bb_median.Median")
class Median(bb.roles.Aggregator):
    """Coordinate-wise median."""

    @dataclass(frozen=True, slots=True)
    class Config:
        quorum: int | None = None
        minimum: int = 1

    def combine(self, ctx, contributions):
        return np.median([c.update for c in contributions], axis=0).astype(np.float32), bb.Record(median=True)

def spread(ctx, *values, scale):
    return np.float32(scale) * np.float32(np.ptp(values))
'''
PROGRAM = """
import json
import bb_core as bb
from bb_core.plugins import installed_plugins
from tests.support import Averaging, Everyone, Numbers, Weight

result = bb.run(
    Averaging(n=3),
    bindings={
        "cohort": Everyone, "model": Weight, "aggregator": "bb_median.Median",
        "data": bb.each(Numbers, lambda n: {"numbers": (float((n + 1) ** 3),)}),
    },
    peers={"client": 3},
)
plugins = {s.name: s.error for s in installed_plugins().statuses}
needs = [p.value for p in result.artefact.metadata_props if p.key.endswith("passport")]
print(json.dumps({"params": float(result.metrics[0]["params"][0]), "plugins": plugins, "passport": needs}))
"""
RULES = """
import bb_core as bb

def atan(t, node, grads):
    x = node.input[0]
    return [t.op("Div", grads[0], t.op("Add", t.number(1, x), t.op("Mul", x, x, like=x), like=x), like=x)]

class Passing(bb.Module):
    def body(self, g):
        g.output("y", g.input("x", bb.types.TRIGGER))
"""
RULE_PROGRAM = """
import json
import numpy as np
from onnx import parser
from onnx.reference import ReferenceEvaluator
from onnx import helper
from bb_plugins.training.gradients import gradients

graph = parser.parse_graph("g (float[2] x) => (float y) { a = Atan(x)\\n y = ReduceSum<keepdims=0>(a) }")
model = helper.make_model(gradients(graph, "y", ["x"], 21), opset_imports=[helper.make_opsetid("", 21)])
print(json.dumps(ReferenceEvaluator(model).run(["grad/x"], {"x": np.array([0, 2], np.float32)})[0].tolist()))
"""
OP_PROGRAM = """
import json
import numpy as np
import bb_core as bb

class Spreading(bb.Module):
    def body(self, g):
        g.output("spread", bb.opset("bb_median.ops").spread(g, g.input("x"), g.input("y"), scale=2.0))

artefact = bb.Compiler().compile(Spreading())
node = bb.install(bb.PeerId.from_int(0), [], artefact.SerializeToString(), ["Spreading"])
node.invoke("Spreading", {"x": np.ones(1), "y": np.full(1, 4.0)}, 0)
(event,) = [s for s in node.poll(0).steps if isinstance(s, bb.steps.AppEvent)]
needs = [p.value for p in artefact.metadata_props if p.key.endswith("passport")]
print(json.dumps({"spread": float(event.value), "passport": needs}))
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that sees this environment, and the stranger's package beside it."""
    home = tmp_path_factory.mktemp("stranger")
    source = home / "bb-median" / "bb_median"
    source.mkdir(parents=True)
    (source.parent / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for name, text in (
        ("__init__", ""), ("plugin", PLUGIN), ("median", MEDIAN), ("rules", RULES),
        ("broken", "raise OSError('no licence file')"),
    ):  # fmt: skip
        (source / f"{name}.py").write_text(text, encoding="utf-8")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    paths = [*site.getsitepackages(), str(ROOT)]
    (packages / "ours.pth").write_text(
        "\n".join(f"import site; site.addsitedir({p!r})" for p in paths), encoding="utf-8"
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", str(source.parent)],
        check=True, capture_output=True, env=os.environ | {"PIP_NO_CACHE_DIR": "1"},
    )  # fmt: skip
    return python


def test_a_strangers_aggregator_is_used_by_name(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run([stranger, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["params"] == 8.0  # the median of 1, 8 and 27
    assert told["plugins"]["median"] == ""
    assert "no licence file" in told["plugins"]["broken"]
    assert "bb-median 1.2.3" in told["passport"][0]


def test_a_strangers_op_is_recorded_compiled_and_run(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run([stranger, "-c", OP_PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["spread"] == 6.0
    assert "bb-median 1.2.3" in told["passport"][0]


def test_a_strangers_gradient_rule_is_found_by_its_op(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run([stranger, "-c", RULE_PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx([1.0, 0.2])


def test_bb_plugins_shows_what_is_there_and_why_something_is_not(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [stranger, "-m", "bb_core.cli", "plugins", "--json"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found = {p["entry_point"]: p for p in json.loads(done.stdout)["plugins"]}
    assert found["median"]["concretes"] == ["bb_median.Median"]
    assert found["median"]["adds"]["gradients"] == ["Atan"]
    assert found["median"]["adds"]["recipes"] == ["Passing"]
    assert "OSError: no licence file" in found["broken"]["error"]


def test_a_command_hook_that_raises_stops_no_other_command(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [stranger, "-m", "bb_core.cli", "version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.startswith("bytesandbrains ")
    assert "commands of bb-median:median are missing: LookupError: no terminal today" in done.stderr


def test_a_disabled_plugin_is_named_when_it_is_missed(stranger: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [stranger, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"BB_DISABLE_PLUGINS": "median"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "no plugin registers the Concrete 'bb_median.Median'" in done.stderr
    assert "disabled by BB_DISABLE_PLUGINS" in done.stderr


def test_two_owners_of_one_name_are_both_named() -> None:
    registry = Registry(owner="bb-one 1.0 (a)")
    registry.add("x.Y", "x:Y", role="model")
    other = Registry(owner="bb-two 2.0 (b)")
    other.add("x.Y", "z:Y", role="model")
    with pytest.raises(DuplicateRegistration) as caught:
        registry.take(other)
    assert "bb-one 1.0" in str(caught.value)
    assert "bb-two 2.0" in str(caught.value)


def test_a_target_without_a_class_is_refused() -> None:
    with pytest.raises(InvalidConcrete, match="module:Class"):
        Registry().add("x.Y", "x.Y", role="model")


def test_an_unknown_name_gets_the_nearest() -> None:
    registry = Registry(owner="bb-one 1.0 (a)")
    registry.add("x.Median", "x:Median", role="aggregator")
    with pytest.raises(UnknownConcrete, match=r"did you mean 'x\.Median'"):
        registry.resolve("x.Medain")


ABSENT = """
import sys
import bb_core as bb

try:
    bb.install(bb.PeerId.from_int(0), [], open(sys.argv[1], "rb").read(), sys.argv[2:])
except bb.errors.BBError as error:
    print(error.hint)
"""


def test_install_names_the_package_that_an_artefact_needs(stranger: Path, tmp_path: Path) -> None:
    compiling = PROGRAM.replace("result = bb.run(", "from pathlib import Path\nresult = bb.run(") + (
        f"Path({str(tmp_path / 'median.onnx')!r}).write_bytes(result.artefact.SerializeToString())\n"
    )
    subprocess.run([stranger, "-c", compiling], capture_output=True, text=True, check=True, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, tmp_path / "median.onnx", "Averaging"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("pip install bb-median==1.2.3")
    compiling = OP_PROGRAM + f"\nopen({str(tmp_path / 'op.onnx')!r}, 'wb').write(artefact.SerializeToString())\n"
    subprocess.run([stranger, "-c", compiling], capture_output=True, text=True, check=True, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, tmp_path / "op.onnx", "Spreading"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("pip install bb-median==1.2.3")
