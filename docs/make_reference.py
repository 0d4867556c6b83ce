"""Writes what is made from the code: `docs/errors`, the toolkit, the Concretes, the table of passes, and the stubs.

Run `make docs` after a change of `bb_core/errors.py` or of a pass. With `--check` nothing is written, and pages that
are out of date are named; the meta tests call `pages` for the same purpose.
"""

from __future__ import annotations

import inspect
import runpy
import sys
import warnings
from pathlib import Path

from bb_core.compiler.passes import PASSES, Pass
from bb_core.errors import BBError, all_errors, render

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from make_concretes import concretes_page  # noqa: E402
from make_stubs import slots_stub, syscalls_stub  # noqa: E402
from make_toolkit import toolkit_page  # noqa: E402

ERRORS = DOCS / "errors"
BEGIN = "<!-- made by docs/make_reference.py -->"
END = "<!-- end -->"

# First letter of a code -> title of the section, and who can mend it.
_BLAME = {
    "A": ("Authoring", "The caller: a Module or a Graph is written wrongly. Raised while `body` is recorded."),
    "C": (
        "Compiling",
        "The caller: a program or a binding is wrong. Raised by `Compiler`, by `install` for a late slot",
    ),
    "N": ("Nodes and commands", "The caller: a Node, a run or a command is used wrongly. Nothing has changed."),
    "R": ("Peers", "Bytes from outside are wrong. Inside a poll these are carried by Steps and never raised."),
    "P": ("Plugins", "A package, or a Concrete that it brings, is at fault."),
    "I": ("Us", "Please report these."),
}


def errors_pages() -> dict[Path, str]:
    """Make `docs/errors` from the classes of `bb_core.errors` and from the example programs beside the pages."""
    lines = [
        "# Errors",
        "",
        "Every error of this project says what happened, where, what was expected and what to do, and has a code.",
        "The code is stable; its first letter says who can mend the cause. `error.fields` holds the message's facts.",
        "A *warning* stops nothing: `Compiler.warnings` holds them, and Python's `warnings` shows them.",
    ]
    pages = {}
    found = all_errors()
    for letter, (title, who) in _BLAME.items():
        lines += ["", f"## {title}", "", who, "", "| code | | what it means |", "|---|---|---|"]
        for error in found:
            if error.code[3] == letter:
                pages[ERRORS / f"{error.code}.md"] = _error_page(error, who)
                what = " ".join(_text(error).partition("\n\n")[0].split()).replace("|", "\\|")
                lines.append(f"| [{error.code}]({error.code}.md) | `{error.__name__}` | {what} |")
    return {ERRORS / "index.md": "\n".join(lines) + "\n", **pages}


def _error_page(error: type[BBError], who: str) -> str:
    kind = f"A kind of {_bases(error)}."
    lines = [f"# {error.code} {error.__name__}", "", _text(error), "", f"{kind} {who}"]
    case = ERRORS / "cases" / f"{error.code}.py"
    if case.exists():
        lines += ["", "## An example", "", "```python", case.read_text(encoding="utf-8").rstrip(), "```", ""]
        lines += ["`wrong()` prints:", "", "```text", _printed(case), "```", "", "`right()` compiles."]
    lines += ["", "[All errors](index.md)"]
    return "\n".join(lines) + "\n"


def _printed(case: Path) -> str:
    """What the wrong program of a case really says."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            runpy.run_path(str(case))["wrong"]()
        except BBError as error:
            return render(error)
    raise AssertionError(f"{case.name} is not refused")


def _text(error: type[BBError]) -> str:
    return inspect.cleandoc(error.__doc__ or "")


def _bases(error: type[BBError]) -> str:
    return " and ".join(f"`{b.__name__}`" for b in error.__bases__)


def passes_table() -> str:
    """Make the table of the passes."""
    rows = ["| | pass | what it does |", "|---|---|---|"]
    rows += [f"| {i} | `{p.name}` | {_what(p)} |" for i, p in enumerate(PASSES, 1)]
    return "\n".join(rows)


def _what(each: Pass) -> str:
    return each.doc.replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Return what each page that is made, or partly made, should hold."""
    compiler = DOCS / "reference" / "compiler.md"
    before, _, rest = compiler.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        **errors_pages(),
        DOCS / "reference" / "toolkit.md": toolkit_page(),
        DOCS / "reference" / "concretes.md": concretes_page(),
        DOCS.parent / "bb_core" / "dsl" / "slots.pyi": slots_stub(),
        DOCS.parent / "bb_core" / "dsl" / "syscalls.pyi": syscalls_stub(),
        compiler: f"{before}{BEGIN}\n\n{passes_table()}\n\n{END}{after}",
    }


def outdated() -> list[Path]:
    """Return the pages that do not hold what they should."""
    return [p for p, text in pages().items() if not p.exists() or p.read_text(encoding="utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write the pages that are out of date, or with `--check` name them."""
    stale = outdated()
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(DOCS.parent)} is out of date: run `make docs`")
        else:
            path.write_text(pages()[path], encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
