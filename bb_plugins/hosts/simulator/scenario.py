"""A scenario: how links, Nodes and their comings and goings behave. As code, or as a TOML file.

Durations are text such as `"40ms"`, `"2s"`, `"5m"`, or nanoseconds; bandwidths text such as `"20Mbit/s"`, or bits per
second. In a file a distribution is a duration (constant), or a table with `kind`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bb_core.errors import UsageError
from bb_core.types import parse_duration

_BITS: Final = (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3), ("bit/s", 1))

Duration = int | str
Bandwidth = int | str


def nanoseconds(value: Duration) -> int:
    """Return a duration in nanoseconds."""
    return parse_duration(value)


def bits_per_second(value: Bandwidth) -> int:
    """Return a bandwidth in bits per second."""
    if isinstance(value, int):
        found: float = value
    else:
        unit, scale = next(((u, s) for u, s in _BITS if value.endswith(u)), ("", 0))
        try:
            found = float(value.removesuffix(unit)) * scale
        except ValueError:
            found = 0
    if not 1 <= found < float("inf"):
        raise ValueError(f"{value!r} is not a bandwidth; write bits per second, or text such as '20Mbit/s'")
    return round(found)


def _shares(part: Struct, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise ValueError(f"{name} is {getattr(part, name)}; expected a share between 0 and 1")


class Constant(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="constant"):
    """Always the same."""

    value: Duration

    def __post_init__(self) -> None:
        nanoseconds(self.value)


class Uniform(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="uniform"):
    """Evenly between two durations."""

    low: Duration
    high: Duration

    def __post_init__(self) -> None:
        if nanoseconds(self.low) > nanoseconds(self.high):
            raise ValueError(f"low is {self.low!r}, above high, {self.high!r}")


class LogNormal(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lognormal"):
    """Mostly near the median, with a long tail: what round trips over the internet look like.

    `sigma` is the standard deviation of the logarithm: at 0.5, one in forty takes 2.7 times the median or longer.
    """

    median: Duration
    sigma: float

    def __post_init__(self) -> None:
        nanoseconds(self.median)
        if not 0 <= self.sigma < 10:
            raise ValueError(f"sigma is {self.sigma}; expected 0 or more, and below 10")


Delay = Constant | Uniform | LogNormal


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """How Envelopes travel."""

    latency: Duration | Delay = "1ms"
    """From when an Envelope has left until it arrives; drawn for each."""
    bandwidth: Bandwidth | None = None
    """At which a Node's Envelopes leave it, one after the other; None: at once."""
    loss: float = 0.0
    """Share that never arrives."""
    duplicate: float = 0.0
    """Share that arrives twice, the second with a latency of its own."""
    reorder: float = 0.0
    """Share that is held back, so that later ones overtake it."""
    hold: Duration = "50ms"
    """How long those are held back."""

    def __post_init__(self) -> None:
        _shares(self, "loss", "duplicate", "reorder")
        nanoseconds(self.hold)
        if self.bandwidth is not None:
            bits_per_second(self.bandwidth)
        if not isinstance(self.latency, Struct):
            nanoseconds(self.latency)


