"""Builds the documentation as a site, in build/site: `make site`. A warning is an error.

The pages of `docs` are written to be read in the repository too. So Sphinx is given a copy, in build/site_source, in
which links to files outside `docs` lead to the pages made of them or are plain text, the examples have titles for
sphinx-gallery, and the pages stand in the order of `NAVIGATION`. The pages of the API are made by autodoc.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from inspect import isclass, isroutine
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent
SOURCE: Final = ROOT / "build" / "site_source"
SITE: Final = ROOT / "build" / "site"

NAVIGATION: Final[dict[str, tuple[str, ...]]] = {
    "Tutorials": ("project/README", "gallery/index", "guide/first_plugin"),
    "How to": (
        "guide/authoring",
        "guide/training",
        "guide/recipes",
        "guide/backends",
        "guide/comparing",
        "guide/protocols",
        "guide/running",
        "guide/simulating",
        "guide/deploying",
        "guide/operations",
        "guide/threat_model",
        "guide/plugins",
    ),
    "Reference": (
        "reference/toolkit",
        "reference/concretes",
        "reference/types",
        "reference/addressing",
        "reference/compiler",
        "reference/wire",
        "errors/index",
        "reference/versions",
        "api/index",
        "project/CHANGELOG",
    ),
    "Explanation": (
        "explanation/api_design",
        "explanation/roles",
        "explanation/dispatch",
        "explanation/dependencies",
        "explanation/ir_and_dsl",
        "explanation/engine",
    ),
    "Project": ("decisions/README", "project/CONTRIBUTING", "project/SECURITY"),
}
"""Section -> its pages, in order; those of `project` are the files of the repository's root."""

BELOW: Final = {"errors/index": "errors/BB-*", "decisions/README": "decisions/0*", "api/index": "api/bb_core*"}
"""Page -> the pages that stand under it."""

API: Final = ("errors", "hooks", "ids", "ops", "plugins", "roles", "steps", "testing", "types", "values")
"""The public modules, beside `bb_core` itself."""

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Prepare the sources and run Sphinx."""
    prepare()
    options = ["-W", "--keep-going", "-q", "-j", "auto", "-d", str(ROOT / "build" / "doctrees")]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options, str(SOURCE), str(SITE)], check=False)
    if done.returncode == 0:
        print(f"the site is in {(SITE / 'index.html').relative_to(ROOT)}")
    return done.returncode


def prepare() -> None:
    """Write what Sphinx is given."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("__pycache__", "make_*.py", "plugins"))
    (SOURCE / "project").mkdir()
    for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"):
        shutil.copy(ROOT / f"{name}.md", SOURCE / "project")
    shutil.copytree(DOCS / "guide", SOURCE / "guide", dirs_exist_ok=True)
    for package in (DOCS / "examples" / "plugins").iterdir():
        (SOURCE / "packages").mkdir(exist_ok=True)
        shutil.copy(package / "README.md", SOURCE / "packages" / f"{package.name}.md")
    for page in SOURCE.rglob("*.md"):
        page.write_text(linked(page.read_text(encoding="utf-8"), page), encoding="utf-8")
    examples()
    api()
    index()


# --- links ------------------------------------------------------------------------------------------------------------


def linked(text: str, page: Path) -> str:
    """Mend the links of a page, but not in its blocks of code."""
    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(lambda m: _mend(m, page), part) for part in parts)


def _mend(found: re.Match[str], page: Path) -> str:
    image, text, target, anchor = found.groups()
    if re.match(r"[a-z]+:", target):
        return found[0]
    origin = _origin(page)
    file = (origin.parent / target).resolve()
    place = _place(file)
    if place is None:
        return text  # a file of the repository that is no page: its name is all that a reader of the site needs
    up = "/".join([".."] * len(page.parent.relative_to(SOURCE).parts)) or "."
    return f"{image}[{text}]({up}/{place}{anchor or ''})"


def _origin(page: Path) -> Path:
    """Return where a page of the sources comes from."""
    inner = page.relative_to(SOURCE)
    if inner.parts[0] == "project":
        return ROOT / inner.name
    if inner.parts[0] == "packages":
        return DOCS / "examples" / "plugins" / inner.stem / "README.md"
    return DOCS / inner


