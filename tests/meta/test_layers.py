"""A file imports only from its own layer or lower ones; compiler and engine never meet; plugins use the front door.

Read from the sources, so that imports inside functions, for type checkers only, and in Cython files count too.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bb_core
from tests.meta.sources import ROOT, imports, module_of, modules, sources

LAYERS = (
    {"errors", "ids", "keys", "places", "types", "values", "version"},
    {"configs", "hooks", "ir", "ops", "plugins", "registry", "roles", "steps", "wire"},
    {"dsl"},
    {"compiler", "engine"},
    {"node"},
    {"", "cli", "commands", "inspection", "simulation", "testing"},  # "" is bb_core itself
)
STRANGERS = {("compiler", "engine"), ("engine", "compiler")}

PUBLIC = {
    "bb_core",  # the names in its __all__
    "bb_core.commands.loading",  # for commands that take `app.py:Module`
    "bb_core.errors",
    "bb_core.hooks",
    "bb_core.ids",
    "bb_core.ops",  # OpSpec and Port, for ops of one's own
    "bb_core.plugins",
    "bb_core.roles",
    "bb_core.steps",
    "bb_core.testing",
    "bb_core.types",
    "bb_core.values",
    "bb_core.wire.address",
    "bb_core.wire.bincode",  # what speaks a protocol of the reference writes its payloads as that does
    "bb_core.wire.carriers",
}
MEASURED = {
    "bb_core.engine.program",
    "bb_core.wire.codec",
    "bb_core.wire.limits",
    "bb_core.wire.payloads",
}
"""Parts of the core that the benchmark suites may name, for they measure them."""

CORE = sources("bb_core")
PLUGINS = sources("bb_plugins")


def part_of(module: str) -> str:
    """`bb_core.wire.codec` -> `wire`."""
    return module.split(".")[1] if "." in module else ""


def layer_of(module: str) -> int:
    return next(i for i, parts in enumerate(LAYERS) if part_of(module) in parts)


def targets(path: Path, known: set[str]) -> list[tuple[int, str]]:
    """Modules of `bb_core` that a file imports: `from bb_core import keys` is one of `bb_core.keys`."""
    found = []
    for line, module, name in imports(path):
        if module.partition(".")[0] == "bb_core":
            inner = f"{module}.{name}"
            found.append((line, inner if inner in known else module))
    return found


def test_every_part_of_the_core_has_a_layer() -> None:
    assert {part_of(module_of(p)) for p in CORE} == set().union(*LAYERS)


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_imports_only_from_its_own_layer_or_lower(path: Path) -> None:
    own = module_of(path)
    known = modules("bb_core")
    for line, target in targets(path, known):
        at = f"{path.relative_to(ROOT)}:{line} imports {target}"
        assert target in known, at
        assert layer_of(target) <= layer_of(own), f"{at}, which is higher"
        assert (part_of(own), part_of(target)) not in STRANGERS, at


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_imports_no_plugin(path: Path) -> None:
    assert [m for _, m, _ in imports(path) if m.partition(".")[0] == "bb_plugins"] == []


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_import_public_modules_only(path: Path) -> None:
    allowed = PUBLIC | (MEASURED if "bench/suites" in path.as_posix() else set())
    known = modules("bb_core")
    assert [(line, t) for line, t in targets(path, known) if t not in allowed] == []


@pytest.mark.parametrize("path", [p for p in PLUGINS if p.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_use_public_names_of_the_core_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
        if name.name == "bb_core"
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
    }
    assert used <= set(bb_core.__all__)


def test_imports_are_all_found() -> None:
    """The reader itself: nested, for types only, by name, and in Cython."""
    python = "\n".join(
        [
            "if TYPE_CHECKING:",
            "    from a.b import c",
            "def f():",
            "    import d.e, g",
            "    import_module('h.i')",
        ]
    )
    cython = "\n".join(
        [
            "from a cimport b, c  # why",
            "cimport d.e",
            "from f import (",
            "    g,",
            "    h as i,",
            ")",
            'cdef extern from "no.h":',
        ]
    )
    from tests.meta.sources import _cython_imports, _python_imports

    assert {(m, n) for _, m, n in _python_imports(python)} == {("a.b", "c"), ("d.e", ""), ("g", ""), ("h.i", "")}
    assert {(m, n) for _, m, n in _cython_imports(cython)} == {
        ("a", "b"),
        ("a", "c"),
        ("d.e", ""),
        ("f", "g"),
        ("f", "h"),
    }
