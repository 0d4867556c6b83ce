"""Frames leave nothing behind, however many there have been."""

from __future__ import annotations

import gc
import resource

import numpy as np
import pytest

import bb_core as bb
from tests.support import NumpyBackend, peer


class Negation(bb.Module):
    """One op, and one output."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("y", self.backend.neg(g, g.input("x", bb.f32["N"])))


def resident() -> int:
    """The most memory that this process has had, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(frames: int) -> tuple[bb.Node, int]:
    """Begin and end so many Frames; returns the Node, and by how much memory has grown after the first tenth."""
    node = bb.install(peer(0), [], bb.Compiler().bind({"backend": NumpyBackend}).compile(Negation()), ["Negation"])
    given = {"x": np.ones(16, np.float32)}
    most = 0
    for number in range(frames):
        if number == frames // 10:
            gc.collect()
            most = resident()
        node.invoke("Negation", given, number)
        if number % 100 == 99:
            result = node.poll(number)
            assert len(result.steps) == 100
            assert not result.more
    return node, resident() - most


@pytest.mark.parametrize("frames", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_frames_that_have_ended_leave_nothing(frames: int) -> None:
    node, grown = run(frames)
    stats = node.stats()
    assert stats == dict.fromkeys(stats, 0)
    assert node.is_idle
    assert grown < 4096
