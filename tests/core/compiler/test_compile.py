"""What the compiler makes of a program, and how it refuses a wrong one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import bb_core as bb
from bb_core import errors, keys
from bb_core.compiler.passes import PASSES
from bb_core.ids import site_id
from bb_core.ir.proto import attribute, metadata
from tests.support import AVERAGING, Averaging, Everyone, Mean, Numbers, NumpyBackend, Weight

ROOT = Path(__file__).parents[3]


def compiled(
    module: bb.Module | None = None, bindings: dict[str, Any] | None = None, **options: Any
) -> onnx.ModelProto:
    return bb.Compiler().bind(AVERAGING if bindings is None else bindings).compile(module or Averaging(), **options)


def test_there_are_eighteen_passes_each_in_its_own_file_with_a_doc() -> None:
    assert len(PASSES) == 18
    for each in PASSES:
        assert each.run.__module__.endswith(f".{each.name}")
        assert each.doc


def test_the_artefact_is_checkable_and_has_a_function_for_each_class() -> None:
    artefact = compiled()
    onnx.checker.check_model(artefact, full_check=True)
    assert [f.name for f in artefact.functions] == ["Averaging", "Averaging@client"]
    ops = {f.name: [n.op_type for n in f.node] for f in artefact.functions}
    assert ops["Averaging@client"] == ["Recv", "LoadParameters", "TrainEpochs", "Params", "Send"]
    assert {"Sample", "Params", "Send", "Recv", "Contribute", "Collect", "Aggregate"} <= set(ops["Averaging"])


def test_sites_depend_on_function_and_port_alone() -> None:
    sites = {
        (f.name, port): site & 0xFFFFFFFFFFFFFFFF
        for f in compiled().functions
        for n in f.node
        if n.op_type == "Recv"
        for port, site in zip(attribute(n, keys.PORTS), attribute(n, keys.SITES), strict=True)
    }
    assert sites == {key: site_id(*key) for key in sites}
    assert len(sites) == 3


def test_the_program_that_was_built_is_not_changed() -> None:
    built = Averaging().build()
    before = built.SerializeToString(deterministic=True)
    bb.Compiler().bind(AVERAGING).compile(built)
    assert built.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_equal_bytes_in_every_process(hash_seed: str) -> None:
    here = hashlib.sha256(compiled().SerializeToString(deterministic=True)).hexdigest()
    program = (
        "import hashlib, bb_core as bb; from tests.support import *;"
        "a = bb.Compiler().bind(AVERAGING).compile(Averaging());"
        "print(hashlib.sha256(a.SerializeToString(deterministic=True)).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == here


def test_the_source_lines_stand_outside_the_digest() -> None:
    artefact = compiled()
    passport = json.loads(metadata(artefact)[keys.PASSPORT])
    for function in artefact.functions:
        for node in function.node:
            for prop in node.metadata_props:
                if prop.key == keys.SOURCE:
                    prop.value = "elsewhere.py:1"
    from bb_core.ir.passport import digest_of

    assert digest_of(artefact) == passport["digest"]


# --- refusals ---------------------------------------------------------------------------------------------------------


class Crossing(bb.Module):
    """Adds a value of the coordinator to one of a client."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        received = g.send(x, to=self.cohort.sample(g, n=1, after=x))
        g.output("y", self.backend.add(g, x, received))


class Nowhere(bb.Module):
    """Sends to peers of which nothing is known."""

    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        peers = g.send(g.input("who", bb.types.PEER_LIST), to=g.input("first", bb.types.PEER_LIST))
        g.output("y", g.send(g.gate(g.constant(1.0), after=peers), to=peers))


class Never(bb.Module):
    """Joins what an invoke gives with what an Envelope brings."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        there = g.send(x, to=self.cohort.sample(g, n=1, after=x))
        back = g.send(there, to=there.sender)
        g.output("y", self.backend.add(g, x, back))


class Healthy(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        g.output("y", g.send(x, to=self.cohort.sample(g, n=1, after=x), gates=["peer_health"]))


class Typed(bb.Module):
    """A tensor of the wrong type, which only the solver can see."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32[2]), g.input("y", bb.f32[3])
        g.output("z", self.backend.add(g, x, y))


@bb.concrete("tests.NeedsA")
@bb.depends(peer_selector="cohort")
class NeedsA(Weight): ...


@bb.concrete("tests.NeedsB")
@bb.depends(model="model")
class NeedsB(Everyone): ...


@bb.concrete("tests.NeedsBackend")
@bb.depends(backend="compute")
class NeedsBackend(Weight): ...


@bb.concrete("tests.Bare")
class Bare(bb.roles.Model): ...


