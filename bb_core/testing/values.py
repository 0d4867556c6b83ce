"""Values as the kit looks at them: copied, frozen, compared, held against a declared type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bb_core import types as t
from bb_core.ops.spec import Port
from bb_core.values import PeerList, Record, Trigger


def copied(value: Any) -> Any:
    """Return a copy that shares no memory, its arrays writable."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Record):
        return Record({name: copied(item) for name, item in value.items()})
    if type(value) in (tuple, list):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {name: copied(item) for name, item in value.items()}
    return value


def freeze(value: Any) -> Any:
    """Make the arrays in a value read-only, in place, as the engine does when a value is written; returns it."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple | list):
        for item in value:
            freeze(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            freeze(item)
    return value


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal to the last bit; NaN equals NaN."""
    if isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic):
        x, y = np.asarray(a), np.asarray(b)
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return type(a) is type(b) and bool(a == b)


def short(value: Any) -> str:
    """Write a value for a message."""
    if isinstance(value, np.ndarray):
        text = np.array2string(value, threshold=8, edgeitems=2, precision=6).replace("\n", " ")
        return f"{value.dtype} of shape {value.shape}: {text[:120]}"
    return repr(value)[:160]


def misfit(value: Any, port: Port, dims: dict[str, int]) -> str:
    """Say why a value may not be written to a port; empty when it may.

    The engine makes a tensor of a number, a Record of a dict, a PeerList of a list, and a Trigger of None.

    Args:
        value: What was returned.
        port: Where it would go.
        dims: Sizes of the named dimensions so far; those of the value are added.
    """
    wanted = t.python_class(port.type)
    if value is None:
        return "" if port.optional or wanted is Trigger else "None"
    if wanted is None:
        return ""
    if wanted is Record and isinstance(value, dict):
        return _unrecordable(value)
    if wanted is PeerList and isinstance(value, list | tuple):
        return ""
    if wanted is np.ndarray and isinstance(value, np.generic | int | float):
        value = np.asarray(value, np.float32 if isinstance(value, float) else None)
    if not isinstance(value, wanted):
        return f"a {type(value).__name__}"
    return _other_tensor(value, port.type, dims) if isinstance(value, np.ndarray) else ""


def _unrecordable(value: dict[str, Any]) -> str:
    try:
        Record(value)
    except TypeError as error:
        return f"a dict that is no Record: {error}"
    return ""


def _other_tensor(value: np.ndarray[Any, Any], wanted: t.Type, dims: dict[str, int]) -> str:
    got = f"{value.dtype} of shape {value.shape}"
    if value.dtype == object:
        return got
    if wanted.elem:
        from onnx import helper

        if value.dtype != helper.tensor_dtype_to_np_dtype(wanted.elem):
            return got
    if wanted.shape is None:
        return ""
    if len(wanted.shape) != value.ndim:
        return got
    for dim, size in zip(wanted.shape, value.shape, strict=True):
        known = dims.setdefault(dim, size) if isinstance(dim, str) else size if dim is None else dim
        if known != size:
            return f"{got}, where {dim} is {known}"
    return ""
