"""What the modules beside it share: shapes, and copies between views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bb_plugins.backends.cpu.plans.program import At, Draft, Op, collapsed

Lower = Callable[[Draft, Op], bool]
"""Writes the steps of an op and says so, or says that it is not for it."""


def shape_of(draft: Draft, value: int) -> tuple[int, ...]:
    """Return the shape of an array."""
    shape = draft.known[value].shape
    assert shape is not None
    return shape


def all_f32(draft: Draft, *values: int) -> bool:
    """Say whether all are float32 of known shapes, with elements."""
    return all(draft.known[v].is_f32() for v in values)


def copy(draft: Draft, shape: Sequence[int], size: int, source: tuple[At, Sequence[int]],
          out: tuple[At, Sequence[int]]) -> None:  # fmt: skip
    """Copy elements of `size` bytes from one view to another; strides are in elements."""
    from bb_plugins.backends.cpu.kernels.moving import copy_view

    lengths, (read, write) = collapsed(shape, source[1], out[1])
    draft.step(copy_view.address, [len(lengths), size, source[0], out[0], *lengths, *read, *write])


def itemsize(draft: Draft, *values: int) -> int:
    """Return the bytes of an element that `_copy` can move, or 0."""
    types = {draft.known[v].dtype for v in values}
    (dtype,) = types if len(types) == 1 else (None,)
    return dtype.itemsize if dtype is not None and dtype.kind in "fiub" and dtype.itemsize in (1, 4, 8) else 0
