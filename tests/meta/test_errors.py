"""Every error has a code of its own, a page, and a message that says what to do."""

from __future__ import annotations

import ast
import re
import runpy

import pytest

from bb_core import errors
from bb_core.errors import BBError, all_errors, did_you_mean
from tests.meta.sources import ROOT, sources

ERRORS = all_errors()
BRANCHES = {
    "A": errors.AuthoringError,
    "C": errors.CompileError,
    "N": errors.NodeError,
    "R": errors.RemoteError,
    "P": errors.PluginError,
    "I": errors.InternalError,
}


def test_every_error_has_a_page_and_no_page_is_left_over() -> None:
    make = runpy.run_path(str(ROOT / "docs" / "make_reference.py"), run_name="make_reference")
    pages = make["errors_pages"]()
    assert {p.name for p in (ROOT / "docs" / "errors").glob("*.md")} == {p.name for p in pages}
    assert all(p.read_text(encoding="utf-8") == text for p, text in pages.items()), "run `make docs`"


# Classes that no program in Python can reach: branches of the tree, and what stands for a group or for us.
REACHED_BY_NO_PROGRAM = {"A000", "C000", "C070", "C099"}


def test_every_error_of_authoring_and_compiling_has_an_example() -> None:
    cases = {p.stem for p in (ROOT / "docs" / "errors" / "cases").glob("*.py")}
    wanted = {e.code for e in ERRORS if e.code[3] in "AC" and e.code[3:] not in REACHED_BY_NO_PROGRAM}
    assert wanted == cases


def test_codes_are_unique() -> None:
    codes = [e.code for e in ERRORS]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_code_names_the_branch(error: type[BBError]) -> None:
    found = re.fullmatch(r"BB-([ACNRPI])(\d{3})", error.code)
    assert found is not None
    assert issubclass(error, BRANCHES[found[1]])
    assert (found[2] == "000") == (error is BRANCHES[found[1]])
    assert "code" in vars(error), "a code is not inherited"


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_docstring_is_the_page(error: type[BBError]) -> None:
    text = error.__doc__ or ""
    assert "__doc__" in vars(error)
    assert len(text.split()) >= 5
    assert text.rstrip().endswith((".", ")"))


@pytest.mark.parametrize("error", [e for e in ERRORS if e is not errors.CompileErrors], ids=lambda e: e.__name__)
def test_message_shows_place_expectation_hint_and_code(error: type[BBError]) -> None:
    raised = error("it broke", where="model.py:3", expected="a whole one", hint="mend it", part="left")
    assert str(raised).splitlines() == [
        f"it broke  [{error.code}]",
        "  --> model.py:3",
        "  = expected: a whole one",
        "  = hint: mend it",
    ]
    assert raised.fields == {"part": "left"}


def test_group_shows_each_of_its_errors() -> None:
    group = errors.CompileErrors(
        "validate", [errors.UnknownOp("no Foo", hint="try Fou"), errors.UnboundSlot("no model")]
    )
    assert [e.code for e in group.errors] == ["BB-C001", "BB-C006"]
    for part in ("2 errors", "validate", "no Foo", "try Fou", "no model", group.code):
        assert part in str(group)


def test_base_is_not_raised_itself() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BBError("no")


@pytest.mark.parametrize("error", [e for e in ERRORS if len(e.__bases__) > 1], ids=lambda e: e.__name__)
def test_error_with_a_builtin_base_is_caught_as_that(error: type[BBError]) -> None:
    with pytest.raises(error.__bases__[1]):
        raise error("no")


def test_every_error_is_used() -> None:
    named = {
        node.id if isinstance(node, ast.Name) else node.attr
        for package in ("bb_core", "bb_plugins")
        for path in sources(package)
        if path.suffix == ".py" and path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    cython = "\n".join(p.read_text(encoding="utf-8") for p in sources("bb_core") if p.suffix == ".pyx")
    unused = [e.__name__ for e in ERRORS if e.__name__ not in named and not re.search(rf"\b{e.__name__}\b", cython)]
    assert [n for n in unused if not _has_children(n)] == []


def _has_children(name: str) -> bool:
    return any(b.__name__ == name for e in ERRORS for b in e.__bases__)


def test_unknown_name_lists_the_nearest_first() -> None:
    assert did_you_mean("modle", ["data", "model"]).startswith("did you mean 'model'?")
    assert did_you_mean("x", []) == "there are none"
    assert did_you_mean("zzz", [f"name{i:02}" for i in range(20)]).endswith(", ...")
