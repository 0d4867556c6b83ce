"""Codec: turns a value into a smaller one and back."""

from __future__ import annotations

from typing import Any, ClassVar

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Role, abstract, op
from bb_core.values import Record, Tensor


class Codec(Role):
    """Compress values on their way to other peers."""

    role: ClassVar[str] = keys.CODEC
    exclusive: ClassVar[bool] = True

    @op("Train")
    @abstract
    def train(self, ctx: Context, samples: Tensor) -> None:
        """Learn a code book. A codec without one leaves this out."""
        raise NotImplementedError

    @op("Encode", outputs="encoded stats")
    def encode(self, ctx: Context, value: Tensor) -> tuple[Any, Record]:
        """Compress. `stats` has `bytes_in`, `bytes_out` and `distortion` (squared error; 0.0 for a lossless codec)."""
        raise NotImplementedError

    @op("Decode", outputs="value")
    def decode(self, ctx: Context, encoded: Any) -> Tensor:
        """Undo Encode."""
        raise NotImplementedError
