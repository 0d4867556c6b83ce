"""Each check is failed by a Concrete that is broken in that one thing, which passes all others."""

from __future__ import annotations

import pytest

from bb_core.testing import check_concrete
from bb_core.testing.checks import (
    aggregator,
    backend,
    codec,
    common,
    data_source,
    index,
    model,
    peer_selector,
    protocol,
)
from tests.core.testing.broken import BROKEN, Broken

ROLES = (aggregator, backend, codec, data_source, index, model, peer_selector, protocol)
ELSEWHERE = {
    "import_is_light": "test_kit",  # needs a module of its own
    "declares_a_protocol": "test_kit",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.check}-{b.cls.__name__}")
def test_a_broken_concrete_fails_its_check_alone(broken: Broken) -> None:
    results = check_concrete(broken.cls, traits=broken.traits, raises=False)
    assert {r.name.partition("-")[2]: r.reason for r in results if r.status == "failed"}.keys() == {broken.check}


def test_every_check_can_fail() -> None:
    checks = {c.name for module in ROLES for c in module.CHECKS} | {c.name for c in common.COMMON}
    failing = {b.check for b in BROKEN if not b.check.startswith("kernel_")}
    assert checks - failing - ELSEWHERE.keys() == set()
