"""`bb conformance` on Backends that a stranger might write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bb_core as bb
from bb_core.cli import application
from bb_core.errors import UsageError
from bb_plugins.bench.conformance import run_conformance


@bb.concrete("tests.HalfRight")
class HalfRight(bb.roles.Backend):
    """Adds well, multiplies badly, and knows quantisation as opset 21 has it."""

    ops = frozenset({"Add", "Mul", "QuantizeLinear"})

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        return {"Add": np.add, "Mul": np.add}[name]


def test_a_failure_is_told_and_ends_with_status_1() -> None:
    done = CliRunner().invoke(application(), ["conformance", "--backend", "tests.HalfRight", "--op", "Mul", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert (found["backend"], found["passed"]) == ("tests.HalfRight", 0)
    (row,) = found["ops"]
    assert row["applicable"] == row["total"] == len(row["failures"]) > 0
    assert all("Mismatched elements" in why for why in row["failures"].values())


def test_what_passes_ends_with_status_0() -> None:
    done = CliRunner().invoke(application(), ["conformance", "--backend", "tests.HalfRight", "--op", "Add"])
    assert done.exit_code == 0
    assert "tests.HalfRight" in done.output


def test_what_is_lacking_or_of_another_form_is_skipped_with_the_reason() -> None:
    lacking = run_conformance("tests.HalfRight", "Sub")
    assert lacking["applicable"] == 0
    assert set(lacking["ops"][0]["skipped"].values()) == {"it has no Sub"}
    newer = run_conformance("tests.HalfRight", "QuantizeLinear")
    assert set(newer["ops"][0]["skipped"].values()) == {"QuantizeLinear has another form in opset 28"}


def test_wrong_names_are_refused() -> None:
    with pytest.raises(UsageError, match="no node test is about 'Ad'") as caught:
        run_conformance("tests.HalfRight", "Ad")
    assert "did you mean" in str(caught.value)
    with pytest.raises(UsageError, match="is no Backend"):
        run_conformance("bytesandbrains.MLP")
    with pytest.raises(UsageError, match="there is no Backend") as caught:
        run_conformance("bytesandbrains.CpuBackends")
    assert "did you mean 'bytesandbrains.CpuBackend'" in str(caught.value)
