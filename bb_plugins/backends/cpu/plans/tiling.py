"""Writes a group of elementwise ops as one step that runs tile by tile."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bb_plugins.backends.cpu.plans.elementwise import Tape, Unit, writer_of
from bb_plugins.backends.cpu.plans.fusing import fuse
from bb_plugins.backends.cpu.plans.program import ABSENT, At, Draft, Known, Op, broadcast_strides, collapsed

Words = list["int | At | _Layout"]
Operand = tuple[At, int]
"""Memory, and by how many bytes for each element it runs along: 4, or 0 for a register."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Stands for the place of a layout, which is known when all steps are."""

    at: int


def lower_group(draft: Draft, unit: Unit, read_outside: Collection[int]) -> None:
    """Write a group as one step.

    Args:
        draft: Where to.
        unit: The group.
        read_outside: Values that ops of other units, or the caller, read.
    """
    tape, registers, outside = Tape(), {ABSENT: -1}, dict[int, int]()
    for op in unit.ops:
        inputs = _as_read(draft, op)
        for v in inputs:
            if v not in registers:
                registers[v] = outside[v] = tape.register()
        write = writer_of(op, draft.known)
        assert write is not None
        registers[op.outputs[0]] = write(tape, op, [registers[v] for v in inputs])
    stored = {registers[op.outputs[0]]: op.outputs[0] for op in unit.ops if op.outputs[0] in read_outside}
    assert unit.shape is not None
    if not fuse(draft, tape, unit.shape, outside, stored):
        _Tiling(draft, tape, unit.shape).write(outside, stored)


def _as_read(draft: Draft, op: Op) -> Sequence[int]:
    """Return an op's inputs; those that go along the channels of images are shown in a shape that does so."""
    if op.node.op != "BatchNormalization":
        return op.inputs
    rank = len(draft.known[op.inputs[0]].shape or ())
    return [op.inputs[0], *(draft.shown(v, (-1, *[1] * (rank - 2))) for v in op.inputs[1:])]


class _Tiling:
    """Gives registers memory, and writes steps on it."""

    def __init__(self, draft: Draft, tape: Tape, shape: tuple[int, ...]) -> None:
        from bb_plugins.backends.cpu.kernels import tiles

        self.draft, self.tape, self.shape, self.tiles = draft, tape, shape, tiles
        self.count = Known(shape).size
        self.scratch = draft.scratch(0)
        self.once: list[Words] = []
        self.each: list[Words] = []
        self.layouts: list[int] = []
        self.where: dict[int, Operand] = {}
        self.slots = 0

    def write(self, outside: dict[int, int], stored: dict[int, int]) -> None:
        """Write the step.

        Args:
            outside: Value that is read -> its register.
            stored: Register -> the value that it is written to.
        """
        for key, register in self.tape.constants.items():
            self._read(register, self.draft.constant(np.array([key], np.uint32).view(np.float32)))
        for value, register in outside.items():
            self._read(register, value)
        booleans = {r: v for r, v in stored.items() if self.draft.known[v].is_bool()}
        self.where |= {r: (self.draft.at(v), 4) for r, v in stored.items() if r not in booleans}
        self._calls(booleans)
        for register, value in booleans.items():
            self.each.append([self.tiles.STORE_BOOL, self.draft.at(value), *self.where[register]])
        steps = [*self.once, *self.each]
        head = 3 + len(steps) * self.tiles.STEP_WORDS
        params: list[int | At] = [self.count, len(self.once), len(self.each)]
        for step in steps:
            words = [w if not isinstance(w, _Layout) else head + w.at for w in step]
            params += words + [0] * (self.tiles.STEP_WORDS - sum(2 if isinstance(w, At) else 1 for w in words))
        self.draft.known[self.scratch].shape = (self.slots * self.tiles.TILE,)
        self.draft.step(self.tiles.run_tiles.address, [*params, *self.layouts])

    def _slot(self) -> Operand:
        self.slots += 1
        return At(self.scratch, (self.slots - 1) * self.tiles.TILE * 4), 0

    def _read(self, register: int, value: int) -> None:
        """Make a value readable by a register: in place, or laid out once or for each tile."""
        known = self.draft.known[value]
        assert known.shape is not None
        if known.is_f32() and known.size == self.count and self.count > 1:
            self.where[register] = (self.draft.at(value), 4)
            return
        out, _ = self.where[register] = self._slot()
        kind = self.tiles.SPREAD if known.is_f32() else self.tiles.SPREAD_BOOL
        steps = self.once if known.size == 1 else self.each
        steps.append([kind, out, self.draft.at(value), _Layout(len(self.layouts))])
        if known.size == 1:
            self.layouts += [1, self.tiles.TILE, 0]
            return
        lengths, (strides,) = collapsed(self.shape, broadcast_strides(known.shape, self.shape))
        self.layouts += [len(lengths), *lengths, *strides]

    def _calls(self, kept: dict[int, int]) -> None:
        """Write the steps of the tape. A register's slot is free again after its last reader."""
        from bb_plugins.backends.cpu.kernels.elements import element_loop

        last = {r: at for at, (_, registers) in enumerate(self.tape.steps) for r in registers}
        free: list[Operand] = []
        held: dict[int, Operand] = {}
        for at, (name, (out, *inputs)) in enumerate(self.tape.steps):
            if out not in self.where:  # never one of the operands' slots: loops on one memory are no vector code
                self.where[out] = held[out] = free.pop() if free else self._slot()
            operands = [self.where[r] for r in (out, *inputs)]
            operands += operands[1:2] * (4 - len(operands))
            words: Words = [self.tiles.CALL, element_loop(name).address]
            for place, step in operands:
                words += [place, step]
            self.each.append(words)
            for r in {*inputs, out}:
                if r in held and last[r] == at and r not in kept:
                    free.append(held.pop(r))
