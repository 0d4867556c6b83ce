"""What tests, simulations and plugin authors stand on.

* `Loopback`: many Nodes in one process, joined by a seeded network in virtual time;
* the conformance kit: `check_concrete` and `parametrize_checks` hold a Concrete to its Role's promises;
* `FakeClock` and `FakeContext`, to call a Concrete's methods without a Node;
* `strategies`, for hypothesis: the values that flow along edges.

Each is loaded when it is first used; pytest and hypothesis are needed by what is about them alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bb_core.testing import strategies
    from bb_core.testing.bringing_up import bring_up
    from bb_core.testing.clock import FakeClock
    from bb_core.testing.context import FakeContext, FakeLater
    from bb_core.testing.kit import CheckResult, check_concrete, checks_of, parametrize_checks
    from bb_core.testing.loopback import Loopback, Network, Seen, Surroundings
    from bb_core.testing.population import Binding, Each, Member, Population, configurations
    from bb_core.testing.traits import (
        AggregatorTraits,
        BackendTraits,
        CodecTraits,
        DataSourceTraits,
        IndexTraits,
        ModelTraits,
        PeerSelectorTraits,
        ProtocolTraits,
        Traits,
    )

_LAZY = {
    "AggregatorTraits": "traits",
    "BackendTraits": "traits",
    "Binding": "population",
    "CheckResult": "kit",
    "CodecTraits": "traits",
    "DataSourceTraits": "traits",
    "Each": "population",
    "FakeClock": "clock",
    "FakeContext": "context",
    "FakeLater": "context",
    "IndexTraits": "traits",
    "Loopback": "loopback",
    "Member": "population",
    "ModelTraits": "traits",
    "Network": "loopback",
    "PeerSelectorTraits": "traits",
    "Population": "population",
    "ProtocolTraits": "traits",
    "Seen": "loopback",
    "Surroundings": "loopback",
    "Traits": "traits",
    "bring_up": "bringing_up",
    "check_concrete": "kit",
    "checks_of": "kit",
    "configurations": "population",
    "parametrize_checks": "kit",
    "strategies": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bb_core.testing' has no attribute {name!r}")
    loaded = import_module(f"bb_core.testing.{_LAZY[name]}")
    value = loaded if name == _LAZY[name] else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "AggregatorTraits",
    "BackendTraits",
    "Binding",
    "CheckResult",
    "CodecTraits",
    "DataSourceTraits",
    "Each",
    "FakeClock",
    "FakeContext",
    "FakeLater",
    "IndexTraits",
    "Loopback",
    "Member",
    "ModelTraits",
    "Network",
    "PeerSelectorTraits",
    "Population",
    "ProtocolTraits",
    "Seen",
    "Surroundings",
    "Traits",
    "bring_up",
    "check_concrete",
    "checks_of",
    "configurations",
    "parametrize_checks",
    "strategies",
]
