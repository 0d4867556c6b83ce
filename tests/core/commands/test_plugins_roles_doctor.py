"""`bb plugins`, `bb roles` and `bb doctor`: what is there, and what to do about what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bb_core.commands.application import Application
from bb_core.commands.doctor import EXTRAS
from bb_core.errors import PluginLoadError
from bb_core.roles import ROLES
from bb_core.roles.contract import specs_of
from bb_plugins.bench.suites.starting import write_plugins

ROOT = Path(__file__).parents[3]


def bb(*arguments: str, path: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, dict.fromkeys([ROOT, path])))
    return subprocess.run(
        [sys.executable, "-m", "bb_core.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": paths} | environment,
    )


def told(*arguments: str, key: str, **options: Any) -> list[dict[str, Any]]:
    done = bb(*arguments, "--json", **options)
    assert done.stdout, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)[key]
    return found


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plugins that are installed as pip leaves them: one whole, one of another time, one whose Concrete is missing."""
    folder = tmp_path_factory.mktemp("strangers")
    for name, text in {
        "str_whole": "import bb_core as bb\n@bb.hookimpl\ndef bb_register_suites(suites):\n    suites.add('str', 'x')\n"
        "@bb.hookimpl\ndef bb_register_commands(app):\n    app.command('hello')(lambda: None)\n",
        "str_future": "bb_api_version = 99\n",
        "str_hollow": "import bb_core as bb\n@bb.hookimpl\ndef bb_register_concretes(registry):\n"
        "    registry.add('str.Gone', 'str_gone:Gone', role='model')\n",
    }.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir()
        dist = name.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bytesandbrains]\n{name} = {name}\n", encoding="utf-8")
    return folder


def test_plugins_tells_what_each_adds_and_why_not(strangers: Path) -> None:
    found = {p["entry_point"]: p for p in told("plugins", key="plugins", path=strangers)}
    assert found["str_whole"]["adds"] == {"suites": ["str"], "commands": ["hello"]}
    assert found["str_whole"]["status"] == "loaded"
    assert found["str_future"]["status"] == "failed"
    assert "version 99 of the hooks; this is version 1" in found["str_future"]["error"]
    assert "bytesandbrains.FedAvg" in found["aggregators"]["adds"]["concretes"]
    assert "demo" in found["recipes"]["adds"]["commands"]
    assert found["hosts"]["adds"]["commands"] == ["node", "simulate", "up"]
    assert found["transports"]["adds"]["commands"] == ["certs"]


@pytest.mark.parametrize("name", ["str_whole", "str-whole"])
def test_a_plugin_is_disabled_by_its_name_or_its_distributions(strangers: Path, name: str) -> None:
    found = told("plugins", key="plugins", path=strangers, BB_DISABLE_PLUGINS=f"{name}, ")
    (status,) = [p for p in found if p["entry_point"] == "str_whole"]
    assert (status["status"], status["error"]) == ("blocked", "disabled by BB_DISABLE_PLUGINS")


