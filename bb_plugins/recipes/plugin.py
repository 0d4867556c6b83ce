"""Registers the recipes, and the commands that run them."""

from __future__ import annotations

from typing import Any, Final

import bb_core as bb

_USUAL: Final = {
    "cohort": "bytesandbrains.ConstantView",
    "compute": "bytesandbrains.CpuBackend",
    "aggregator": "bytesandbrains.FedAvg",
    "stop": "bytesandbrains.StopRule",
}


@bb.hookimpl
def bb_register_recipes(recipes: Any) -> None:
    """Add the recipes. FedOpt and Scaffold are federated averaging with another Aggregator."""
    module = "bb_plugins.recipes"
    averaging = f"{module}.federated_averaging:FederatedAveraging"
    recipes.add("FederatedAveraging", averaging, bindings=_USUAL)
    recipes.add("FedOpt", averaging, bindings={**_USUAL, "aggregator": "bytesandbrains.FedAdam"})
    recipes.add("Scaffold", averaging, bindings={**_USUAL, "aggregator": "bytesandbrains.Scaffold"})
    recipes.add(
        "Hierarchical",
        f"{module}.hierarchical:Hierarchical",
        bindings={
            "edges": "bytesandbrains.ConstantView",
            "members": "bytesandbrains.ConstantView",
            "compute": "bytesandbrains.CpuBackend",
            "edge_aggregator": "bytesandbrains.FedAvg",
            "aggregator": "bytesandbrains.FedAvg",
        },
    )
    recipes.add(
        "SplitLearning",
        f"{module}.split_learning:SplitLearning",
        bindings={**_USUAL, "coordinator": "bytesandbrains.ConstantView"},
    )
    recipes.add("FederatedEvaluation", f"{module}.federated_evaluation:FederatedEvaluation", bindings=_USUAL)
    recipes.add(
        "GossipAveraging", f"{module}.gossip:GossipAveraging", bindings={"peers": "bytesandbrains.ConstantView"}
    )


@bb.hookimpl
def bb_register_commands(app: Any) -> None:
    """Add `bb compare`, `bb demo`, `bb methods`, `bb run` and `bb warmup`."""
    app.later("compare", "bb_plugins.recipes.comparison:compare_command")
    app.later("demo", "bb_plugins.recipes.demo:demo")
    app.later("methods", "bb_plugins.recipes.methods:methods_command")
    app.later("run", "bb_plugins.recipes.running:run_program")
    app.later("warmup", "bb_plugins.recipes.warming:warmup")
