"""`a[0]`, `a[1:3, :, -1]`: indexing, as ONNX Gather and Slice on the Module's Backend slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bb_core.dsl.source import caller_line
from bb_core.errors import TypeMismatch

if TYPE_CHECKING:
    from bb_core.dsl.output import Output

_END: Final = np.iinfo(np.int64).max


def index(value: Output, key: Any) -> Output:
    """Record `value[key]`: whole numbers take one element of an axis, slices a range, `...` the axes between."""
    keys = key if isinstance(key, tuple) else (key,)
    if sum(k is Ellipsis for k in keys) > 1:
        raise TypeMismatch("an index may hold one `...`", where=caller_line())
    at = keys.index(Ellipsis) if Ellipsis in keys else len(keys)
    after = keys[at + 1 :]
    placed = [*enumerate(keys[:at]), *((i - len(after), k) for i, k in enumerate(after))]
    backend = value.graph.module.default_backend(value.graph)
    slices = [(axis, k) for axis, k in placed if isinstance(k, slice) and k != slice(None)]
    if slices:
        bounds = [_bounds(k) for _, k in slices]
        columns = [[b[i] for b in bounds] for i in range(3)]
        starts, ends, steps = (np.asarray(column, np.int64) for column in columns)
        axes = np.asarray([axis for axis, _ in slices], np.int64)
        value = backend.operator(value.graph, "Slice", [value, starts, ends, axes, steps])
    taken = [(axis, k) for axis, k in placed if not isinstance(k, slice)]
    # An axis that is counted from the front is taken last first, so that those before it keep their numbers.
    for axis, k in sorted((p for p in taken if p[0] >= 0), reverse=True) + sorted(p for p in taken if p[0] < 0):
        value = backend.operator(value.graph, "Gather", [value, _position(k)], axis=axis)
    return value


def _position(k: Any) -> Any:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        if hasattr(k, "graph"):
            return k
        raise TypeMismatch(
            f"{k!r} cannot be an index", where=caller_line(), expected="a whole number, a slice, `...`, or a value"
        )
    return int(k)


def _bounds(k: slice) -> tuple[int, int, int]:
    step = 1 if k.step is None else k.step
    if not all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in (k.start, k.stop, k.step)):
        raise TypeMismatch(f"{k!r} cannot be an index", where=caller_line(), expected="a slice of whole numbers")
    if step == 0:
        raise TypeMismatch("a slice has step 0", where=caller_line(), expected="a step other than 0")
    start = k.start if k.start is not None else (0 if step > 0 else _END)
    stop = k.stop if k.stop is not None else (_END if step > 0 else -_END)
    return start, stop, step
