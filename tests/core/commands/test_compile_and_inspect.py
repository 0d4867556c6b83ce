"""`bb compile` and `bb inspect`, as a user types them."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

import bb_core as bb
from bb_core import errors
from bb_core.cli import application
from bb_core.compiler.passes import PASSES
from bb_core.inspection import differences, read_program, tell, to_dot, to_svg
from tests.support import AVERAGING, Averaging

APP = """
import bb_core as bb

class Echo(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()

    def __init__(self, n: int = 3) -> None:
        self.n = n

    def body(self, g):
        go = g.input("go", bb.types.TRIGGER)
        asked = g.send(go, to=self.cohort.sample(g, n=self.n, after=go))
        answers = g.gather(g.reply(self.model.params(g, after=asked), to=asked))
        g.output("params", g.stack(answers))

class Needs(Echo):
    def __init__(self, n: int) -> None: ...

five = Echo(5)
number = 7
bindings = {
    "cohort": "bytesandbrains.ConstantView",
    "model": "bytesandbrains.MLP",
    "compute": "bytesandbrains.CpuBackend",
}
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


def bb_(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments))


@pytest.mark.usefixtures("app")
def test_a_module_in_a_file_is_compiled_and_looked_at() -> None:
    done = bb_("compile", "app.py:Echo", "-o", "echo.onnx")
    assert done.exit_code == 0, done.output
    assert "wrote echo.onnx" in done.output
    assert "warning[BB-C073] DefaultDeadline" in done.output
    onnx.checker.check_model(onnx.load("echo.onnx"), full_check=True)
    told = bb_("inspect", "echo.onnx")
    assert told.exit_code == 0
    for text in ("FUNCTION Echo@client", "Gather.Collect", "bytesandbrains.MLP", "answer", "app.py:15"):
        assert text in told.output


@pytest.mark.usefixtures("app")
def test_bindings_of_the_file_are_overridden() -> None:
    done = bb_("compile", "app.py:five", "--set", "model.learning_rate=0.5", "--late", "cohort", "--json")
    summary = json.loads(done.output)
    assert summary["slots"]["model"]["config"]["learning_rate"] == 0.5
    assert [p["pass"] for p in summary["passes"]] == ["build", *(p.name for p in PASSES)]
    assert summary["warnings"] == ["BB-C073"]
    assert Path("Echo.onnx").stat().st_size == summary["bytes"]
    again = bb_("compile", "app.py:five", "--bind", "model=tests.Weight", "--json")
    assert isinstance(again.exception, errors.CompileErrors | errors.CompileError) or again.exit_code == 0


@pytest.mark.usefixtures("app")
def test_timings_show_every_pass() -> None:
    done = bb_("compile", "app.py:Echo", "--timings")
    assert all(p.name in done.output for p in PASSES)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("after", ["build", *(p.name for p in PASSES)])
def test_a_program_is_shown_after_any_pass(after: str) -> None:
    done = bb_("inspect", "app.py:Echo", "--after", after)
    assert done.exit_code == 0, done.output
    assert ("FUNCTION Echo@client" in done.output) == (after not in [p.name for p in PASSES[:7]] + ["build"])


@pytest.mark.usefixtures("app")
def test_what_differs_is_said_in_words() -> None:
    bb_("compile", "app.py:Echo", "-o", "three.onnx")
    bb_("compile", "app.py:five", "-o", "five.onnx")
    same = bb_("inspect", "three.onnx", "--diff", "three.onnx")
    assert (same.exit_code, same.output) == (0, "no difference\n")
    other = bb_("inspect", "three.onnx", "--diff", "five.onnx")
    assert (other.exit_code, other.output) == (1, "~ Echo: Sample_0: attribute n: 3 -> 5\n")


@pytest.mark.usefixtures("app")
def test_pictures_and_data_are_written() -> None:
    assert bb_("inspect", "app.py:Echo", "--svg", "a.svg", "--dot", "a.dot").exit_code == 0
    ET.fromstring(Path("a.svg").read_text())
    assert Path("a.dot").read_text().startswith("digraph")
    program = json.loads(bb_("inspect", "app.py:Echo", "--json").output)
    assert [f["name"] for f in program["functions"]] == ["Echo", "Echo@client"]
    assert len(program["edges"]) == 2


