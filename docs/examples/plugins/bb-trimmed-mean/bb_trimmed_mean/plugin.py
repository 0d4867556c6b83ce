"""Registers what this package brings. It is imported by every `bb` command, so it imports nothing heavy."""

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add the Aggregator."""
    registry.add("bb_trimmed_mean.TrimmedMean", "bb_trimmed_mean.aggregator:TrimmedMean", role="aggregator")


@bb.hookimpl
def bb_register_suites(suites: Any) -> None:
    """Add the benchmarks, for `bb bench trimmed_mean`."""
    suites.add("trimmed_mean", "bb_trimmed_mean.bench")
