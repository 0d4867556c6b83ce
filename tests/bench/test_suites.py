"""Every registered benchmark suite runs and fills its table; nothing here asserts a time."""

from __future__ import annotations

import pytest

from bb_core.plugins import installed_plugins
from bb_plugins.bench.commands import run_suite
from bb_plugins.bench.harness import Row

SUITES = sorted(installed_plugins().suites.modules.items())
KEYS = {"name", "ours_ns", "peer", "peer_ns", "ratio", "spread", "limit", "limit_ratio"}


def test_the_first_party_suites_are_registered() -> None:
    assert {"codec", "dispatch", "kernels", "nodes", "round"} <= {name for name, _ in SUITES}


@pytest.mark.slow
@pytest.mark.bench
@pytest.mark.parametrize(("name", "module"), SUITES)
def test_a_suite_fills_its_table(name: str, module: str) -> None:
    found = run_suite(name, module, rounds=2)
    assert found["suite"] == name
    assert found["machine"]["cpu"]
    assert found["rows"]
    for row in found["rows"]:
        assert row.keys() >= KEYS
        assert set(row) == set(Row.__dataclass_fields__)
        assert row["ours_ns"] > 0 or row["bytes"] > 0
        if row["peer"] is not None and row["bytes"] is None:
            assert row["peer_ns"] > 0
            assert row["ratio"] > 0
