"""The bindings and the passport seal the artefact."""

from __future__ import annotations

import json

import onnx
import pytest

import bb_core as bb
from bb_core import errors, keys
from bb_core.ir.passport import digest_of
from bb_core.ir.proto import metadata
from tests.core.compiler.passes.programs import ASKING, GREETING, Asking, Greeting
from tests.core.compiler.passes.stage import alone, before, run
from tests.support import Numbers, Weight


def test_the_passport_names_targets_once_and_holds_the_digest() -> None:
    model = alone("stamp_compilation_metadata", Greeting(), GREETING)
    passport = json.loads(metadata(model)[keys.PASSPORT])
    assert passport["targets"] == ["Greeting", "Greeting@client"]
    assert passport["digest"] == digest_of(model)
    onnx.checker.check_model(model, full_check=True)


def test_a_changed_attribute_changes_the_digest() -> None:
    class More(Asking):
        name = "Asking"  # type: ignore[assignment]

        def body(self, g: bb.Graph) -> None:
            x = g.input("x", bb.f32[2])
            asked = g.send(x, to=self.cohort.sample(g, n=4, after=x))
            g.output("all", g.stack(g.gather(g.reply(self.backend.neg(g, asked), to=asked), deadline="5s")))

    three, four = (alone("stamp_compilation_metadata", m, ASKING) for m in (Asking(), More()))
    assert digest_of(three) != digest_of(four)


def test_bindings_are_written_with_their_configuration() -> None:
    class One(bb.Module):
        model = bb.ModelSlot()

        def body(self, g: bb.Graph) -> None:
            g.output("p", self.model.params(g, after=g.input("go", bb.types.TRIGGER)))

    model = alone("stamp_compilation_metadata", One(), {"model": bb.use(Weight, start=2.0)})
    assert json.loads(metadata(model)[keys.BINDINGS])["model"]["config"] == {"start": 2.0}


def test_a_configuration_that_is_no_plain_data_is_refused() -> None:
    model, state = before("stamp_compilation_metadata", Asking(), ASKING)
    state.bound["cohort"].config = object()
    run("stamp_compilation_metadata", model, state)
    with pytest.raises(errors.ConfigError, match="'cohort'"):
        state.raise_errors("stamp_compilation_metadata")
    assert Numbers
