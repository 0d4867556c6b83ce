"""`Variates`: SCAFFOLD's control variates of one peer.

Source: Karimireddy et al. (2020), SCAFFOLD, Algorithm 1 with option II. With the server's parameters x and variate c, a
peer's own variate c_k and its parameters y after K steps of rate r, each of the gradient + c - c_k:
c_k' = c_k - c + (x - y) / (K r). The peer sends y, and c + c_k' - c_k: their mean over all peers is the next c, and the
server need not know how often a peer has stepped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bb_core.errors import RoleError

F32 = npt.NDArray[np.float32]
VARIATES = "control_variates"
"""Field of the stats of an update that has them."""


class Variates:
    """What a peer keeps.

    Attributes:
        shared: The server's variate, as it came with the last parameters.
        own: This peer's.
        steps: How many it has made since then.
    """

    def __init__(self, size: int) -> None:
        self.shared: F32 = np.zeros(size, np.float32)
        self.own: F32 = np.zeros(size, np.float32)
        self.steps = 0

    def parts(self, vector: Any) -> tuple[Any, Any]:
        """Take parameters and variate apart; refuse another length."""
        size = self.own.size
        if vector.shape != (2 * size,):
            raise RoleError(
                f"what was loaded has the shape {vector.shape}",
                expected=f"({2 * size},): parameters and a control variate",
                hint="set control_variates alike on all peers, and bind the Aggregator to bytesandbrains.Scaffold",
            )
        return vector[:size], vector[size:]

    def begin(self, moved: F32, shared: Any) -> None:
        """Keep what the steps so far have told, and begin anew with the server's variate.

        Args:
            moved: (x - y) / r since the last time.
            shared: The server's variate.
        """
        self.own = self._next(moved)
        self.shared, self.steps = np.array(shared, np.float32), 0

    def correction(self) -> F32:
        """What is added to the gradient of a step, which is counted."""
        self.steps += 1
        return self.shared - self.own

    def sent(self, moved: F32) -> F32:
        """What is sent with the parameters."""
        return self.shared + (self._next(moved) - self.own)

    def _next(self, moved: F32) -> F32:
        return self.own - self.shared + moved / np.float32(self.steps) if self.steps else self.own

    def state(self) -> dict[str, Any]:
        """Return what it keeps."""
        return {"shared": self.shared.copy(), "own": self.own.copy(), "steps": self.steps}

    def load(self, state: Any) -> None:
        """Take it over."""
        self.shared, self.own = np.array(state["shared"]), np.array(state["own"])
        self.steps = state["steps"]
