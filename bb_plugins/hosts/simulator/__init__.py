"""Thousands of the very Nodes that are deployed, in one process, in virtual time, from one seed."""

from bb_plugins.hosts.simulator.result import Second, SimulatedRound, SimulationResult
from bb_plugins.hosts.simulator.scenario import (
    Churn,
    Constant,
    Link,
    LinkRule,
    LogNormal,
    Nodes,
    Partition,
    Scenario,
    Uniform,
    read_scenario,
)
from bb_plugins.hosts.simulator.simulate import Progress, Until, simulate

__all__ = [
    "Churn",
    "Constant",
    "Link",
    "LinkRule",
    "LogNormal",
    "Nodes",
    "Partition",
    "Progress",
    "Scenario",
    "Second",
    "SimulatedRound",
    "SimulationResult",
    "Uniform",
    "Until",
    "read_scenario",
    "simulate",
]
