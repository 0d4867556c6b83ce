"""Each page of docs/errors that has an example: the wrong program is pointed at, and the right one compiles."""

from __future__ import annotations

import ast
import runpy
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest

from bb_core import places
from bb_core.errors import BBError, ProtocolWarning, all_errors, render

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "docs" / "errors" / "cases").glob("*.py"))
BY_CODE = {e.code: e for e in all_errors()}
MARK = "# Wrong:"


def raised_by(case: dict[str, Any]) -> BBError:
    """The error of the wrong program, or its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            case["wrong"]()
        except BBError as error:
            return error
    raise AssertionError("the wrong program is not refused")


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_the_wrong_program_is_pointed_at(path: Path) -> None:
    error = raised_by(runpy.run_path(str(path)))
    assert type(error) is BY_CODE[path.stem], error
    marked = [n + 1 for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if line.strip() == MARK]
    if marked:
        assert error.where is not None
        assert error.where.startswith(f"{path.name}:{marked[0]}:"), error
        _, line, caret = places.excerpt(error.where)
        call = line[caret.index("^") : caret.rindex("^") + 1]
        assert isinstance(
            ast.parse(call.rstrip("(") + "()" * call.endswith("("), mode="eval").body,
            ast.Call | ast.BinOp | ast.Attribute,
        )
    text = render(error)
    assert error.code in text
    assert error.hint or error.expected


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_the_mended_program_compiles_without_a_warning(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnx.checker.check_model(runpy.run_path(str(path))["right"]())


def test_there_are_many() -> None:
    assert len(CASES) >= 25
    assert sum(not issubclass(BY_CODE[p.stem], ProtocolWarning) for p in CASES) >= 25