def _place(file: Path) -> str | None:
    """Return where a file of the repository stands in the sources; None when it does not."""
    if file.parent == ROOT and (SOURCE / "project" / file.name).exists():
        return f"project/{file.name}"
    if not file.is_relative_to(DOCS):
        return None
    inner = file.relative_to(DOCS)
    if inner.parts[:2] == ("examples", "plugins"):
        return f"packages/{inner.parts[2]}.md"
    if inner.parts[0] == "examples":
        return "gallery/index.rst" if inner.name == "README.md" else f"gallery/{inner.stem}.rst"
    return inner.as_posix() if inner.suffix in (".md", ".png", ".svg") else None


# --- pages ------------------------------------------------------------------------------------------------------------


def examples() -> None:
    """Give each example a title, and let it end without ending Sphinx."""
    folder = SOURCE / "examples"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    said = readme.partition("\n\n")[2].partition("\n\n")[0]
    said = re.sub(r"`([^`]+)`", r"``\1``", said)
    (folder / "README.md").unlink()
    (folder / "GALLERY_HEADER.rst").write_text(f"Examples\n========\n\n{said}\n", encoding="utf-8")
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        title = path.stem.replace("_", " ").capitalize()
        text = text.replace('"""', f'"""\n{title}\n{"=" * len(title)}\n\n', 1)
        text = text.replace("sys.exit(main())", "assert not main()")
        path.write_text(text, encoding="utf-8")


def api() -> None:
    """Write a page for each public module."""
    folder = SOURCE / "api"
    folder.mkdir()
    lines = [
        "# API",
        "",
        "What is public, and so kept from release to release ([how](../reference/versions.md)). Ops are in the",
        "[toolkit](../reference/toolkit.md), Concretes on [their page](../reference/concretes.md).",
        "",
        "| module | |",
        "|---|---|",
    ]
    for name in ("bb_core", *(f"bb_core.{module}" for module in API)):
        module = import_module(name)
        first = (module.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        lines.append(f"| [{name}]({name}.md) | {first} |")
        body = _members(name) if name == "bb_core" else f".. automodule:: {name}\n   :members:\n"
        (folder / f"{name}.md").write_text(f"# {name}\n\n```{{eval-rst}}\n{body}```\n", encoding="utf-8")
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _members(name: str) -> str:
    """Write a directive for each public name that stands in no other public module."""
    module = import_module(name)
    lines = [f".. automodule:: {name}", "   :no-members:", ""]
    for member in module.__all__:
        value = getattr(module, member)
        home = getattr(value, "__module__", "")
        if member.startswith("_") or member in API or home.startswith(tuple(f"{name}.{public}" for public in API)):
            continue
        if isclass(value):
            lines += [f".. autoclass:: {name}.{member}", "   :members:", ""]
        elif isroutine(value):
            lines += [f".. autofunction:: {name}.{member}", ""]
        elif member == "syscalls":
            lines += [f".. automodule:: {value.__name__}", ""]
    return "\n".join(lines) + "\n"


def index() -> None:
    """Put the pages in order."""
    page = SOURCE / "index.md"
    lines = [page.read_text(encoding="utf-8")]
    for section, pages in NAVIGATION.items():
        lines += ["```{toctree}", ":hidden:", f":caption: {section}", "", *pages, "```", ""]
    page.write_text("\n".join(lines), encoding="utf-8")
    for name, pattern in {**BELOW, "gallery/index": ""}.items():
        file = SOURCE / f"{name}.md"
        if pattern and file.exists():
            below = [
                p.relative_to(file.parent.parent).with_suffix("").name for p in sorted(SOURCE.glob(f"{pattern}.md"))
            ]
            tree = "\n".join(["", "```{toctree}", ":hidden:", "", *below, "```", ""])
            file.write_text(file.read_text(encoding="utf-8") + tree, encoding="utf-8")
    first = SOURCE / "guide" / "first_plugin.md"
    tree = "\n```{toctree}\n:hidden:\n\n../packages/bb-trimmed-mean\n../packages/bb-hnsw\n```\n"
    first.write_text(first.read_text(encoding="utf-8") + tree, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
