"""Rounds of Flower's simulation in which no client computes: `python flower_rounds.py CLIENTS ROUNDS`.

It stands alone, for Flower's dependencies and ours seldom fit in one environment: `bb bench simulate` runs it with the
interpreter that `BB_FLOWER_PYTHON` names. Prints the seconds of each round, from its configuration to its aggregation,
as JSON in the last line.
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter
from typing import Any


def main(clients: int, rounds: int) -> None:
    """Run, and print."""
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    import numpy as np
    from flwr.client import ClientApp, NumPyClient
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.simulation import run_simulation

    began: list[float] = []
    took: list[float] = []

    class Idle(NumPyClient):  # type: ignore[misc]  # flwr has no types here
        def fit(self, parameters: Any, config: Any) -> Any:
            return parameters, 1, {}

    class Timed(FedAvg):  # type: ignore[misc]
        def configure_fit(self, *arguments: Any, **named: Any) -> Any:
            began.append(perf_counter())
            return super().configure_fit(*arguments, **named)

        def aggregate_fit(self, *arguments: Any, **named: Any) -> Any:
            found = super().aggregate_fit(*arguments, **named)
            took.append(perf_counter() - began[-1])
            return found

    def server(context: Any) -> Any:
        strategy = Timed(
            fraction_fit=1.0,
            fraction_evaluate=0.0,
            min_fit_clients=clients,
            min_available_clients=clients,
            initial_parameters=ndarrays_to_parameters([np.zeros(1000, np.float32)]),
        )
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    run_simulation(
        ServerApp(server_fn=server),
        ClientApp(client_fn=lambda context: Idle().to_client()),
        num_supernodes=clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": os.cpu_count(), "include_dashboard": False, "log_to_driver": False},
        },
    )
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
