"""Registers what this package brings. It is imported by every `bb` command, so it imports nothing heavy."""

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add the Index."""
    registry.add("bb_hnsw.Hnsw", "bb_hnsw.index:Hnsw", role="index")


@bb.hookimpl
def bb_register_suites(suites: Any) -> None:
    """Add the benchmarks, for `bb bench hnsw`."""
    suites.add("hnsw", "bb_hnsw.bench")
