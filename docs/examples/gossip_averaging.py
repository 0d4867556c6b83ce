"""A mean without a server: `python docs/examples/gossip_averaging.py`, or `bb simulate` with this file."""

from typing import Any

import numpy as np

import bb_core as bb
from bb_plugins.hosts.simulator import Churn, Link, LogNormal, Nodes, Scenario, simulate
from bb_plugins.recipes.gossip import GossipAveraging

NODES = 100

# Found by this name: `bb simulate docs/examples/gossip_averaging.py:GossipAveraging --nodes 100 --until time=20s`.
bindings: dict[str, Any] = {
    "peers": "bytesandbrains.ConstantView",
    "average": bb.each("bytesandbrains.GossipMean", lambda number: {"start": float(number)}),
}

WAN = Scenario(
    name="wan",
    link=Link(latency=LogNormal("40ms", 0.5), loss=0.05),
    nodes=Nodes(start="1s"),
    churn=Churn(up="30s", down="5s"),
)


def estimates(scenario: Scenario) -> np.ndarray:
    """Let every Node begin with its own number; return what each believes the mean to be after 30 virtual seconds."""
    found = simulate(GossipAveraging(), bindings=bindings, nodes=NODES, until="time=30s", scenario=scenario, seed=7)
    return np.array([node.component("average").estimate[0] for node in found.nodes.values()])


def main() -> None:
    """Average on a good network, and on one that loses Envelopes and whose Nodes crash."""
    mean = (NODES - 1) / 2
    ideal, wan = estimates(Scenario(nodes=Nodes(start="1s"))), estimates(WAN)
    print(f"the mean is {mean}")
    print(f"ideal: {ideal.mean():.5f}, and no Node is further off than {np.abs(ideal - mean).max():.5f}")
    print(
        f"wan:   {wan.mean():.5f}, and half of the Nodes are within {np.median(np.abs(wan - wan.mean())):.5f} of that"
    )
    assert abs(ideal.mean() - mean) < 1e-3
    assert np.abs(ideal - mean).max() < 0.01
    assert abs(wan.mean() - mean) < 2
    print("gossip_averaging: ok")


if __name__ == "__main__":
    main()
