"""A Context for calling a Concrete's methods without a Node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import bb_core as bb
from bb_plugins.backends.cpu.backend import CpuBackend


class FakeContext:
    """What the tests need of a Context; `source` and `request` may be set."""

    def __init__(self, seed: int = 0, peers: int = 0) -> None:
        self.peer_id = bb.PeerId.from_int(0)
        self.source = self.peer_id
        self.request = 0
        self.is_response = False
        self.requests: Sequence[int] = ()
        self.rng = np.random.Generator(np.random.Philox(seed))
        self.closed: list[int] = []
        self._peers = [bb.PeerId.from_int(n) for n in range(1, peers + 1)]
        self._backend = CpuBackend(CpuBackend.Config())

    def dependency(self, slot: str) -> Any:
        assert slot == "compute"
        return self._backend

    def peers(self, peer_class: str | None = None) -> Sequence[bb.PeerId]:
        return self._peers

    def close(self, requests: Sequence[int]) -> None:
        self.closed += requests

    def later(
        self, deadline: int | None = None, on_deadline: Any = None, missing: Any = None, on_cancel: Any = None
    ) -> Any:
        return ("later", deadline, on_deadline)
