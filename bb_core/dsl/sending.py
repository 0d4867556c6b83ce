"""`g.send`, `g.reply` and `g.gather`: what goes to other peers and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bb_core import keys
from bb_core import types as t
from bb_core.dsl.names import check_name
from bb_core.dsl.output import Gathered, Output, Received, ReceivedParts
from bb_core.dsl.source import caller_line
from bb_core.errors import IllegalValue, MissingInput, TypeMismatch, UnknownPort, did_you_mean
from bb_core.ops.wire import DELIVERED, GATHER, SEND

if TYPE_CHECKING:
    from bb_core.dsl.graph import After, Graph

GATES: Final = (keys.GATE_BACKOFF, keys.GATE_PEER_HEALTH)
"""Gates that an author may ask for."""
ACK_DEADLINE: Final = "30s"


@dataclass(frozen=True, slots=True)
class Sent:
    """What a Graph remembers of a Send, for the answers to it."""

    to: Output
    request: Output


def send(
    g: Graph,
    value: Output | Sequence[Output],
    to: Output,
    name: str | None,
    after: After,
    gates: Sequence[str],
    *,
    ack: bool,
    deadline: str | int | None,
) -> Any:
    """Record a Send; see `Graph.send`."""
    values = [g.check(v) for v in ((value,) if not isinstance(value, tuple | list) else value)]
    if not values:
        raise MissingInput("there is nothing to send", where=caller_line(), expected="one value, or a tuple of them")
    g.check(to)
    if not (t.PEER_LIST.accepts(to.type) or t.PEER_ID.accepts(to.type)):
        raise TypeMismatch(
            f"`to=` is {to.port!r} of type {to.type}", where=caller_line(), expected="a peer or a list of peers"
        )
    for gate in gates:
        if gate not in GATES:
            raise UnknownPort(f"there is no gate {gate!r}", where=caller_line(), hint=did_you_mean(gate, GATES))
    if name is not None:
        check_name("edge", name)
    edge = g.edge_name(values[0].port) if name is None else g.claim_edge(name)
    ports = _port_names(edge, [v.port for v in values])
    node = g.node_name(SEND.name)
    request = g.new_value(node, "request", t.REQUEST_ID, f"{edge}.request")
    sender = g.new_value(node, "sender", t.PEER_ID, f"{edge}.sender")
    received = [g.new_value(node, f"received{i}", v.type, v.port) for i, v in enumerate(values)]
    attributes: dict[str, Any] = {keys.COUNT: len(values), keys.PORTS: tuple(ports), keys.EDGE: edge}
    if gates:
        attributes[keys.ASKED] = tuple(gates)
    if deadline is not None and not ack:
        raise IllegalValue(
            "a Send that nobody confirms has no deadline",
            where=caller_line(),
            hint="write ack=True, or a deadline for what waits for the answers",
        )
    if ack:
        attributes[keys.ACK] = _patience(ACK_DEADLINE if deadline is None else deadline)
    g.push(
        SEND.domain,
        SEND.name,
        [to.name, *(v.name for v in values)],
        [request.name, sender.name, *(v.name for v in received)],
        node,
        attributes=attributes,
        after=after,
    )
    g.asked[sender.name] = Sent(to, request)
    delivered = _delivered(g, edge, request) if ack else None
    parts = ReceivedParts(_received(v, sender, request, delivered) for v in received)
    return parts if isinstance(value, tuple | list) else parts[0]


def gather(
    g: Graph,
    received: Received | Sequence[Output],
    peers: Output | None,
    request: Output | None,
    *,
    n: int | None,
    minimum: int,
    deadline: str | int | None,
    after: After,
) -> Any:
    """Record a Gather; see `Graph.gather`."""
    values = [g.check(v) for v in ((received,) if not isinstance(received, tuple | list) else received)]
    if not values:
        raise MissingInput("there is nothing to gather", where=caller_line(), expected="what g.send returned")
    if peers is None or request is None:
        asked = _asked(g, values[0])
        if asked is None:
            raise MissingInput(
                f"{values[0].port!r} is not known to be an answer, so nobody can say which request it belongs to",
                where=caller_line(),
                expected="what g.send(..., to=received.sender) returned in this Module",
                hint="name both: g.gather(value, peers=clients, request=received.request)",
            )
        peers, request = peers or asked.to, request or asked.request
    node = g.node_name(GATHER.name)
    senders = g.new_value(node, "senders", t.PEER_LIST, f"{values[0].port}.senders")
    lists = tuple(g.new_value(node, f"values{i}", t.COMPOSITE, f"{v.port}.all") for i, v in enumerate(values))
    given = {"n": n or 0, "minimum": minimum, "deadline": 0 if deadline is None else deadline}
    g.push(
        GATHER.domain,
        GATHER.name,
        [g.check(peers).name, g.check(request).name, *(v.name for v in values)],
        [senders.name, *(v.name for v in lists)],
        node,
        attributes=g.attributes(GATHER, given),
        after=after,
    )
    gathered = tuple(Gathered(v.graph, v.name, v.type, v.source, v.port, senders) for v in lists)
    return gathered if isinstance(received, tuple | list) else gathered[0]


def _delivered(g: Graph, edge: str, request: Output) -> Output:
    """Record what waits for the receipts of a Send. It needs no deadline: a delivery ends by itself."""
    node = g.node_name(DELIVERED.name)
    done = g.new_value(node, "done", t.TRIGGER, f"{edge}.delivered")
    g.push(DELIVERED.domain, DELIVERED.name, [request.name], [done.name], node)
    return done


def _patience(deadline: str | int) -> int:
    wait = t.parse_duration(deadline)
    if wait < 1:
        raise IllegalValue(
            "a Send has no time to be confirmed in", where=caller_line(), expected="a deadline above zero"
        )
    return wait


def _received(value: Output, sender: Output, request: Output, delivered: Output | None) -> Received:
    return Received(value.graph, value.name, value.type, value.source, value.port, sender, request, delivered)


def _asked(g: Graph, value: Output) -> Sent | None:
    """The Send that a received value answers."""
    if not isinstance(value, Received):
        return None
    answer = g.asked.get(value.sender.name)
    return g.asked.get(answer.to.name) if answer is not None else None


def _port_names(edge: str, wanted: Sequence[str]) -> list[str]:
    """Name what travels together: the first after the edge, the others after it and themselves.

    A site is the hash of function and port, so no two ports of a program may be alike; edges are not.
    """
    names = [edge]
    for name in wanted[1:]:
        free, n = f"{edge}/{name}", 2
        while free in names:
            free, n = f"{edge}/{name}_{n}", n + 1
        names.append(free)
    return names
