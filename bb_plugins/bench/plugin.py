"""Registers the first-party benchmark suites, `bb bench` and `bb conformance`."""

from __future__ import annotations

from typing import Any

import bb_core as bb

_SUITES = {
    "aggregate": "bb_plugins.bench.suites.aggregating",
    "codec": "bb_plugins.bench.suites.codec",
    "compile": "bb_plugins.bench.suites.compiling",
    "compress": "bb_plugins.bench.suites.compressing",
    "dispatch": "bb_plugins.bench.suites.dispatch",
    "kernels": "bb_plugins.bench.suites.kernels",
    "nodes": "bb_plugins.bench.suites.nodes",
    "ops": "bb_plugins.bench.suites.ops",
    "round": "bb_plugins.bench.suites.federated_round",
    "search": "bb_plugins.bench.suites.searching",
    "simulate": "bb_plugins.bench.suites.simulating",
    "start": "bb_plugins.bench.suites.starting",
    "train": "bb_plugins.bench.suites.training",
    "transport": "bb_plugins.bench.suites.transport",
}


@bb.hookimpl
def bb_register_suites(suites: Any) -> None:
    """Add the suites."""
    for name, module in _SUITES.items():
        suites.add(name, module)


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb bench` and `bb conformance`."""
    app.later("bench", "bb_plugins.bench.commands:bench")
    app.later("conformance", "bb_plugins.bench.conformance:conformance")
