"""Seeded random numbers, drawn in blocks: one at a time a numpy generator is slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, exp, log, pi, sqrt

import numpy as np

from bb_plugins.hosts.simulator.scenario import Constant, Delay, Duration, LogNormal, Uniform, nanoseconds

_BLOCK = 4096


class Draws:
    """One stream of random numbers.

    Args:
        seed: Of the simulation.
        stream: Which of its streams; they do not influence one another.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self.generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, stream))))
        numbers = self._endless()
        self.uniform: Callable[[], float] = lambda: next(numbers)

    def _endless(self) -> Iterator[float]:
        while True:
            yield from self.generator.random(_BLOCK).tolist()

    def normal(self) -> float:
        """Draw from the standard normal distribution (Box and Muller 1958)."""
        return sqrt(-2 * log(1 - self.uniform())) * cos(2 * pi * self.uniform())

    def exponential(self, mean: float) -> int:
        """Draw from the exponential distribution."""
        return int(-mean * log(1 - self.uniform()))


Drawer = Callable[[Draws], int]


def drawer(given: Duration | Delay) -> Drawer:
    """Return what draws a duration in nanoseconds."""
    if isinstance(given, Constant):
        return _constant(nanoseconds(given.value))
    if isinstance(given, Uniform):
        low, high = nanoseconds(given.low), nanoseconds(given.high)
        return lambda draws: low + int(draws.uniform() * (high - low))
    if isinstance(given, LogNormal):
        median, sigma = nanoseconds(given.median), given.sigma
        return lambda draws: int(median * exp(sigma * draws.normal()))
    return _constant(nanoseconds(given))


def _constant(value: int) -> Drawer:
    return lambda draws: value
