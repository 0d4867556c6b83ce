"""Registers the first-party Models, and the ops that add up what they measure."""

from __future__ import annotations

from typing import Any

import bb_core as bb
from bb_core.ops import OpSpec, Port
from bb_core.types import COMPOSITE, RECORD


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


@bb.hookimpl
def bb_register_ops(ops: Any) -> None:
    """Add Total and Summary of `bytesandbrains.metrics`."""
    for name, port, doc in (
        ("Total", Port("records", COMPOSITE), "Add up what Evaluate gave on many peers, field by field."),
        ("Summary", Port("sums", RECORD), "Say what such sums amount to: loss, accuracy, top_k, f1, mse, rmse."),
    ):
        ops.add(
            OpSpec(
                "bytesandbrains.metrics", name, 1, (port,), (Port(name.lower(), RECORD),),
                call=f"bb_plugins.models.metrics:{name.lower()}_op", doc=doc,
            )
        )  # fmt: skip
