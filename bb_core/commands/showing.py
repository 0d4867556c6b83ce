"""Errors and warnings on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from bb_core.errors import BBError, render

_STYLES = (("error[", "bold red"), ("warning[", "bold yellow"), ("  -->", "blue"), ("  :::", "blue"), ("  =", "green"))


def show(error: BBError, console: Console) -> None:
    """Print an error as `render` writes it, in colour where the terminal has it."""
    for line in render(error).splitlines():
        style = next((s for start, s in _STYLES if line.startswith(start)), "")
        if line.strip(" |").strip("^") == "" and "^" in line:
            style = "bold red" if error.severity == "error" else "bold yellow"
        console.print(Text(line, style=style), soft_wrap=True, highlight=False)
