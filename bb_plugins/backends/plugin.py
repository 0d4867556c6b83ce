"""Registers the first-party Backends."""

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
