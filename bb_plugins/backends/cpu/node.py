"""What a kernel is made from: an op with its attributes, its opset, and the outputs that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Kernel = Callable[..., Any]
"""Takes an op's inputs, None for one that is left out, and returns its output, or a tuple of them."""


@dataclass(frozen=True, slots=True)
class Node:
    """An op as it stands in a graph.

    Attributes:
        op: Its name.
        attributes: As Python has them: text, numbers, tuples, arrays, and bodies as `onnx.GraphProto`.
        opsets: Version of each domain that the graph imports; bodies are read by it.
        domain: Of the op; empty for ONNX's own.
        wanted: For each output whether somebody asks for it; None when that is unknown.
    """

    op: str
    attributes: Mapping[str, Any]
    opsets: Mapping[str, int] = field(default_factory=dict)
    domain: str = ""
    wanted: tuple[bool, ...] | None = None

    @property
    def version(self) -> int:
        """Opset version by which the op is to be read."""
        return self.opsets[self.domain]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or what it is when the op leaves it out."""
        return self.attributes.get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return an attribute that says yes or no."""
        return bool(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        return str(self.attributes.get(name, default))

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers, or None."""
        found = self.attributes.get(name)
        return None if found is None else tuple(int(i) for i in found)

    def wants(self, index: int) -> bool:
        """Say whether somebody asks for an output; yes if that is unknown."""
        return self.wanted is None or (index < len(self.wanted) and self.wanted[index])


Make = Callable[[Node], Kernel]


def plain(function: Kernel) -> Make:
    """Make the kernel of an op without attributes."""
    return lambda node: function


def scalar_of(x: Array | None, default: float | int | bool) -> Any:
    """Read an input of one element, which exporters write with shape () or (1,)."""
    return default if x is None else x.reshape(-1)[0].item()


def as_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """Turn a list of axes, which may count from the end, into ascending axes from the start."""
    return tuple(sorted(int(a) % rank for a in axes)) if rank else ()


def element_type(code: int) -> np.dtype[Any]:
    """Return numpy's type for ONNX's code of one; those that numpy lacks are ml_dtypes'."""
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(int(code)))


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Say whether a type has integers, those of less than a byte included."""
    return dtype.kind in "iu" or dtype.name in ("int4", "uint4", "int2", "uint2")


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Say whether a type is a float of less than 32 bits, which sums and libraries want wider."""
    return dtype.itemsize < 4 and dtype.kind not in "iubOSUT"


def widened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute in float32 on what is narrower, and give the result in the type of the first input."""

    def run(x: Array, *rest: Any) -> Array:
        if not is_narrow(x.dtype):
            return np.asarray(function(x, *rest), x.dtype)
        wide = (r.astype(np.float32) if isinstance(r, np.ndarray) and is_narrow(r.dtype) else r for r in rest)
        return np.asarray(function(x.astype(np.float32), *wide)).astype(x.dtype)

    return run
