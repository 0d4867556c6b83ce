"""The kit itself: reports, expected failures, traits, and how a Concrete is named."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import InvalidConcrete, NotConforming, UsageError
from bb_core.testing import CheckResult, check_concrete, checks_of, parametrize_checks
from bb_core.testing.kit import report
from tests.core.testing.broken import Overshooting, Shrinking
from tests.core.testing.whole import Half, Linear, Mean


def test_a_failure_is_a_readable_report() -> None:
    with pytest.raises(NotConforming) as caught:
        check_concrete(Overshooting)
    text = str(caught.value)
    assert "Overshooting breaks 1 of " in text
    assert "failed aggregator-the_result_lies_between_the_updates" in text
    assert "promised: Each coordinate of a first round's result lies between" in text
    assert caught.value.fields["failed"] == ["aggregator-the_result_lies_between_the_updates"]


def test_results_say_what_was_promised() -> None:
    results = check_concrete(Mean)
    assert all(isinstance(r, CheckResult) and r.promise.endswith(".") and r.role == "aggregator" for r in results)
    assert report(results[:1]).startswith("  passed aggregator-has_a_stable_name")


@pytest.mark.parametrize("name", ["equal_updates_come_out", "aggregator-equal_updates_come_out"])
def test_an_expected_failure_has_a_reason(name: str) -> None:
    results = check_concrete(Shrinking, expected_failures={name: "it shrinks on purpose"})
    (found,) = [r for r in results if r.status == "xfailed"]
    assert (found.name, found.reason) == ("aggregator-equal_updates_come_out", "it shrinks on purpose")
    assert found.error is not None


def test_what_was_expected_to_fail_and_holds_is_a_failure() -> None:
    with pytest.raises(NotConforming, match=r"expected to fail \(it is broken\), and holds"):
        check_concrete(Mean, expected_failures={"reset_forgets": "it is broken"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expected_failures": {"reset_forgets": " "}}, "without a reason"),
        ({"expected_failures": {"reset_forget": "x"}}, "did you mean"),
        ({"traits": {"cohorts": 3}}, "did you mean 'cohort'"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checks_of(Mean, **options)


def test_what_is_no_concrete_is_refused() -> None:
    for what in (object, lambda: object()):  # noqa: PLW0108  # a class is taken otherwise than a function
        with pytest.raises(InvalidConcrete, match="no Role among its bases"):
            checks_of(what)
    with pytest.raises(UsageError, match="makes no Concrete"):
        checks_of(3)


@pytest.mark.parametrize(
    "make", [Linear, "tests.whole.Linear", bb.use(Linear, rate=0.1), lambda: Linear(Linear.Config())]
)
def test_a_concrete_is_named_in_any_way(make: Any) -> None:
    assert {r.status for r in check_concrete(make, traits={"classes": None})} == {"passed"}


def test_a_trait_changes_which_checks_apply() -> None:
    assert {r.name: r.status for r in check_concrete(Half)}["codec-the_error_is_as_declared"] == "skipped"
    with pytest.raises(NotConforming, match="max_error is 1e-08"):
        check_concrete(Half, traits={"max_error": 1e-8})


class Both(Mean, Half):
    """An Aggregator that is a Codec as well."""

    __bb_name__ = "tests.kit.Both"
    config: Any


def test_a_concrete_of_two_roles_has_the_checks_of_both() -> None:
    names = {c.name for c in checks_of(Both, traits={"max_error": 1e-3})}
    assert {"aggregator-reset_forgets", "codec-sizes_are_true", "codec-ops_run", "aggregator-ops_run"} <= names


def test_the_process_keeps_its_random_numbers() -> None:
    np.random.seed(3)
    wanted = np.random.random()
    np.random.seed(3)
    check_concrete(Mean)
    assert np.random.random() == wanted


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import matplotlib", "loads matplotlib"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "starts 1 thread"),
    ],
)
def test_a_heavy_import_is_found(body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    name = f"heavy_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(
        "from tests.core.testing.whole import Mean\n"
        f"def work():\n    {body}\nimport sys\nif not sys.argv[0].endswith('pytest'): work()\n"
        f"class Heavy(Mean):\n    'Heavy.'\n    __bb_name__ = 'tests.heavy.{name}'\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    found = importlib.import_module(name).Heavy
    results = check_concrete(found, raises=False)
    (failed,) = [r for r in results if r.status == "failed"]
    assert failed.name == "aggregator-import_is_light"
    assert message in failed.reason


@bb.concrete("tests.kit.Mute")
class Mute(bb.roles.Protocol):
    """It has no protocol, and so nothing to say."""


def test_a_protocol_without_a_name_is_found() -> None:
    failed = {r.name for r in check_concrete(Mute, raises=False) if r.status == "failed"}
    assert failed == {"protocol-declares_a_protocol"}


def test_a_protocol_without_ops_is_found() -> None:
    class Silent(bb.roles.Protocol):
        """Named, and silent."""

        protocol = "tests.silent"
        __bb_name__ = "tests.kit.Silent"

    failed = {r.name for r in check_concrete(Silent, raises=False) if r.status == "failed"}
    assert failed == {"protocol-declares_a_protocol"}


@parametrize_checks(Mean)
def test_a_plugin_authors_whole_file(check: Any) -> None:
    check()


def test_pytest_shows_each_status(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from bb_core.testing import parametrize_checks\n"
        "from tests.core.testing.broken import Shrinking\n"
        "@parametrize_checks(Shrinking, traits={'snapshot': False}, expected_failures={'reset_forgets': 'not so'})\n"
        "def test_conformance(check):\n    check()\n"
        "def test_fixtures(check_concrete, loopback, fake_clock):\n"
        "    assert fake_clock.advance('1s') == 10**9\n"
        "    from tests.support import AVERAGING, Averaging\n"
        "    network = loopback(Averaging(), AVERAGING, {'client': 3})\n"
        "    assert len(network.nodes) == 4\n",
        encoding="utf-8",
    )
    out = _pytest(tmp_path)
    assert "FAILED test_it.py::test_conformance[aggregator-equal_updates_come_out]" in out
    assert "FAILED test_it.py::test_conformance[aggregator-reset_forgets]" in out
    assert "SKIPPED" in out
    assert "test_fixtures" not in out
    assert "2 failed" in out


def _pytest(folder: Path) -> str:
    import os
    import subprocess

    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "bb_core.testing.pytest_plugin", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
