"""What a Node takes in counts by its bytes."""

from __future__ import annotations

import bb_core as bb
from tests.support import AVERAGING, Averaging, peer

ARTEFACT = bb.Compiler().bind(AVERAGING).compile(Averaging())


def test_any_buffer_counts_by_its_bytes() -> None:
    node = bb.install(peer(0), [], ARTEFACT, ["Averaging"])
    node.receive(memoryview(bytes(800)).cast("q"), 0, source=peer(1))
    assert node.stats()["charged_bytes"] == 800
