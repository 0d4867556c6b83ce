"""Links lead somewhere, made pages are current, and README's commands are those of the Makefile."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.meta.sources import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings make."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t).strip().lower().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert file.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(file), link


def test_made_pages_are_current() -> None:
    make = runpy.run_path(str(ROOT / "docs" / "make_reference.py"), run_name="make_reference")
    assert [str(p) for p in make["outdated"]()] == [], "run `make docs`"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached, queue = {index}, [index]
    while queue:
        page = queue.pop()
        for link in _LINK.findall(prose(page)):
            file = (page.parent / link.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.is_file() and file not in reached:
                reached.add(file)
                queue.append(file)
    assert set((ROOT / "docs").rglob("*.md")) <= reached


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    text = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(p.name for p in folder.glob("[0-9]*.md"))
    assert [r for r in records if f"({r})" not in text] == []
    assert [r[:4] for r in records] == [f"{i:04}" for i in range(1, len(records) + 1)]


def test_readme_names_make_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:\$ )?make ([\w-]+)", readme, re.MULTILINE)) | set(
        re.findall(r"`make ([\w-]+)", readme)
    )
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_readme_names_bb_commands_that_exist() -> None:
    from bb_core.cli import application

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = "\n".join(line for line in readme.splitlines() if "not yet" not in line)
    named = set(re.findall(r"(?:^|[`/ ])bb ([a-z]+)", promised, re.MULTILINE))
    app = application()
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert named <= commands | {group.typer_instance.info.name for group in app.registered_groups}


def test_the_site_has_a_place_for_every_page() -> None:
    make = runpy.run_path(str(ROOT / "docs" / "make_site.py"), run_name="make_site")
    placed = {page for pages in make["NAVIGATION"].values() for page in pages}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        below = any(page.match(f"docs/{pattern}.md") for pattern in make["BELOW"].values())
        assert name in placed or below or name == "index" or name.startswith("examples/"), name
    files = {page.partition("/")[2] for page in placed if page.startswith("project/")}
    assert files <= {page.stem for page in ROOT.glob("*.md")}