class LinkRule(Link, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A Link for some pairs of classes alone; `from` and `to` in a file. The program's own class is `""`.

    One whose two directions differ is two rules.
    """

    source: str | None = None
    """Class of who sends; None: every class."""
    target: str | None = None
    """Class of who receives; None: every class."""


class Partition(Struct, frozen=True, forbid_unknown_fields=True):
    """Some Nodes are cut off from the others for a time."""

    at: Duration
    """When it begins."""
    until: Duration
    """When it heals."""
    share: float = 0.5
    """Which share of the Nodes, chosen at random, is on the far side."""
    peer_class: str | None = None
    """Choose among this class alone; None: among all."""
    one_way: bool = False
    """Whether what the far side sends still arrives."""

    def __post_init__(self) -> None:
        _shares(self, "share")
        if nanoseconds(self.at) > nanoseconds(self.until):
            raise ValueError(f"a partition heals at {self.until!r}, before it begins, at {self.at!r}")


class Nodes(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast Nodes are, how their clocks go, and whom they know."""

    ops: dict[str, Duration | Delay] = {}
    """How long an op keeps a Node of ordinary speed busy, by its type (`TrainEpochs`) or slot and type
    (`model.TrainEpochs`). Others take no time."""
    spread: float = 0.0
    """Sigma of the lognormal distribution of how much slower or faster Nodes are; drawn once for each."""
    stragglers: float = 0.0
    """Share of Nodes that are slower still."""
    straggler_factor: float = 10.0
    """How many times slower."""
    drift_ppm: int = 0
    """A Node's clock is fast or slow by up to this many parts per million."""
    start: Duration = 0
    """Nodes of a program that begins by itself come up evenly over this time."""
    view: int = 20
    """In a program of equals: how many others each knows, chosen at random; 0: all of them."""

    def __post_init__(self) -> None:
        _shares(self, "stragglers")
        nanoseconds(self.start)
        for cost in self.ops.values():
            if not isinstance(cost, Struct):
                nanoseconds(cost)
        if not 0 <= self.spread < 10:
            raise ValueError(f"spread is {self.spread}; expected 0 or more, and below 10")
        if not 1 <= self.straggler_factor < float("inf"):
            raise ValueError(f"straggler_factor is {self.straggler_factor}; expected 1 or more")
        if not 0 <= self.drift_ppm < 500_000:
            raise ValueError(f"drift_ppm is {self.drift_ppm}; expected 0 or more, and below 500000")
        if self.view < 0:
            raise ValueError(f"view is {self.view}; expected 0 or more")


class Churn(Struct, frozen=True, forbid_unknown_fields=True):
    """How Nodes come and go. Never the one on which a program with other classes is invoked."""

    up: Duration | None = None
    """Mean time until a Node crashes (exponential); None: it never does."""
    down: Duration = "10s"
    """Mean time until it comes back (exponential)."""
    share: float = 1.0
    """Share of the Nodes that crash at all."""
    restart: str = "snapshot"
    """`snapshot`: it comes back as it was. `fresh`: it comes back knowing nothing."""
    snapshot_every: Duration | None = None
    """How often a Node is kept; what has happened since is lost in a crash. None: nothing is lost."""
    join: float = 0.0
    """Share of the Nodes that are not there at the beginning."""
    join_over: Duration = "60s"
    """Those come evenly over this time."""
    leave: float = 0.0
    """Share of the Nodes that go for good."""
    leave_over: Duration = "60s"
    """Those go evenly over this time."""

    def __post_init__(self) -> None:
        _shares(self, "share", "join", "leave")
        if self.restart not in ("snapshot", "fresh"):
            raise ValueError(f"restart is {self.restart!r}; expected 'snapshot' or 'fresh'")
        for name in ("up", "snapshot_every"):
            given = getattr(self, name)
            if given is not None and nanoseconds(given) == 0:
                raise ValueError(f"{name} is {given!r}; expected a time above 0")
        for name in ("down", "join_over", "leave_over"):
            nanoseconds(getattr(self, name))


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a simulation's surroundings are. The default is a millisecond of latency, and nothing goes wrong."""

    name: str = "ideal"
    link: Link = msgspec.field(default_factory=Link)
    """Of all pairs that no rule is for."""
    links: tuple[LinkRule, ...] = ()
    """The first that fits a pair counts."""
    partitions: tuple[Partition, ...] = ()
    nodes: Nodes = msgspec.field(default_factory=Nodes)
    churn: Churn = msgspec.field(default_factory=Churn)


def read_scenario(path: Path) -> Scenario:
    """Read a scenario from a TOML file.

    Raises:
        UsageError: there is no such file, it is no TOML, or something in it is unknown or not legal; it says where.
    """
    try:
        data: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the scenario {str(path)!r} cannot be read: {error.strerror}", expected="a TOML file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the scenario {str(path)!r} is no TOML: {error}") from error
    try:
        return msgspec.convert({"name": path.stem, **data}, Scenario)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        at = where.strip("`").removeprefix("$.") or "its top level"
        raise UsageError(
            f"the scenario {str(path)!r}: {what}",
            where=at,
            hint="docs/guide/simulating.md lists all fields",
        ) from error
