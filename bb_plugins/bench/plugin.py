"""Registers the first-party benchmark suites and `bb bench`."""

from __future__ import annotations

from typing import Any

import bb_core as bb

_SUITES = {
    "codec": "bb_plugins.bench.suites.codec",
    "compile": "bb_plugins.bench.suites.compiling",
    "dispatch": "bb_plugins.bench.suites.dispatch",
    "kernels": "bb_plugins.bench.suites.kernels",
    "nodes": "bb_plugins.bench.suites.nodes",
    "round": "bb_plugins.bench.suites.federated_round",
    "simulate": "bb_plugins.bench.suites.simulating",
}


@bb.hookimpl
def bb_register_suites(suites: Any) -> None:
    """Add the suites."""
    for name, module in _SUITES.items():
        suites.add(name, module)


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb bench`."""
    from bb_plugins.bench.commands import bench

    app.command("bench")(bench)
