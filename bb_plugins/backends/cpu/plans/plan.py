"""From a graph and the shapes of its inputs to a plan that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.graph import Graph
from bb_plugins.backends.cpu.plans.arena import ALIGNMENT, Life, placed
from bb_plugins.backends.cpu.plans.elementwise import Unit, grouped
from bb_plugins.backends.cpu.plans.lowering import lower
from bb_plugins.backends.cpu.plans.machine import Call, Machine
from bb_plugins.backends.cpu.plans.program import ABSENT, At, Draft, PythonStep, Step
from bb_plugins.backends.cpu.plans.rewriting import rewritten
from bb_plugins.backends.cpu.plans.simplify import without_repeats, without_unread
from bb_plugins.backends.cpu.plans.tiling import lower_group
from bb_plugins.backends.cpu.plans.trial import trial

_WORD: Final = (1 << 64) - 1


class Unplannable(Exception):
    """A graph has no plan for these inputs."""


class Plan:
    """A graph, ready to run for inputs of some shapes.

    Args:
        graph: Its kernels are bound.
        inputs: The shapes and types that the plan is for.

    Raises:
        Unplannable: an input is no array, or no op has a kernel.

    Attributes:
        kernels: How many kernels run.
        in_python: Names of the ops that have none, and run in Python.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Any]) -> None:
        if not all(isinstance(i, np.ndarray) for i in inputs):
            raise Unplannable
        known, ops = trial(graph, inputs)
        self._draft = Draft(known)
        ops = without_repeats(ops, set(graph.outputs_at))
        ops = without_unread(
            rewritten(self._draft, without_unread(ops, graph.outputs_at), graph.outputs_at), graph.outputs_at
        )
        units = grouped(ops, known)
        readers = _readers(units, graph.outputs_at)
        for index, unit in enumerate(units):
            if unit.shape is None:
                lower(self._draft, unit.ops[0])
            else:
                lower_group(self._draft, unit, {v for v, who in readers.items() if who - {index}})
        self.in_python = tuple(s.op.name for s in self._draft.steps if isinstance(s, PythonStep))
        self.kernels = len(self._draft.steps) - len(self.in_python)
        if not self.kernels:
            raise Unplannable
        self.is_native = not self.in_python
        self._layout = _Layout(self._draft, graph)
        self._free: list[Machine] = []

    def fits(self, inputs: tuple[Any, ...]) -> bool:
        """Say whether inputs have the types and shapes that the plan was made for."""
        machine = self._take()
        try:
            return machine.fits(inputs)
        finally:
            self._free.append(machine)

    def run(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the outputs for inputs that fit.

        Raises:
            ShapeChanged: an op has given another shape than at the trial; nothing else has happened.
        """
        machine = self._take()
        try:
            return machine.run(inputs)
        finally:
            self._free.append(machine)

    def _take(self) -> Machine:
        """A machine that nobody runs; two threads never have the same."""
        try:
            return self._free.pop()
        except IndexError:
            return self._layout.machine()


def _readers(units: Sequence[Unit], outputs: Sequence[int]) -> dict[int, set[int]]:
    """Value -> units that read it; -1 for the caller."""
    found: dict[int, set[int]] = {}
    for index, unit in enumerate(units):
        for op in unit.ops:
            for v in op.inputs:
                found.setdefault(v, set()).add(index)
    for v in outputs:
        found.setdefault(v, set()).add(-1)
    return found


@dataclass(frozen=True, slots=True)
class _Output:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    value: int


class _Layout:
    """Where everything stands: buffers, places of values, parameters."""

    def __init__(self, draft: Draft, graph: Graph) -> None:
        self.draft, self.known = draft, draft.known
        self.inputs = tuple(graph.inputs_at)
        self.outputs = tuple(graph.outputs_at)
        native = {v for s in draft.steps if isinstance(s, Step) for v in s.values}
        roots = {draft.root(v) for v in self.outputs}
        outside = {*self.inputs, *draft.made_by_python, ABSENT}
        self.made = [v for v in sorted(native & roots) if v not in outside and self.known[v].constant is None]
        self.inner = sorted(v for v in native if v not in outside and v not in roots and self.known[v].constant is None)
        offsets, self.arena_bytes = placed(self._lives())
        # Buffer 0 is the arena. All else that kernels read or write has a buffer of its own.
        own = [v for v in sorted(native) if v not in offsets]
        self.buffer = {v: i + 1 for i, v in enumerate(own)}
        self.offset = offsets
        self.steps, self.params = self._parameters()
        self.constants = [
            (self.buffer[v], np.require(self.known[v].constant, requirements=["C", "A"]))
            for v in own if self.known[v].constant is not None
        ]  # fmt: skip

    def _lives(self) -> list[Life]:
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        seen_by: dict[int, set[int]] = {}  # what Python has made -> arena values that it may be a view of
        for at, step in enumerate(self.draft.steps):
            if isinstance(step, Step):
                touched = set(step.values)
            else:
                read = {self.draft.root(v) for v in step.op.inputs if v}
                touched = set(read)
                for v in read:
                    touched |= seen_by.get(v, set())
                shown = {v for v in touched if v not in self.draft.made_by_python}
                seen_by |= dict.fromkeys((v for v in step.op.outputs if v), shown)
            for v in set(touched):
                touched |= seen_by.get(v, set())
            for v in touched:
                first.setdefault(v, at)
                last[v] = at
        end = len(self.draft.steps)
        for v in self.outputs:
            for u in seen_by.get(self.draft.root(v), ()):
                last[u] = end
        return [Life(v, self.known[v].nbytes, first[v], last[v]) for v in self.inner]

    def _parameters(self) -> tuple[Any, Any]:
        table, params = [], list[int]()
        for step in self.draft.steps:
            if not isinstance(step, Step):
                continue
            table.append((step.address, len(params)))
            for p in step.params:
                if isinstance(p, At):
                    inside = p.value in self.offset
                    params += [0 if inside else self.buffer[p.value], p.offset + self.offset.get(p.value, 0)]
                else:
                    params.append(p)
        return np.array(table, np.int64).reshape(-1, 2), np.array([p & _WORD for p in params] or [0], np.uint64).view(
            np.int64
        )

    def machine(self) -> Machine:
        """Make memory, and a machine that runs in it."""
        room = np.empty(self.arena_bytes + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        arena = room[start : start + self.arena_bytes]
        bases = np.zeros(len(self.buffer) + 1, np.int64)
        bases[0] = arena.ctypes.data
        for buffer, array in self.constants:
            bases[buffer] = array.ctypes.data
        values: list[Any] = [k.constant for k in self.known]
        shown = []
        wanted = {v for s in self.draft.steps if isinstance(s, PythonStep) for v in s.op.inputs if v}
        for v in sorted(wanted):
            root, offset = self.draft.aliases.get(v, (v, 0))
            if root in self.offset:
                values[v] = self._in(arena, v, self.offset[root] + offset)
            elif root != v and self.known[v].constant is None:
                shown.append((v, root, self.known[v].kind[1]))
        inputs = tuple((*self.known[v].kind, v, self.buffer.get(v, -1)) for v in self.inputs)
        made = tuple((*self.known[v].kind, v, self.buffer[v]) for v in self.made)
        return Machine(
            self._schedule(), self.steps, self.params, bases, values, inputs, made, tuple(shown), self._results(),
            arena if self.arena_bytes else None,
        )  # fmt: skip

    def _in(self, arena: Any, value: int, offset: int) -> Any:
        dtype, shape = self.known[value].kind
        part = arena[offset : offset + self.known[value].nbytes].view(dtype).reshape(shape)
        part.flags.writeable = False
        return part

    def _schedule(self) -> list[Any]:
        found: list[Any] = []
        native = first = 0
        for step in self.draft.steps:
            if isinstance(step, Step):
                native += 1
                continue
            if native > first:
                found.append((first, native))
            first = native
            bound = tuple(self.buffer.get(v, -1) if v else -1 for v in step.op.outputs)
            kinds = tuple(self.known[v].kind if v in self.buffer else None for v in step.op.outputs)
            places = tuple(v or -1 for v in step.op.outputs)
            found.append(Call(step.op.kernel, step.op.inputs, places, bound, kinds))
        if native > first:
            found.append((first, native))
        return found

    def _results(self) -> tuple[Any, ...]:
        """For each output its place, its shape if it is a view, and whether Python has made it."""
        found = []
        for v in self.outputs:
            root = self.draft.root(v)
            by_python = root in self.draft.made_by_python
            found.append((root, None if root == v else self.known[v].shape, by_python))
        return tuple(found)
