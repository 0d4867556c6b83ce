"""The eight Roles: what each can be asked to do. A plugin may add a ninth."""

from bb_core.roles.aggregator import Aggregator, Contribution
from bb_core.roles.backend import Backend
from bb_core.roles.codec import Codec
from bb_core.roles.context import Book, Context, Later, State
from bb_core.roles.contract import Count, Duration, Role, abstract, op
from bb_core.roles.data_source import DataSource
from bb_core.roles.index import Index
from bb_core.roles.model import Capabilities, Model
from bb_core.roles.peer_selector import PeerSelector
from bb_core.roles.protocol import Protocol, inbound

ROLES: dict[str, type[Role]] = {
    r.role: r for r in (Backend, Model, Index, Aggregator, Codec, DataSource, PeerSelector, Protocol)
}

__all__ = [
    "ROLES",
    "Aggregator",
    "Backend",
    "Book",
    "Capabilities",
    "Codec",
    "Context",
    "Contribution",
    "Count",
    "DataSource",
    "Duration",
    "Index",
    "Later",
    "Model",
    "PeerSelector",
    "Protocol",
    "Role",
    "State",
    "abstract",
    "inbound",
    "op",
]
