"""What a simulation gave: facts for each virtual second and each round, equal for equal seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent
from bb_plugins.hosts.numbers import numbers

_S = 10**9
_QUOTED = 20  # failures that are kept as text


@dataclass(slots=True)
class Second:
    """One virtual second.

    Attributes:
        second: Its end, in seconds.
        lost: Envelopes that did not arrive: lost on the way, cut off, or at a Node that was not there.
        live: Nodes that are there at its end.
        values: What the program emitted, by name: how often, the mean, the least and the greatest.
    """

    second: int
    envelopes: int
    bytes: int
    lost: int
    live: int
    app_events: int
    values: dict[str, tuple[int, float, float, float]]


@dataclass(slots=True)
class SimulatedRound:
    """One round; times in virtual seconds.

    Attributes:
        outputs: What it gave, as numbers by name: `accuracy` of a Record of `correct` and `count`, scalars as they are.
        is_complete: Whether it gave an output at all.
    """

    number: int
    began: float
    ended: float
    outputs: dict[str, float] = field(default_factory=dict)
    is_complete: bool = False


@dataclass(slots=True)
class SimulationResult:
    """What a simulation gave.

    Attributes:
        virtual_s: How long it was, in virtual seconds.
        polls: How often Nodes were polled.
        steps: How many Steps of each kind the Nodes gave, by class name.
        failures: The first failures, as text.
        loads: Nodes that were brought up; one that nothing has ever reached is none.
        crashes: How often a Node crashed.
        wall_s: How long it took, in seconds; no part of `as_json`.
        nodes: The Nodes that are there at the end.
    """

    module: str
    scenario: str
    seed: int
    peers: int
    virtual_s: float = 0.0
    polls: int = 0
    envelopes: int = 0
    bytes_on_wire: int = 0
    lost: int = 0
    loads: int = 0
    crashes: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    rounds: list[SimulatedRound] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    wall_s: float = 0.0
    nodes: dict[bb.PeerId, bb.Node] = field(default_factory=dict, repr=False)

    @property
    def events(self) -> int:
        """Polls and Envelopes."""
        return self.polls + self.envelopes

    @property
    def events_per_second(self) -> float:
        """Polls and Envelopes in a second of wall time."""
        return self.events / self.wall_s if self.wall_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return all facts as plain data; equal for equal programs, scenarios and seeds."""
        return {
            "module": self.module,
            "scenario": self.scenario,
            "seed": self.seed,
            "peers": self.peers,
            "virtual_s": self.virtual_s,
            "polls": self.polls,
            "envelopes": self.envelopes,
            "bytes_on_wire": self.bytes_on_wire,
            "lost": self.lost,
            "loads": self.loads,
            "crashes": self.crashes,
            "steps": dict(sorted(self.steps.items())),
            "failures": self.failures,
            "rounds": [asdict(r) for r in self.rounds],
            "seconds": [asdict(s) for s in self.seconds],
        }


class Tally:
    """Adds up the Steps of a second."""

    def __init__(self, result: SimulationResult) -> None:
        self._result = result
        self._before = (0, 0, 0)
        self._app_events = 0
        self._values: dict[str, list[float]] = {}
        self.latest: dict[str, float] = {}
        """The last value of each name."""

    def step(self, peer: bb.PeerId, step: Any) -> dict[str, float]:
        """Take a Step in; returns the numbers that it gives, if it is an AppEvent."""
        self._result.steps[type(step).__name__] += 1
        if isinstance(step, AppEvent):
            self._app_events += 1
            found = numbers(step.port, step.value)
            for name, value in found.items():
                self.latest[name] = value
                self._values.setdefault(name, []).append(value)
            return found
        error = getattr(step, "error", None)
        if error is not None and len(self._result.failures) < _QUOTED:
            self._result.failures.append(f"{type(step).__name__} on {peer}: {error}")
        return {}

    def second(self, now: int, envelopes: int, size: int, lost: int, live: int) -> Second:
        """Close a second; the counts are those since the beginning."""
        was = self._before
        values = {
            name: (len(v), float(np.mean(v)), float(min(v)), float(max(v))) for name, v in sorted(self._values.items())
        }
        events = self._app_events
        self._before, self._app_events, self._values = (envelopes, size, lost), 0, {}
        return Second(now // _S, envelopes - was[0], size - was[1], lost - was[2], live, events, values)
