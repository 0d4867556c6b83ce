"""Draws an experiment: how the accuracy grew, and who held which labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bb_core.errors import MissingExtra
from bb_plugins.recipes.comparing import Comparison
from bb_plugins.recipes.experiment import CLASSES, Outcome

_MANY = 40  # above so many clients a bar each is too thin to be told apart, and ticks would overlap


def draw(outcome: Outcome, path: Path) -> None:
    """Write the picture to a file; its suffix says in which format.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(11, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_accuracy(left, outcome)
    _draw_labels(right, outcome, figure)
    figure.savefig(path, dpi=150)


def draw_comparison(found: Comparison, path: Path) -> None:
    """Write the accuracy of each line by round to a file: the mean over the seeds, and from the least to the most.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    from matplotlib import colormaps

    figure = _figure(10.5, 4.6)
    axes = figure.subplots()
    colors = iter(colormaps["tab10"](np.arange(10)))
    named: dict[str, Any] = {}
    for line in found.lines:
        name, _, clean = line.arm.name.partition(", nobody")
        color = named[name] = (
            named[name] if name in named else next(colors)
        )  # an Aggregator has one colour, lied to or not
        curves = np.asarray(line.curves)
        rounds = np.arange(1, curves.shape[1] + 1)
        style = {"linestyle": ":" if clean else "-", "linewidth": 2.4 if line.arm.is_reference else 1.6}
        label = f"{line.arm.name}: {100 * line.mean:.1f} %"
        axes.plot(rounds, curves.mean(axis=0), color=color, label=label, **style)
        axes.fill_between(rounds, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.12, linewidth=0)
    low = 0.0 if found.kind == "aggregators" else 0.7
    title = "What compression costs" if found.kind == "codecs" else "Four of the clients lie"
    axes.set(xlabel="round", ylabel="accuracy on held-out digits", ylim=(low, 1.0), title=title)
    axes.set_xlim(1, len(rounds))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            "--plot needs matplotlib", hint='pip install "bytesandbrains[demo]", or leave --plot out'
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _draw_accuracy(axes: Any, outcome: Outcome) -> None:
    values = np.asarray(outcome.accuracy_by_round)
    rounds = np.arange(1, len(values) + 1)
    axes.plot(rounds, values, color="#1f5fa8", linewidth=2, marker="o" if len(values) < 3 else None)
    axes.axhline(values[-1], color="#1f5fa8", linewidth=0.8, linestyle=":")
    axes.annotate(
        f"{values[-1]:.4f}",
        (rounds[-1], values[-1]),
        xytext=(-4, -14),
        textcoords="offset points",
        ha="right",
        fontweight="bold",
        color="#1f5fa8",
    )
    axes.set(xlabel="round", ylabel="accuracy on held-out pictures", ylim=(0, 1.02), title="What the model has learnt")
    axes.set_xlim(0.5, max(rounds[-1], 2) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_labels(axes: Any, outcome: Outcome, figure: Any) -> None:
    from matplotlib import colormaps

    counts, experiment = outcome.label_counts, outcome.experiment
    clients = np.arange(1, len(counts) + 1)
    colors = colormaps["tab10"](np.arange(CLASSES))
    bottom = np.zeros(len(counts))
    for label in range(CLASSES):
        axes.bar(clients, counts[:, label], bottom=bottom, color=colors[label], width=0.85, label=str(label))
        bottom += counts[:, label]
    dealt = "dealt evenly" if experiment.alpha is None else f"Dirichlet, alpha = {experiment.alpha:g}"
    axes.set(xlabel="client", ylabel="examples", title=f"Who holds which labels ({dealt})")
    axes.set_xlim(0.3, len(counts) + 0.7)
    axes.set_ylim(0, 1.05 * counts.sum(axis=1).max())
    if len(counts) <= _MANY:
        axes.set_xticks(clients)
        axes.tick_params(axis="x", labelsize=8 if len(counts) <= _MANY // 2 else 6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="label", ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
