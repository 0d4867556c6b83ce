"""The Node: one participant, sans-IO."""

from bb_core.node.config import NodeConfig
from bb_core.node.installing import install
from bb_core.node.node import Node, PollResult
from bb_core.node.site import read_site

__all__ = ["Node", "NodeConfig", "PollResult", "install", "read_site"]