MISTAKES = [
    (("compile", "nope.py:Echo"), errors.LoadError, "no file"),
    (("compile", "app.py:Eco"), errors.LoadError, "did you mean 'Echo'"),
    (("compile", "app.py:Needs"), errors.LoadError, "needs the arguments n"),
    (("compile", "app.py:number"), errors.LoadError, "is a int"),
    (("compile", "nosuchpackage.x:Echo"), errors.LoadError, "cannot be imported"),
    (("inspect", "app.py"), errors.LoadError, "no ONNX model"),
    (("inspect", "nope.onnx"), errors.LoadError, "no file"),
    (("inspect", "app.py:Echo", "--after", "valdate"), errors.UsageError, "did you mean 'validate'"),
    (("compile", "app.py:Echo", "--bind", "model"), errors.UsageError, "slot=Concrete"),
    (("compile", "app.py:Echo", "--set", "modle.x=1"), errors.UsageError, "did you mean 'model'"),
    (("compile", "app.py:Echo", "--set", "x"), errors.UsageError, "slot.option=value"),
    (("compile", "app.py:Echo", "--bind", "mdel=bytesandbrains.MLP"), errors.UnknownSlot, "did you mean 'model'"),
]


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(("arguments", "error", "says"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_mistakes_are_typed_errors(arguments: tuple[str, ...], error: type[Exception], says: str) -> None:
    done = bb_(*arguments)
    assert isinstance(done.exception, error), done.exception
    assert says in str(done.exception)


@pytest.mark.usefixtures("app")
def test_an_artefact_is_not_compiled_again() -> None:
    bb_("compile", "app.py:Echo", "-o", "echo.onnx")
    assert isinstance(bb_("compile", "echo.onnx").exception, errors.UsageError)
    assert isinstance(bb_("inspect", "echo.onnx", "--after", "validate").exception, errors.UsageError)


# --- the forms themselves ---------------------------------------------------------------------------------------------


class Everything(bb.Module):
    """Three classes, a bootstrap, a timer, and a send among equals."""

    edge = bb.PeerSelectorSlot(peer_class="edge")
    equals = bb.PeerSelectorSlot()
    backend = bb.BackendSlot()

    def bootstrap(self, g: bb.Graph) -> None:
        greeted = g.send(bb.syscalls.pulse(g), to=self.edge.current_view(g))
        bb.syscalls.app_notify(g, greeted, name="greeted")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        there = g.send((x, x), to=self.edge.sample(g, n=2, after=x))
        y = there[0]
        for _ in range(6):
            y = self.backend.relu(g, y + 1)
        g.output("all", g.stack(g.gather(g.reply(y, to=there[1]), deadline="5s")))
        pushed = g.send(x, to=self.equals.sample(g, n=1, after=x), name="push")
        bb.syscalls.record(g, pushed, name="pushed")
        g.output("tick", bb.syscalls.interval(g, period="10s"))


def programs() -> list[onnx.ModelProto]:
    slots = ["edge", "equals", "backend"]
    return [bb.Compiler().bind(AVERAGING).compile(Averaging()), bb.Compiler().compile(Everything(), late=slots)]


@pytest.mark.parametrize("model", programs(), ids=["Averaging", "Everything"])
def test_a_picture_has_every_op_and_edge_and_no_overlap(model: onnx.ModelProto) -> None:
    program = read_program(model)
    text = to_svg(program)
    assert text == to_svg(read_program(model)), "equal bytes for equal programs"
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    words = " ".join(t.text or "" for t in root.iter(f"{space}text"))
    for function in program.functions:
        assert function.target in words
    for edge in program.edges:
        assert all(port.rpartition("/")[2] in words for port in edge.values)
    arrows = [p for p in root.iter(f"{space}path") if p.get("d", "").startswith("M") and " C " in p.get("d", "")]
    assert len(arrows) == len(program.edges)
    boxes = [
        (float(r.get("x", 0)), float(r.get("y", 0)), float(r.get("width", 0)), float(r.get("height", 0)))
        for r in root.iter(f"{space}rect")
        if 15 < float(r.get("height", 0)) < 90
    ]
    for i, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[i + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "boxes overlap"


def test_long_runs_on_one_slot_are_one_box() -> None:
    assert "12 ops on backend" in to_svg(read_program(programs()[1]))


@pytest.mark.parametrize("model", programs(), ids=["Averaging", "Everything"])
def test_every_op_is_told_and_in_the_graph(model: onnx.ModelProto) -> None:
    program = read_program(model)
    told, dot = tell(program), to_dot(program)
    for function in program.functions:
        for op in function.ops:
            assert op.op in told
    assert dot.count("subgraph") == len(program.functions)
    assert dot.count("style=dashed") == len(program.edges)


def test_differences_name_targets_ops_edges_and_bindings() -> None:
    a, b = (read_program(m) for m in programs())
    lines = differences(a, b)
    assert "- target Averaging" in lines
    assert "+ target Everything@edge" in lines
    assert "- slot aggregator" in lines
    assert any(line.startswith("+ edge push (Everything -> Everything)") for line in lines)


def test_a_file_may_be_called_as_a_module_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(APP, encoding="utf-8")
    before = sys.modules["json"]
    done = CliRunner().invoke(application(), ("inspect", f"{tmp_path / 'json.py'}:Echo"))
    assert done.exit_code == 0, done.output
    assert sys.modules["json"] is before
