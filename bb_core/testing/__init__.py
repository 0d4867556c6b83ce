"""What tests, simulations and plugin authors stand on: many Nodes in one process, in virtual time."""

from bb_core.testing.loopback import Loopback, Network, Seen, Surroundings
from bb_core.testing.population import Population

__all__ = ["Loopback", "Network", "Population", "Seen", "Surroundings"]
