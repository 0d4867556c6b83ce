"""Pass 6."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.state import State
from bb_core.errors import CrossClassDataflow, UnresolvedPeerClass
from bb_core.ir.entries import is_constant
from bb_core.ir.proto import metadata, reads, set_attribute, set_metadata, source_of, value_types
from bb_core.types import Type

_PEERS = (t.PEER_ID.denotation, t.PEER_LIST.denotation)


@dataclass(slots=True)
class _Classes:
    """What is known of each value: where it lives, and, of one that names peers, which class they belong to."""

    types: dict[str, Type]
    home: dict[str, str] = field(default_factory=dict)
    points_to: dict[str, str] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)
    made: dict[str, onnx.NodeProto] = field(default_factory=dict)

    def names_peers(self, value: str) -> bool:
        return self.types.get(value, t.ANY).denotation in _PEERS


def infer_peer_classes(model: onnx.ModelProto, state: State) -> None:
    """Find the home of every op: the class of peers on which it runs.

    An op's home is what `g.place(on=)` says, else the one home of all its inputs, else the Module's own class. What a
    Send delivers is at home in the class of its destination; a Send to `.sender` goes back where the first came from.

    Needs: one function, or a body and a bootstrap; solved types. Leaves: `home` on every op but constants; the
    destination's class and `reply` on Sends. Fails with: CrossClassDataflow, UnresolvedPeerClass.
    """
    for function in model.functions:
        classes = _Classes(value_types(function))
        for value in function.input:
            classes.home[value] = keys.OWN_CLASS
            if classes.names_peers(value):
                classes.points_to[value] = value
        for node in function.node:
            if is_constant(node):
                continue
            home = _home(node, classes, state)
            set_metadata(node, keys.HOME, home)
            for value in node.output:
                classes.home[value] = home
                classes.made[value] = node
            if (node.domain, node.op_type) == (keys.WIRE, "Send"):
                _send(node, home, classes, state)
            else:
                _points(node, classes)


def _home(node: onnx.NodeProto, classes: _Classes, state: State) -> str:
    placed = metadata(node).get(keys.PLACE)
    homes: dict[str, str] = {}
    for value in reads(node):
        if value in classes.home:
            homes.setdefault(classes.home[value], value)
    if len(homes) > 1:
        listed = "; ".join(f"{value!r} on {_title(home)}" for home, value in sorted(homes.items()))
        made = [(h, v, classes.made[v]) for h, v in sorted(homes.items()) if v in classes.made]
        state.add(
            CrossClassDataflow(
                f"{node.op_type} reads values that live on different peers: {listed}",
                where=source_of(node),
                also=[(f"{v!r} comes to live on {_title(h)} here", source_of(n)) for h, v, n in made],
                hint="send one of them with g.send(value, to=...), or give an op without inputs its place "
                "with `after=`",
            )
        )
    elif placed is not None and homes and placed not in homes:
        home, value = next(iter(homes.items()))
        state.add(
            CrossClassDataflow(
                f"{node.op_type} is placed on {_title(placed)}, and reads {value!r}, which lives on {_title(home)}",
                where=source_of(node),
                hint="send it there with g.send(value, to=...)",
            )
        )
    if placed is not None:
        return placed
    return next(iter(homes), keys.OWN_CLASS)


def _send(node: onnx.NodeProto, home: str, classes: _Classes, state: State) -> None:
    to = node.input[0]
    destination = classes.points_to.get(to)
    if destination is None:
        state.add(
            UnresolvedPeerClass(
                f"the Send goes to {to!r}, and nothing says which peers that are",
                where=source_of(node),
                hint="take the peers from a PeerSelector slot, from `.sender`, or from an input of type PEER_LIST",
            )
        )
        destination = home
    set_metadata(node, keys.DESTINATION, destination)
    sender = node.output[1]
    for value in node.output[1:]:
        classes.home[value] = destination
    classes.points_to[sender] = home
    classes.senders.add(sender)
    if to in classes.senders:
        set_attribute(node, keys.REPLY, 1)


def _points(node: onnx.NodeProto, classes: _Classes) -> None:
    """Say which class the peers are of that an op gives: the stated one, else that of the peers which it was given."""
    stated = metadata(node).get(keys.POINTS_TO)
    known = {classes.points_to[v] for v in node.input if v in classes.points_to}
    found = stated if stated is not None else next(iter(known)) if len(known) == 1 else None
    if found is None:
        return
    for value in node.output:
        if classes.names_peers(value):
            classes.points_to[value] = found
            if (node.domain, node.op_type) == (keys.SYSCALL, "Gate") and node.input[0] in classes.senders:
                classes.senders.add(value)


def _title(home: str) -> str:
    return f"class {home!r}" if home else "the Module's own class"
