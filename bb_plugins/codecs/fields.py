"""The fields of an encoded Record, which may come from a peer and hold anything."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError


def tensor(encoded: Any, name: str, dtype: Any, ndim: int | None = None) -> np.ndarray[Any, Any]:
    """Return a field that must be a tensor of one element type; contiguous, aligned and read-only.

    Raises:
        RoleError: there is none, or it is another.
    """
    expected = f"a Record with {name!r}, a tensor of {np.dtype(dtype)}" + (f" of rank {ndim}" if ndim else "")
    if not isinstance(encoded, bb.Record):
        raise RoleError(f"a {type(encoded).__name__} was never encoded", expected=expected)
    found = encoded.get(name)
    if not isinstance(found, np.ndarray) or found.dtype != dtype or ndim not in (None, found.ndim):
        what = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise RoleError(f"{name!r} is a {what}: it was never encoded", expected=expected)
    if not (found.flags.c_contiguous and found.flags.aligned):
        found = np.require(found, requirements=("C", "A"))
    if found.flags.writeable:
        found = found.view()
        found.flags.writeable = False
    return found


def size_of(encoded: bb.Record) -> int:
    """Return the bytes of a Record's tensors. On the wire, names and types come on top: some dozens for each."""
    return sum(field.nbytes for field in encoded.values() if isinstance(field, np.ndarray))
