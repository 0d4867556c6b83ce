"""A graph with its plans: one for each shapes of inputs, made when these are first seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import numpy as np

from bb_plugins.backends.cpu.graph import Graph
from bb_plugins.backends.cpu.plans.machine import ShapeChanged
from bb_plugins.backends.cpu.plans.plan import Plan, Unplannable

if TYPE_CHECKING:
    import onnx

_KEPT: Final = 64
"""Plans that a graph keeps at most; the one that was used longest ago goes first."""
_KEPT_BYTES: Final = 1 << 28
"""Memory of those that it keeps beside the last one."""
_SHARED_BYTES: Final = 1 << 24
"""A graph with more constants than this is not looked up among those that are there already."""

_shared: WeakValueDictionary[tuple[bytes, tuple[tuple[str, int], ...]], Planned] = WeakValueDictionary()


class Planned:
    """A graph that is run by plans.

    A run gives the same bytes whether its plan was there or had to be made. What has no plan runs op by op: inputs that
    are no arrays, and graphs without an op that a kernel does.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._plans: dict[Any, Plan | None] = {}
        self._last: Plan | None = None
        self._changing = Lock()

    @property
    def plans(self) -> list[Plan]:
        """Those that are kept, the last one first."""
        return [plan for plan in reversed(self._plans.values()) if plan is not None]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the outputs for inputs by position."""
        return self.into(None, inputs)

    def into(self, outputs: tuple[Any, ...] | None, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the outputs, written to arrays that are given.

        Args:
            outputs: For each output an array of its type and shape that lies row by row, or None for a new one.
            inputs: By position.
        """
        plan = self._last
        if plan is None or not plan.fits(inputs):
            plan = self._found(inputs)
        if plan is None:
            return self._op_by_op(inputs, outputs)
        try:
            if plan.is_native:
                return plan.run(inputs, outputs)
            with np.errstate(all="ignore"):  # what overflows is inf, as ONNX has it
                return plan.run(inputs, outputs)
        except ShapeChanged:
            return self._op_by_op(inputs, outputs)

    def _found(self, inputs: tuple[Any, ...]) -> Plan | None:
        """Look a plan up, or make it; None where there can be none."""
        kinds = tuple((i.dtype, i.shape) if isinstance(i, np.ndarray) else type(i) for i in inputs)
        with self._changing:
            plan = self._plans.pop(kinds) if kinds in self._plans else self._made(inputs)
            self._plans[kinds] = self._last = plan  # the last one stands at the end
            room = _KEPT_BYTES
            for count, (key, kept) in enumerate(reversed(list(self._plans.items()))):
                room -= 0 if kept is None or count == 0 else kept.nbytes
                if count >= _KEPT or room < 0:
                    del self._plans[key]
        return plan

    def _made(self, inputs: tuple[Any, ...]) -> Plan | None:
        try:
            with np.errstate(all="ignore"):
                return Plan(self.graph, inputs)
        except Unplannable:
            return None

    def _op_by_op(self, inputs: tuple[Any, ...], outputs: tuple[Any, ...] | None) -> tuple[Any, ...]:
        with np.errstate(all="ignore"):
            found = self.graph.run(inputs)
        for i, array in enumerate(outputs or ()):
            if array is not None:
                array[...] = found[i]
                found[i] = array
        return tuple(found)


def planned(proto: onnx.GraphProto, opsets: Mapping[str, int]) -> Planned:
    """Return a graph with its plans. Those who hold equal graphs share them: a thousand Nodes plan their model once."""
    if proto.ByteSize() > _SHARED_BYTES:
        return Planned(Graph(proto, opsets))
    key = (hashlib.sha256(proto.SerializeToString(deterministic=True)).digest(), tuple(sorted(opsets.items())))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = Planned(Graph(proto, opsets))
    return found
