"""Draws a table of `bb bench`: each row a bar of its ratio, on a logarithmic axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from bb_core.errors import MissingExtra, UsageError

_OURS, _THEIRS, _LIMIT = "#1f5fa8", "#c4632c", "#7a7a7a"
_SUFFIXES: Final = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Refuse before the measuring what could not be drawn after it.

    Raises:
        UsageError: it is no kind of picture, or its folder is not there.
        MissingExtra: matplotlib is not installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot is {str(path)!r}", expected=f"a file that ends with {' or '.join(_SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--plot: there is no folder {str(path.resolve().parent)!r}", hint="create it first")
    try:
        import matplotlib.figure  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtra("--plot needs matplotlib", hint='pip install "bytesandbrains[bench]"') from error


def draw(found: dict[str, Any], path: Path) -> None:
    """Write the picture.

    Raises:
        UsageError: no row has a peer or a limit.
    """
    from matplotlib.figure import Figure

    rows = [row for row in found["rows"] if row["ratio"] or row["limit_ratio"]]
    if not rows:
        raise UsageError(f"no row of {found['suite']!r} has a peer or a limit to draw")
    figure = Figure(figsize=(10, 1.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        ratio = row["ratio"]
        if ratio:
            axes.barh(place, ratio - 1, left=1, height=0.6, color=_OURS if ratio <= 1 else _THEIRS)
            margin = (1 + row["spread"] / 2) * ratio, (1 - row["spread"] / 2) * ratio
            axes.plot(margin, (place, place), color="black", linewidth=1)
        if row["limit_ratio"]:
            axes.plot(row["limit_ratio"], place, marker="|", markersize=12, color=_LIMIT)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [_title(row) for row in reversed(rows)], fontsize=8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("time of ours / time of the peer (below 1 is faster); grey: / the machine's limit")
    axes.set_title(f"bb bench {found['suite']}, {found['machine']['cpu']}", loc="left")
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def _title(row: dict[str, Any]) -> str:
    return f"{row['name']}  / {row['peer']}" if row["peer"] else str(row["name"])
