"""`TopK`: only the largest elements travel, and what is left behind is sent later."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Final

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.codecs.fields import size_of, tensor

F32 = npt.NDArray[np.float32]

_SHAPES: Final = 64
"""So many shapes of values one slot remembers what it has left behind of."""


@bb.concrete("bytesandbrains.TopK")
class TopK(bb.roles.Codec):
    """Send the k elements of largest magnitude; add what is left to the next value (Stich et al. 2018, algorithm 1).

    With error feedback, value + memory is what the k are taken from, and the rest of it is the new memory: nothing is
    lost, it only comes later. It is meant for updates, which are added up; of parameters, which replace others, most
    would become zero. There is one memory for each shape of value: two different values of one shape need two slots. Of
    equal magnitudes the first are taken, so that equal inputs give equal bytes everywhere.

    Shape:
        value (...) f32, of n elements · encoded: a Record of `values` (k,) f32, `places` (k,) u32 in rising order, and
        `shape` (rank,) i64; k = ceil(share * n) · stats: also `left`, the squared norm of the memory
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """How much is sent."""

        share: float = 0.05
        """Share of the elements that is sent, rounded up; 0 < share <= 1. An element takes 8 bytes. Both ends need the
        same."""
        error_feedback: bool = True
        """Whether what is left behind is sent later."""

        def __post_init__(self) -> None:
            if not 0 < self.share <= 1:
                raise ValueError(f"share is {self.share}; expected 0 < share <= 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._memory: dict[tuple[int, ...], F32] = {}

    def snapshot(self) -> bb.State:
        """Return what was left behind."""
        return {"memory": [left.copy() for left in self._memory.values()]}

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        self._memory = {left.shape: np.array(left, np.float32) for left in state["memory"]}

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[bb.Record, bb.Record]:
        """Compress.

        Raises:
            RoleError: the value is no f32, or is not finite, also with what was left behind; values of too many shapes.
        """
        if value.dtype != np.float32 or value.size > 2**32:
            raise RoleError(f"a {value.dtype} tensor of {value.size} elements cannot be cut", expected="float32")
        wanted, keeps = value, self.config.error_feedback
        if keeps and value.shape in self._memory:
            wanted = value + self._memory[value.shape]
        elif keeps and len(self._memory) >= _SHAPES:
            raise RoleError(
                f"values of more than {_SHAPES} shapes came to one slot", hint="give each a slot of its own"
            )
        flat = np.ascontiguousarray(wanted, np.float32).reshape(-1)
        places = largest(flat, self._count(flat.size))
        sent = flat[places]
        left = flat.copy()
        left[places] = 0
        off = value.reshape(-1).astype(np.float64)
        off[places] -= sent
        if keeps:
            self._memory[value.shape] = left.reshape(value.shape)
        encoded = bb.Record(values=sent, places=places, shape=np.asarray(value.shape, np.int64))
        stats = {"distortion": float(np.dot(off, off)), "left": float(np.dot(left, left)) if keeps else 0.0}
        return encoded, bb.Record(bytes_in=value.nbytes, bytes_out=size_of(encoded), **stats)

    def decode(self, ctx: bb.Context, encoded: bb.Record) -> bb.Tensor:
        """Undo Encode: zeros, but for the elements that were sent.

        Raises:
            RoleError: it was never encoded, or with another `share`: so what a peer sends makes memory for no more than
                1 / share times its own size.
        """
        values, places = tensor(encoded, "values", np.float32, 1), tensor(encoded, "places", np.uint32, 1)
        shape: list[int] = tensor(encoded, "shape", np.int64, 1).tolist()
        size = prod(shape)
        if min(shape, default=0) < 0 or not len(values) == len(places) == self._count(size):
            raise RoleError(
                f"{len(values)} values at {len(places)} places are of the shape {shape}",
                expected=f"a share of {self.config.share:g} of all elements",
                hint="configure both ends alike",
            )
        if len(places) and (int(places[-1]) >= size or np.any(places[1:] <= places[:-1])):
            raise RoleError("places are not in rising order, or beyond the end", expected="what Encode gives")
        whole = np.zeros(size, np.float32)
        whole[places] = values
        return whole.reshape(shape)

    def _count(self, size: int) -> int:
        return min(size, ceil(round(float(self.config.share) * size, 6)))


def largest(flat: F32, count: int) -> npt.NDArray[np.uint32]:
    """Return the places of the elements of largest magnitude, in rising order; of equal ones the first.

    Raises:
        RoleError: one of them is NaN or infinite.

    Shape:
        flat (n,) · returns (count,)
    """
    if not count:
        return np.empty(0, np.uint32)
    magnitudes = np.abs(flat)
    top = np.partition(magnitudes, flat.size - count)[flat.size - count :]  # which has NaN at the end
    if not np.isfinite(top).all():
        raise RoleError("a value cannot be cut", expected="finite, also together with what was left behind")
    least = top[0]
    places = np.flatnonzero(magnitudes >= least)
    if len(places) > count:
        too_many = np.flatnonzero(magnitudes == least)[np.count_nonzero(top == least) :]
        places = np.setdiff1d(places, too_many, assume_unique=True)
    return places.astype(np.uint32)
