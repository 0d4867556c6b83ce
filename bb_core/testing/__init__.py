"""What tests, simulations and plugin authors stand on: many Nodes in one process, in virtual time."""

from bb_core.testing.loopback import Loopback, Network, Seen, Surroundings
from bb_core.testing.population import Binding, Each, Member, Population

__all__ = ["Binding", "Each", "Loopback", "Member", "Network", "Population", "Seen", "Surroundings"]
