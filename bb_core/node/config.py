"""How one Node is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

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
    ingress: int = 4096
    """How many inputs may wait for a poll. Then Envelopes are dropped, with a Step, and `invoke` refuses. Answers of
    Laters are never dropped."""
    ingress_bytes: int = 256 * 2**20
    """Bytes of received Envelopes that wait for a poll, or whose Frames are open; beyond them Envelopes are dropped."""
    peer_ingress: int | None = None
    peer_bytes: int | None = None
    """How many Envelopes of one peer may wait or have open Frames, and their bytes. None: a quarter of all, but
    not less than 64 Envelopes, and the bytes of one."""
    peer_rate: int | None = None
    """How many Envelopes of one peer are taken a second, on average: as many may come at once, and one more each time
    that such a share of a second has passed. What comes faster is dropped, with a Step. None: as many as come."""
    max_value_bytes: int = 256 * 2**20
    """Bytes of one value. One that is larger than an Envelope's payload may be travels in chunks. What comes in chunks
    has a budget of its own: `ingress_bytes`, or twice this if that is more, of which one peer gets half."""
    wire_profile: Literal["bb", "reference"] = "bb"
    """How float32 tensors are sent: as ONNX TensorProtos, or as the reference implementation writes and reads them."""
    laters: int = 10_000
    """How many ops may wait for their answers; one more fails."""
    limits: WireLimits = field(default_factory=WireLimits)
    """What an Envelope may hold."""
    wake: Callable[[], None] | None = None
    """Called, from any thread, when a Later is answered outside a poll: poll soon."""
    executor: Callable[[Callable[[], None]], Any] | None = None
    """Runs a function on another thread, such as `ThreadPoolExecutor(2).submit`: what Concretes give to `ctx.offload`.
    None: in the poll itself."""
    profile: Callable[[], int] | None = None
    """A clock in nanoseconds, such as `time.perf_counter_ns`: measures the time spent in each op (`Node.profile`)."""

    def __post_init__(self) -> None:
        for name in ("op_budget", "ingress", "ingress_bytes", "max_value_bytes", "laters"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", expected="at least 1")
        for name in ("peer_ingress", "peer_bytes", "peer_rate"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise UsageError(f"{name} is {given}", expected="at least 1, or None")
        if self.wire_profile not in ("bb", "reference"):
            raise UsageError(f"there is no wire profile {self.wire_profile!r}", expected="'bb' or 'reference'")

    @classmethod
    def edge(cls, seed: int = 0, incarnation: int = 0, wake: Callable[[], None] | None = None) -> NodeConfig:
        """Return the options for a small device: small Envelopes, and 8 MiB of them at once."""
        return cls(
            seed=seed,
            incarnation=incarnation,
            op_budget=10_000,
            ingress=512,
            ingress_bytes=8 * 2**20,
            max_value_bytes=8 * 2**20,
            laters=256,
            limits=WireLimits.edge(),
            wake=wake,
        )
