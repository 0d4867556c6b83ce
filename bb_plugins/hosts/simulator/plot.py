"""Draws a simulation: what the program emitted, what it sent, and how long its rounds took, over virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from bb_core.errors import MissingExtra
from bb_plugins.hosts.simulator.result import SimulationResult

_BLUE: Final = "#1f5fa8"
_RED: Final = "#b3402a"


def check_installed() -> Any:
    """Return matplotlib's Figure.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            "--plot needs matplotlib", hint='pip install "bytesandbrains[demo]", or leave --plot out'
        ) from error
    return Figure


def draw(result: SimulationResult, path: Path) -> None:
    """Write the picture to a file; its suffix says in which format.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = check_installed()(figsize=(9, 8), layout="constrained")
    panels = [_draw_values, _draw_bytes, _draw_rounds if result.rounds else _draw_live]
    all_axes = figure.subplots(3, 1, sharex=True)
    for axes, panel in zip(all_axes, panels, strict=True):
        panel(axes, result)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, max(result.virtual_s, 1))
    all_axes[-1].set_xlabel("virtual time, s")
    figure.suptitle(f"{result.module}: {result.peers:,} peers, scenario {result.scenario}, seed {result.seed}")
    figure.savefig(path, dpi=150)


def _draw_values(axes: Any, result: SimulationResult) -> None:
    """Accuracy if there is any, else the first value that was emitted: its mean, least and greatest."""
    names = sorted({name for second in result.seconds for name in second.values})
    name = "accuracy" if "accuracy" in names else (names or [""])[0]
    seen = [(s.second, *s.values[name][1:]) for s in result.seconds if name in s.values]
    if not seen:
        axes.text(0.5, 0.5, "the program has emitted no number", ha="center", transform=axes.transAxes)
        return
    times, means, least, greatest = zip(*seen, strict=True)
    axes.plot(times, means, color=_BLUE, linewidth=2, marker="o" if len(times) < 3 else None)
    axes.fill_between(times, least, greatest, color=_BLUE, alpha=0.2, linewidth=0)
    if min(least) >= 0:
        axes.set_ylim(bottom=0)
    axes.set(ylabel=name, title="What the program emitted: mean, least and greatest of each second")


def _draw_bytes(axes: Any, result: SimulationResult) -> None:
    times = [s.second for s in result.seconds]
    axes.fill_between(times, [s.bytes / 1e6 for s in result.seconds], color=_BLUE, alpha=0.5, step="pre", linewidth=0)
    axes.set(ylabel="MB sent per second")
    axes.set_ylim(bottom=0)
    lost = axes.twinx()
    lost.plot(times, [s.lost for s in result.seconds], color=_RED, linewidth=1)
    lost.set_ylabel("Envelopes lost per second", color=_RED)
    lost.set_ylim(bottom=0)
    lost.spines[["top"]].set_visible(False)


def _draw_rounds(axes: Any, result: SimulationResult) -> None:
    for color, complete, label in ((_BLUE, True, "with outputs"), (_RED, False, "without")):
        rounds = [r for r in result.rounds if r.is_complete == complete]
        if rounds:
            axes.plot(
                [r.ended for r in rounds], [r.ended - r.began for r in rounds], "o", ms=4, color=color, label=label
            )
    axes.set(ylabel="time of a round, s")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _draw_live(axes: Any, result: SimulationResult) -> None:
    axes.step([s.second for s in result.seconds], [s.live for s in result.seconds], color=_BLUE, where="pre")
    axes.set(ylabel="Nodes that are there")
    axes.set_ylim(bottom=0)
