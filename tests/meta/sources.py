"""The project's files and what they import, for the tests of this folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)


def sources(package: str) -> list[Path]:
    """All Python and Cython files of a package."""
    found = [
        p
        for p in (ROOT / package).rglob("*")
        if p.suffix in {".py", ".pyi", ".pyx", ".pxd"} and "__pycache__" not in p.parts  # where kernels are kept
    ]
    return sorted(found)


def module_of(path: Path) -> str:
    """`bb_core/wire/codec.py` -> `bb_core.wire.codec`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: str) -> set[str]:
    """Names of all modules of a package."""
    return {module_of(p) for p in sources(package)}


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, module, name) for each import of a file, wherever it stands; name is empty for `import module`."""
    text = path.read_text(encoding="utf-8")
    return _cython_imports(text) if path.suffix in {".pyx", ".pxd"} else _python_imports(text)


def _python_imports(text: str) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, n.name, "") for n in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                source = "." * level + (module or "")
                yield from ((node.lineno, source, n.name) for n in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name)), *_]
            ):
                if called in {"import_module", "__import__"}:
                    yield node.lineno, name, ""


def _cython_imports(text: str) -> Iterator[tuple[int, str, str]]:
    for found in _CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["modules"]:
            yield from ((line, m.split()[0], "") for m in found["modules"].split(","))
            continue
        for name in found["names"].partition("#")[0].strip("()\n ").split(","):
            if name.strip():
                yield line, found["source"], name.split()[0]
