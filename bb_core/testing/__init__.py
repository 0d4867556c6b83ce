"""What tests, simulations and plugin authors stand on: many Nodes in one process, in virtual time."""

from bb_core.testing.loopback import Loopback, Network, Seen

__all__ = ["Loopback", "Network", "Seen"]
