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

_KEPT: Final = 8
"""Plans that a graph keeps; the one that was used longest ago goes first."""
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
        self.plans: list[Plan] = []
        self._without: set[Any] = set()
        self._making = Lock()

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the outputs for inputs by position."""
        for plan in self.plans:
            if plan.fits(inputs):
                return self._run(plan, inputs)
        kinds = tuple((i.dtype, i.shape) if isinstance(i, np.ndarray) else type(i) for i in inputs)
        made = None if kinds in self._without else self._made(inputs, kinds)
        return self._op_by_op(inputs) if made is None else self._run(made, inputs)

    def _made(self, inputs: tuple[Any, ...], kinds: Any) -> Plan | None:
        with self._making:
            for plan in self.plans:
                if plan.fits(inputs):
                    return plan
            try:
                with np.errstate(all="ignore"):  # what overflows is inf, as ONNX has it
                    plan = Plan(self.graph, inputs)
            except Unplannable:
                self._without.add(kinds)
                return None
            self.plans = [plan, *self.plans[: _KEPT - 1]]
            return plan

    def _run(self, plan: Plan, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.plans[0] is not plan:
            with self._making:
                self.plans = [plan, *[p for p in self.plans if p is not plan]]
        try:
            if plan.is_native:
                return plan.run(inputs)
            with np.errstate(all="ignore"):
                return plan.run(inputs)
        except ShapeChanged:
            return self._op_by_op(inputs)

    def _op_by_op(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        with np.errstate(all="ignore"):
            return tuple(self.graph.run(inputs))


def planned(proto: onnx.GraphProto, opsets: Mapping[str, int]) -> Planned:
    """Return a graph with its plans. Those who hold equal graphs share them: a thousand Nodes plan their model once."""
    if proto.ByteSize() > _SHARED_BYTES:
        return Planned(Graph(proto, opsets))
    key = (hashlib.sha256(proto.SerializeToString(deterministic=True)).digest(), tuple(sorted(opsets.items())))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = Planned(Graph(proto, opsets))
    return found
