"""Registers the first-party Models."""

from __future__ import annotations

from typing import Any

import bb_core as bb


@bb.hookimpl
def bb_register_concretes(registry: Any) -> None:
    """Add the Models. Those of other libraries import them when one is made."""
    for name, module in (
        ("FunctionModel", "function"),
        ("GraphModel", "graph"),
        ("MLP", "mlp"),
        ("SklearnModel", "sklearn_model"),
        ("TorchModel", "torch_model"),
    ):
        registry.add(f"bytesandbrains.{name}", f"bb_plugins.models.{module}:{name}", role="model")
