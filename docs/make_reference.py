"""Writes the pages that are made from the code: `docs/errors.md`, and the table in `docs/reference/compiler.md`.

Run `make docs` after a change of `bb_core/errors.py` or of a pass. With `--check` nothing is written, and pages that
are out of date are named; the meta tests call `pages` for the same purpose.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from bb_core.compiler.passes import PASSES, Pass
from bb_core.errors import BBError, all_errors

DOCS = Path(__file__).resolve().parent
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


def errors_page() -> str:
    """Make `docs/errors.md` from the classes of `bb_core.errors`."""
    lines = [
        "# Errors",
        "",
        "Every error of this project says what happened, where, what was expected and what to do, and has a code.",
        "The code is stable; its first letter says who can mend the cause. `error.fields` holds the message's facts.",
    ]
    found = all_errors()
    for letter, (title, who) in _BLAME.items():
        lines += ["", f"## {title}", "", who]
        for error in found:
            if error.code[3] == letter:
                heading = f"### {error.code} {error.__name__}"
                lines += ["", heading, "", _text(error), "", f"A kind of {_bases(error)}."]
    return "\n".join(lines) + "\n"


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
        DOCS / "errors.md": errors_page(),
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
