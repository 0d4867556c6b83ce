"""The plugin of pytest that comes with the package: fixtures for the tests of plugins and programs.

It is loaded into every run of pytest in an environment that has the package, so it imports nothing until a test asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bb_core.testing.clock import FakeClock
    from bb_core.testing.kit import CheckResult
    from bb_core.testing.loopback import Loopback


@pytest.fixture
def loopback() -> Callable[..., Loopback]:
    """Bring up a program's Nodes on a network in this process: `loopback(Module(), bindings, {"client": 3})`."""
    from bb_core.testing.bringing_up import bring_up

    return bring_up


@pytest.fixture
def check_concrete() -> Callable[..., list[CheckResult]]:
    """Hold a Concrete to its Role's promises: `check_concrete(TrimmedMean, traits={"cohort": 7})`."""
    from bb_core.testing import kit

    return kit.check_concrete


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test advances it."""
    from bb_core.testing.clock import FakeClock

    return FakeClock()


__all__ = ["check_concrete", "fake_clock", "loopback"]