def bind(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**AVERAGING, **changes}.items() if v is not None}


_PAIR = {"cohort": Everyone, "backend": NumpyBackend}
REFUSALS: list[tuple[str, Callable[[], object], type[errors.BBError], tuple[str, ...]]] = [
    ("a slot without a Concrete", lambda: compiled(bindings=bind(model=None)),
     errors.UnboundSlot, ("'model'", "support.py:", "Compiler().bind")),
    ("a slot bound twice", lambda: bb.Compiler().bind(AVERAGING).bind_model("model", Weight),
     errors.DuplicateBinding, ("'model'", "Weight", "remove one")),
    ("a binding of no slot", lambda: compiled(bindings=bind(modle=Weight)),
     errors.UnknownSlot, ("'modle'", "did you mean 'model'")),
    ("a Concrete of another Role", lambda: compiled(bindings=bind(model=Numbers)),
     errors.RoleMismatch, ("Numbers", "model")),
    ("a Concrete that nobody registers", lambda: compiled(bindings=bind(model="nobody.Nothing")),
     errors.UnboundSlot, ("nobody.Nothing", "no plugin registers")),
    ("an op that the Concrete lacks", lambda: compiled(bindings=bind(model=Bare)),
     errors.CompileErrors, ("does not implement train_epochs", "support.py:")),
    ("a dependency that is not bound", lambda: compiled(bindings=bind(model=NeedsBackend)),
     errors.UnboundDependency, ("backend", "'compute'")),
    ("a dependency of another Role", lambda: compiled(bindings=bind(model=NeedsBackend, compute=Mean)),
     errors.RoleMismatch, ("Mean", "'compute'")),
    ("a ring of dependencies", lambda: compiled(bindings=bind(model=NeedsA, cohort=NeedsB)),
     errors.DependencyCycle, ("cohort -> model -> cohort",)),
    ("an unknown option", lambda: compiled(bindings=bind(model=bb.use(Weight, begin=1.0))),
     errors.ConfigError, ("'begin'", "'model'")),
    ("an option of the wrong type", lambda: compiled(bindings=bind(model=bb.use(Weight, start="one"))),
     errors.ConfigError, ("str", "'model'")),
    ("an unknown target", lambda: compiled(targets=["Averaging@clients"]),
     errors.UnknownTarget, ("did you mean 'Averaging@client'",)),
    ("an unknown late slot", lambda: compiled(late=["dta"]), errors.UnknownSlot, ("'dta'", "'data'")),
    ("one op on two classes", lambda: compiled(Crossing(), _PAIR),
     errors.CrossClassDataflow, ("test_compile.py:", "g.send")),
    ("inputs that never meet", lambda: compiled(Never(), _PAIR), errors.UnreachableOp, ("never arrive together",)),
    ("a send to unknown peers", lambda: compiled(Nowhere(), {}), errors.UnresolvedPeerClass, ("PeerSelector",)),
    ("shapes that do not fit", lambda: compiled(Typed(), {"backend": NumpyBackend}), errors.TypeSolveError, ("Add",)),
    ("a class", lambda: bb.Compiler().compile(Averaging), errors.MalformedProgram, ("such as Averaging()",)),
    ("bytes", lambda: bb.Compiler().compile(b"x"), errors.MalformedProgram, ("a bytes cannot be compiled",)),
    ("a number as a Concrete", lambda: bb.Compiler().bind({"model": 3}), errors.RoleMismatch, ("a int was bound",)),
    ("another class", lambda: bb.Compiler().bind({"model": dict}), errors.RoleMismatch, ("the class dict",)),
    ("a model without functions", lambda: bb.Compiler().compile(onnx.ModelProto()),
     errors.MalformedProgram, ("build()",)),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "error", "says"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_refusals(attempt: Callable[[], object], error: type[Exception], says: tuple[str, ...]) -> None:
    with pytest.raises(error) as caught:
        attempt()
    for text in says:
        assert text in str(caught.value)


def test_all_errors_of_a_pass_come_together() -> None:
    with pytest.raises(errors.CompileErrors) as caught:
        compiled(bindings={"model": Numbers, "modle": Weight})
    assert {type(e) for e in caught.value.errors} == {errors.UnboundSlot, errors.RoleMismatch, errors.UnknownSlot}


def test_a_late_slot_needs_no_concrete() -> None:
    artefact = compiled(bindings=bind(data=None), late=["data"])
    assert json.loads(metadata(artefact)[keys.BINDINGS])["data"]["concrete"] is None


def test_other_targets_slots_need_no_concrete() -> None:
    compiled(bindings=bind(aggregator=None, cohort=None), targets=["Averaging@client"])
