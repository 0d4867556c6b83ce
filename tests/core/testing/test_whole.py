"""Whole Concretes keep every promise, and each of a Role's checks really runs on them."""

from __future__ import annotations

import pytest

from bb_core.testing import check_concrete
from tests.core.testing.whole import WHOLE


@pytest.mark.parametrize("concrete", WHOLE, ids=lambda c: c.__name__)
def test_a_whole_concrete_passes(concrete: type) -> None:
    results = check_concrete(concrete, traits=WHOLE[concrete])
    skipped = {r.name.partition("-")[2]: r.reason for r in results if r.status == "skipped"}
    assert skipped == {}
    assert {r.status for r in results} == {"passed"}
