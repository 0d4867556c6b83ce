"""The table in setup.py, the sources on disk and the modules that can be imported are the same."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import re
from typing import Any

import pytest

from tests.meta.sources import ROOT, module_of


def table_of_setup() -> dict[str, list[str]]:
    """The table, read and not run: setup.py needs Cython, which an installed package does not bring."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="EXTENSIONS")], value=value):
                return dict(ast.literal_eval(value))
    raise AssertionError("setup.py has no table EXTENSIONS")


EXTENSIONS = table_of_setup()


def test_setup_lists_every_cython_file() -> None:
    assert set(EXTENSIONS) == {
        module_of(p) for package in ("bb_core", "bb_plugins") for p in (ROOT / package).rglob("*.pyx")
    }


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_is_a_triple_behind_a_plain_neighbour(name: str) -> None:
    stem = ROOT / name.replace(".", "/")
    assert stem.name.startswith("_")
    for suffix in (".pyx", ".pxd", ".pyi"):
        assert stem.with_suffix(suffix).is_file()
    assert (stem.parent / f"{stem.name[1:]}.py").is_file()


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_is_compiled(name: str) -> None:
    module: Any = importlib.import_module(name)
    assert isinstance(module.__spec__.loader, importlib.machinery.ExtensionFileLoader)


def test_every_c_file_is_compiled_into_an_extension() -> None:
    listed = {source for sources in EXTENSIONS.values() for source in sources}
    assert listed == {p.relative_to(ROOT).as_posix() for p in (ROOT / "csrc").glob("*.c")}


def test_every_header_is_included() -> None:
    texts = [
        p.read_text(encoding="utf-8")
        for p in [*(ROOT / "csrc").glob("*.[ch]"), *(ROOT / "bb_core").rglob("*.p[yx][xd]")]
    ]
    included = {name for text in texts for name in re.findall(r'(?:#include|extern from) "([\w.]+)"', text)}
    assert {p.name for p in (ROOT / "csrc").glob("*.h")} <= included


@pytest.mark.parametrize("path", sorted((ROOT / "csrc").glob("*.[ch]")), ids=lambda p: p.name)
def test_c_is_leaf_code(path: Any) -> None:
    """No Python, no allocation: bytes and indices in, a status out."""
    text = path.read_text(encoding="utf-8")
    assert "Python.h" not in text
    assert re.findall(r"\b(?:malloc|calloc|realloc|free|alloca)\s*\(", text) == []
