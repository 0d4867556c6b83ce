"""How one Node is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bb_core.errors import UsageError
from bb_core.wire.limits import WireLimits


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Options of `install`."""

    seed: int = 0
    """Seeds all of the Node's random numbers, together with its peer id."""
    incarnation: int = 0
    """Differs each time that a Node of one peer id is started anew, so that its request ids are new."""
    op_budget: int = 100_000
    """How many ops one poll runs at the most."""
    limits: WireLimits = field(default_factory=WireLimits)
    """What an Envelope may hold."""
    wake: Callable[[], None] | None = None
    """Called, from any thread, when a Later is answered outside a poll: poll soon."""
    profile: Callable[[], int] | None = None
    """A clock in nanoseconds, such as `time.perf_counter_ns`: measures the time spent in each op (`Node.profile`)."""

    def __post_init__(self) -> None:
        if self.op_budget < 1:
            raise UsageError(f"op_budget is {self.op_budget}", expected="at least 1")