def test_a_program_blocks_a_plugin_before_it_begins() -> None:
    program = (
        "from bb_core.plugins import block, installed_plugins\nblock('aggregators')\n"
        "print([s.error for s in installed_plugins().statuses if s.name == 'aggregators'])\n"
        "try:\n    block('models')\nexcept Exception as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "['blocked by this program']" in done.stdout
    assert "loaded already" in done.stdout


def test_roles_tells_ops_traits_and_concretes() -> None:
    found = {r["role"]: r for r in told("roles", key="roles")}
    assert found.keys() == ROLES.keys()
    for name, role in found.items():
        assert [o["method"] for o in role["ops"]] == list(specs_of(ROLES[name]))
        assert all(t["doc"] for t in role["traits"])
    assert {"name": "bytesandbrains.FedAvg", "owner": "bytesandbrains 0.1.0 (aggregators)"} in found["aggregator"][
        "concretes"
    ]
    assert "cohort" in {t["trait"] for t in found["aggregator"]["traits"]}


def test_one_role_is_told_in_full() -> None:
    done = bb("roles", "codec")
    assert "Encode(value: tensor) -> encoded: any, stats: record" in done.stdout
    assert "max_error = None  Largest error of an element" in done.stdout
    assert "aggregator" not in done.stdout
    assert "did you mean 'codec'" in bb("roles", "codecs").stderr


def test_a_sound_installation_passes_the_doctor() -> None:
    done = bb("doctor")
    assert done.returncode == 0, done.stdout
    for part in ("compiled _codec", "compiled _dispatch", "numpy's BLAS", "kernel cache", "numba", "extra [bench]"):
        assert part in done.stdout
    assert done.stdout.splitlines()[-1] == "all that is needed is there"


def test_what_is_broken_fails_and_says_what_to_do(strangers: Path) -> None:
    done = bb("doctor", "--json", path=strangers, BB_DISABLE_PLUGINS="str_whole,agregators")
    assert done.returncode == 1
    found = {f["what"]: f for f in json.loads(done.stdout)["findings"]}
    assert found["plugin str-future:str_future"]["status"] == "broken"
    assert "pip install -U str-future" in found["plugin str-future:str_future"]["todo"]
    assert found["Concrete str.Gone"]["status"] == "broken"
    assert "No module named 'str_gone'" in found["Concrete str.Gone"]["found"]
    assert found["plugin str-whole:str_whole"]["status"] == "note"
    assert "did you mean 'aggregators'" in found["BB_DISABLE_PLUGINS"]["todo"]
    assert all(f["todo"] for f in found.values() if f["status"] != "ok")


def test_a_missing_extension_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from bb_core.commands import doctor

    monkeypatch.setattr(doctor, "COMPILED", ("bb_core.wire._no_such",))
    (finding,) = doctor._compiled()
    assert (finding.status, "make setup" in finding.todo) == ("broken", True)


def test_an_extra_that_another_holds_is_looked_into() -> None:
    from bb_core.commands.doctor import _needed

    wanted = {"demo": {"matplotlib>=3", "scikit-learn"}, "bench": {"bytesandbrains[demo]", "pytest>=9"}}
    wanted["test"] = {"bytesandbrains[bench,demo]", "build"}
    assert _needed("test", wanted) == {"matplotlib", "scikit-learn", "pytest", "build"}


def test_every_extra_is_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys()


def test_the_pytest_plugin_is_one_by_either_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"bb_core.testing.pytest_plugin": "bb_core.testing.pytest_plugin"}


def modules_after(*arguments: str, path: str = "") -> tuple[set[str], str]:
    """What a fresh process has loaded when a command has run, and what it has printed."""
    program = f"""
import contextlib, io, json, sys
from bb_core import cli
sys.argv = ["bb", *{list(arguments)!r}]
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    cli.main()
print(json.dumps([sorted(sys.modules), printed.getvalue()]))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([path, str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    loaded, printed = json.loads(done.stdout)
    return set(loaded), printed


def test_listing_plugins_loads_no_kernel_no_extra_and_no_other_command() -> None:
    loaded, printed = modules_after("plugins")
    assert "bytesandbrains.FlatIndex" in printed
    assert "commands: compare, demo, methods, run, warmup" in printed
    tops = {name.partition(".")[0] for name in loaded}
    assert (
        tops & {"numba", "scipy", "sklearn", "matplotlib", "onnx", "onnxruntime", "usearch", "faiss", "grpc"} == set()
    )
    assert {n for n in loaded if n.startswith("bb_plugins.") and n.count(".") > 1} <= {
        n for n in loaded if n.endswith(".plugin")
    }
    assert not loaded & {"bb_core.node", "bb_core.compiler", "bb_core.commands.doctor"}


def test_a_hundred_plugins_are_listed(tmp_path: Path) -> None:
    write_plugins(tmp_path, 100)
    _, printed = modules_after("plugins", "--json", path=str(tmp_path))
    found = {p["distribution"]: p for p in json.loads(printed)["plugins"]}
    for number in range(100):
        one = found[f"bb-generated-{number:03}"]
        assert (one["status"], one["concretes"]) == ("loaded", [f"bb_generated_{number:03}.One"])


def test_a_command_that_cannot_be_imported_stops_itself_alone() -> None:
    app = Application()
    app.later("good", "bb_core.cli:version")
    app.later("bad", "no.such.module:run")
    app.later("worse", "bb_core.cli:no_such_function")
    assert [*app.names] == ["good", "bad", "worse"]
    assert [error.message.partition(" cannot")[0] for error in app.load()] == [
        "the command 'bad'",
        "the command 'worse'",
    ]
    assert [*app.names] == ["good"]
    other = Application()
    other.later("bad", "no.such.module:run")
    with pytest.raises(PluginLoadError, match="No module named 'no'"):
        other.load("bad")
