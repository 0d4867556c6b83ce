"""What a plan is made of while it is made: ops on values whose shapes are known, and the steps they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node

ABSENT = 0
"""The value of an input that is left out."""
FILTER_GRADIENT = "gradient of filters"
"""An op that no graph has: `rewriting` puts it in the place of several."""


@dataclass(slots=True)
class Known:
    """What is known of a value before the plan runs.

    Attributes:
        shape: Of an array; None for what is no array.
        dtype: Of an array.
        constant: The value itself, if it is the same in each run.
        fixed: Whether its shape and type are the same in each run of inputs of equal shapes.
    """

    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    constant: Any = None
    fixed: bool = False

    @property
    def size(self) -> int:
        """How many elements it has."""
        count = 1
        for n in self.shape or ():
            count *= n
        return count

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.size * (self.dtype.itemsize if self.dtype is not None else 0)

    @property
    def kind(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Its type and shape, where it is an array."""
        assert self.dtype is not None
        assert self.shape is not None
        return self.dtype, self.shape

    def is_f32(self) -> bool:
        """Say whether it is a float32 tensor of a known shape, with elements."""
        return self.fixed and self.dtype == np.float32 and self.size > 0

    def is_bool(self) -> bool:
        """Say whether it is a boolean tensor of a known shape, with elements."""
        return self.fixed and self.dtype == np.bool_ and self.size > 0


def known_of(value: Any, *, constant: bool, fixed: bool) -> Known:
    """Describe a value."""
    if not isinstance(value, np.ndarray):
        return Known(constant=value if constant else None)
    return Known(value.shape, value.dtype, value if constant else None, fixed)


@dataclass(frozen=True, slots=True)
class Op:
    """An op of a graph: its kernel in Python, and the values that it reads and makes."""

    node: Node
    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of ONNX, without a domain; one of another domain is named with it."""
        return f"{self.node.domain}.{self.node.op}" if self.node.domain else self.node.op


@dataclass(frozen=True, slots=True)
class At:
    """A place in a value: two parameters of a kernel, its buffer and the offset in bytes."""

    value: int
    offset: int = 0


@dataclass(slots=True)
class Step:
    """A kernel with its parameters.

    Attributes:
        address: Of the kernel.
        params: Numbers, and places of values.
    """

    address: int
    params: Sequence[int | At]

    @property
    def values(self) -> set[int]:
        """Values whose memory it reads or writes."""
        return {p.value for p in self.params if isinstance(p, At)}


@dataclass(slots=True)
class PythonStep:
    """An op whose kernel is Python."""

    op: Op


@dataclass(slots=True)
class Draft:
    """Steps that are being written.

    Attributes:
        known: What is known of each value; scratch memory is added at its end.
        aliases: Value -> the value whose memory it shares, and how many bytes further it begins.
        made_by_python: Values that steps in Python make.
        indices: Values that are known to be good indices.
    """

    known: list[Known]
    aliases: dict[int, tuple[int, int]] = field(default_factory=dict)
    steps: list[Step | PythonStep] = field(default_factory=list)
    made_by_python: set[int] = field(default_factory=set)
    indices: set[int] = field(default_factory=set)
    _constants: dict[Any, int] = field(default_factory=dict)

    def at(self, value: int, offset: int = 0) -> At:
        """Return where a value begins."""
        root, further = self.aliases.get(value, (value, 0))
        return At(root, offset + further)

    def root(self, value: int) -> int:
        """Return the value whose memory a value shares, itself if it has its own."""
        return self.aliases.get(value, (value, 0))[0]

    def alias(self, value: int, of: int, offset: int = 0) -> None:
        """Let a value share another's memory."""
        root, further = self.aliases.get(of, (of, 0))
        self.aliases[value] = (root, further + offset)

    def shown(self, value: int, shape: tuple[int, ...]) -> int:
        """Add a value that is another in a different shape, one length of which may be -1."""
        known = self.known[value]
        whole = tuple(known.size // -int(np.prod(shape)) if n == -1 else n for n in shape)
        self.known.append(Known(whole, known.dtype, None, fixed=True))
        self.alias(len(self.known) - 1, value)
        return len(self.known) - 1

    def scratch(self, count: int, dtype: Any = np.float32) -> int:
        """Add a value for what is worked out in between."""
        self.known.append(Known((count,), np.dtype(dtype), None, fixed=True))
        return len(self.known) - 1

    def constant(self, value: Array) -> int:
        """Add a value that is the same in each run, or return it if it is there already."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self.known.append(Known(value.shape, value.dtype, value, fixed=True))
            self._constants[key] = len(self.known) - 1
        return self._constants[key]

    def step(self, address: int, params: Sequence[int | At]) -> None:
        """Write a step. What it reads and writes are the places among its parameters."""
        self.steps.append(Step(address, params))

    def python(self, op: Op) -> None:
        """Write a step in Python."""
        self.steps.append(PythonStep(op))
        self.made_by_python.update(v for v in op.outputs if v)


def bits(value: float) -> int:
    """Return a float32 as a parameter: its bits in the low half."""
    return int(np.array(value, np.float32).view(np.uint32))


def contiguous_strides(shape: Sequence[int]) -> list[int]:
    """Return the strides of an array row by row, in elements."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return strides[::-1]


def broadcast_strides(shape: Sequence[int], onto: Sequence[int]) -> list[int]:
    """Return the strides by which an array row by row is read as if it had the shape `onto`."""
    lacking = len(onto) - len(shape)
    own = contiguous_strides(shape)
    return [0] * lacking + [0 if n == 1 else s for n, s in zip(shape, own, strict=True)]


def collapsed(shape: Sequence[int], *strides: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Join neighbouring axes that every view runs through in one stride, and leave out those of length one."""
    lengths: list[int] = []
    kept: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(k[-1] == s[axis] * n for k, s in zip(kept, strides, strict=True)):
            lengths[-1] *= n
            for k, s in zip(kept, strides, strict=True):
                k[-1] = s[axis]
        else:
            lengths.append(n)
            for k, s in zip(kept, strides, strict=True):
                k.append(s[axis])
    if not lengths:
        return [1], [[1] for _ in strides]
    return lengths, kept


__all__ = ["ABSENT", "Array", "At", "Draft", "Known", "Op", "PythonStep", "Step", "bits", "collapsed", "known_of"]
