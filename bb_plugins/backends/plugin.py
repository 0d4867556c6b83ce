"""Registers the first-party Backends, and the stage that gives them graphs in place of ops."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add CpuBackend and OnnxRuntimeBackend."""
    registry.add("bytesandbrains.CpuBackend", "bb_plugins.backends.cpu.backend:CpuBackend", role="backend")
    registry.add(
        "bytesandbrains.OnnxRuntimeBackend",
        "bb_plugins.backends.onnxruntime.backend:OnnxRuntimeBackend",
        role="backend",
    )


@bb.hookimpl
def bb_register_stages(stages: Any) -> None:
    """Add `bytesandbrains.subgraphs`."""
    stages.add(
        "bytesandbrains.subgraphs",
        "bb_core.compiler.subgraphs:collapse_subgraphs",
        after="insert_async_deadlines",
    )
