"""`simulate`: a program on many Nodes, in virtual time.

Theory of operation. A Loopback moves virtual time; a World says how Envelopes travel and how long ops take; a Crowd
brings Nodes up when something reaches them, and lets them crash, come back, join and leave. A program that is invoked
is invoked anew as soon as its last round is over; one that begins by itself is only watched. Every second of virtual
time the counts are taken down.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final

import bb_core as bb
from bb_core.errors import UsageError
from bb_core.testing import Binding, Loopback, Population
from bb_core.types import parse_duration
from bb_plugins.hosts.simulator.crowd import Crowd
from bb_plugins.hosts.simulator.result import Second, SimulatedRound, SimulationResult, Tally
from bb_plugins.hosts.simulator.scenario import Scenario
from bb_plugins.hosts.simulator.world import World

_S: Final = 10**9
_LONGEST: Final = 366 * 24 * 3600 * _S  # of a simulation that ends for another reason
_PAUSE: Final = _S  # after a round that failed at once, so that time goes on


@dataclass(frozen=True, slots=True)
class Until:
    """When a simulation ends: after so many rounds, so long, or when a value has been reached.

    Attributes:
        what: `round`, `time`, or the name of a value such as `accuracy`.
        value: A number of rounds, nanoseconds, or what the value must at least be.
    """

    what: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Until:
        """Read `round=50`, `time=100s` or `accuracy=0.95`."""
        what, equals, value = text.partition("=")
        try:
            if what == "time":
                return cls(what, parse_duration(value))
            number = int(value) if what == "round" else float(value)
            if equals and what and number == number and (what != "round" or number > 0):
                return cls(what, number)
        except ValueError:
            pass
        raise UsageError(f"until is {text!r}", expected="round=50, time=100s, or a value such as accuracy=0.95")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a simulation stands, told after each virtual second."""

    result: SimulationResult
    second: Second
    latest: Mapping[str, float]


def simulate(
    module: bb.Module,
    *,
    bindings: Mapping[str, Binding],
    nodes: int | Mapping[str, int],
    until: Until | str,
    scenario: Scenario | None = None,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    options: bb.NodeConfig | None = None,
    on_second: Callable[[Progress], None] | None = None,
) -> SimulationResult:
    """Run a program on many Nodes in this process, in virtual time. Equal seeds give equal results.

    Args:
        module: The program.
        bindings: By slot path, a Concrete, `bb.use(Concrete, option=...)`, or `bb.each(Concrete, config_of_peer)`.
        nodes: How many peers the one other class has, or how many equals there are; by class where there are several.
        until: When it ends: `round=50`, `time=100s`, or `accuracy=0.95`.
        scenario: Links, Nodes and churn; by default a millisecond of latency, and nothing goes wrong.
        seed: Of every random number, in the Nodes and around them.
        inputs: What the program is invoked with; needed unless its one input is a Trigger, or it begins by itself.
        options: Options of every Node; the seed is overridden.
        on_second: Called after each virtual second.

    Raises:
        CompileError: the program or a binding is wrong.
        UsageError: `until` or `nodes` does not fit the program.
    """
    until = Until.parse(until) if isinstance(until, str) else until
    began = perf_counter()
    population = Population(module, bindings, nodes)
    running = _Simulation(population, scenario or Scenario(), seed, inputs, options or bb.NodeConfig(), on_second)
    with _few_collections():
        running.run(until)
    result = running.result
    result.wall_s = perf_counter() - began
    return result


class _Simulation:
    """One simulation."""

    def __init__(
        self,
        population: Population,
        scenario: Scenario,
        seed: int,
        inputs: Mapping[str, Any] | None,
        options: bb.NodeConfig,
        on_second: Callable[[Progress], None] | None,
    ) -> None:
        self.result = SimulationResult(population.target, scenario.name, seed, len(population.peers))
        self._population = population
        self._tally = Tally(self.result)
        self._on_second = on_second
        self._open: dict[bb.PeerId, int] = {}
        self._round: SimulatedRound | None = None
        world = World(scenario, population.peers, seed, self._fetch, self._polled)
        self._loopback = Loopback(network=world, tell=self._tell)
        self._crowd = Crowd(population, scenario, seed, replace(options, seed=seed), self._loopback, world)
        self._inputs = None if self._crowd.is_driven_by_itself and inputs is None else population.inputs(inputs)
        for when, do in world.partitions():
            self._loopback.at(when, do)

    def run(self, until: Until) -> None:
        loopback, result = self._loopback, self.result
        if until.what == "round" and self._inputs is None:
            raise UsageError(
                f"{result.module} begins by itself, and has no rounds to be counted", expected="until='time=100s'"
            )
        self._crowd.gather()
        loopback.at(_S, self._second)
        end = int(until.value) if until.what == "time" else _LONGEST

        def is_over() -> bool:
            return until.what not in ("time", "round") and self._tally.latest.get(until.what, -1e308) >= until.value

        while loopback.now < end and not is_over():
            if self._inputs is None:
                loopback.run_to(end, is_over)
                continue
            if until.what == "round" and len(result.rounds) >= until.value:
                break
            self._play(end, is_over)
        result.virtual_s = loopback.now / _S
        if loopback.now % _S:
            self._take_down()
        self._count()
        result.nodes = dict(loopback.nodes)

    def _play(self, end: int, is_over: Callable[[], bool]) -> None:
        """Invoke the program, and go on until that round is over."""
        loopback, began = self._loopback, self._loopback.now
        self._round = played = SimulatedRound(len(self.result.rounds) + 1, began / _S, 0.0)
        self._open = {}
        for peer in self._crowd.drivers():
            self._open[peer] = loopback.invoke(peer, self._population.target, self._inputs or {})
        loopback.run_to(end, lambda: not self._open or is_over())
        played.ended = loopback.now / _S
        self.result.rounds.append(played)
        self._round = None
        if loopback.now == began and not played.is_complete:
            loopback.run_to(min(end, began + _PAUSE), is_over)

    # --- what the Loopback tells --------------------------------------------------------------------------------------

    def _fetch(self, peer: bb.PeerId) -> bb.Node | None:
        return self._crowd.fetch(peer)

    def _polled(self, peer: bb.PeerId, node: bb.Node) -> None:
        if peer in self._open and node.stats()["frames"] == 0:
            del self._open[peer]

    def _tell(self, now: int, peer: bb.PeerId, step: Any) -> None:
        found = self._tally.step(peer, step)
        if (
            self._round is not None
            and getattr(step, "target", None) == self._population.target
            and hasattr(step, "port")
        ):
            self._round.is_complete = True
            self._round.outputs.update(found)

    def _second(self) -> None:
        self._open = {peer: exec_id for peer, exec_id in self._open.items() if peer in self._loopback.nodes}
        self._take_down()
        self._loopback.at(self._loopback.now + _S, self._second)

    def _count(self) -> None:
        loopback, result = self._loopback, self.result
        result.polls, result.envelopes = loopback.polls, loopback.envelopes
        result.bytes_on_wire, result.lost = loopback.bytes_on_wire, loopback.lost
        result.loads, result.crashes = self._crowd.loads, self._crowd.crashes

    def _take_down(self) -> None:
        self._count()
        loopback, result = self._loopback, self.result
        counts = (loopback.envelopes, loopback.bytes_on_wire, loopback.lost, self._crowd.live)
        second = self._tally.second(loopback.now + _S - 1, *counts)
        result.seconds.append(second)
        if self._on_second is not None:
            self._on_second(Progress(result, second, self._tally.latest))


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for garbage seldom: a pass over all that ten thousand Nodes hold takes seconds, and finds nothing."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
