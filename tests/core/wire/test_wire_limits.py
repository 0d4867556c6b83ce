from __future__ import annotations

from dataclasses import fields

import pytest

from bb_core.errors import UsageError
from bb_core.wire.limits import WireLimits

NAMES = [field.name for field in fields(WireLimits)]


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_below_one_is_refused(name):
    assert getattr(WireLimits(**{name: 1}), name) == 1
    with pytest.raises(UsageError) as caught:
        WireLimits(**{name: 0})
    assert caught.value.fields == {"field": name}


@pytest.mark.parametrize("name", NAMES)
def test_a_small_device_accepts_no_more_than_others(name):
    assert getattr(WireLimits.edge(), name) <= getattr(WireLimits(), name)
