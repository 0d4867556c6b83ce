"""`Population`: one program, and the Nodes that host it, each brought up when somebody asks for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.driver import Compiler
from bb_core.configs import is_portable
from bb_core.dsl.module import Module
from bb_core.engine.program import load_program
from bb_core.errors import UsageError, did_you_mean
from bb_core.ids import PeerId
from bb_core.ir.naming import target_of
from bb_core.ir.proto import metadata
from bb_core.node.config import NodeConfig
from bb_core.node.installing import install
from bb_core.node.node import Node
from bb_core.registry import Use, use
from bb_core.roles.contract import Role
from bb_core.values import TRIGGER


@dataclass(frozen=True, slots=True)
class Each:
    """A Concrete whose configuration differs from peer to peer."""

    concrete: type[Role] | str
    config_of: Callable[..., Any]

    def config(self, index: int, count: int) -> Any:
        """Return the configuration of a peer."""
        wants_count = len(inspect.signature(self.config_of).parameters) == 2
        return self.config_of(index, count) if wants_count else self.config_of(index)


def each(concrete: type[Role] | str, config_of: Callable[..., Any]) -> Each:
    """Bind a Concrete with a configuration of its own on each peer of a class.

    Args:
        concrete: The class, or its stable name.
        config_of: Given the peer's number in its class, from 0, and, if it takes two arguments, how many peers the
            class has, returns its configuration.
    """
    return Each(concrete, config_of)


Binding = type[Role] | str | Use | Each


@dataclass(frozen=True, slots=True)
class Member:
    """One peer of a Population.

    Attributes:
        target: The function that its Node hosts.
        peer_class: Its class; empty for the program's own.
        index: Its number within its class, from 0.
    """

    target: str
    peer_class: str
    index: int


class Population:
    """A compiled program and its peers, those of the program's own class first, then class by class.

    Args:
        module: The program.
        bindings: By slot path, a Concrete, `bb.use(Concrete, option=...)`, or `bb.each(Concrete, config_of_peer)`.
        peers: How many peers each other class has; or, as a number, how many the one other class has, and if there is
            none, how many equals there are. The own class has one Node where there are others.

    Raises:
        CompileError: the program or a binding is wrong.
        UsageError: a class is unknown, or nobody has said how many peers it has.

    Attributes:
        artefact: What was compiled.
        target: The function of the program's own class.
        peers: Who is of which class; the ids are numbered from 0.
        of_equals: Whether there is no class but the program's own.
    """

    def __init__(self, module: Module, bindings: Mapping[str, Binding], peers: Mapping[str, int] | int) -> None:
        self._bindings = bindings
        self.artefact = Compiler().bind({path: _named(b) for path, b in bindings.items()}).compile(module)
        functions = {f.peer_class: f for f in load_program(self.artefact).functions.values()}
        self._own = functions[keys.OWN_CLASS]
        self.target = self._own.name
        others = set(functions) - {keys.OWN_CLASS}
        self._counts = counts = {keys.OWN_CLASS: 1} | _counts(peers, others)
        self.of_equals = not others
        self.peers: dict[PeerId, Member] = {}
        for peer_class in sorted(functions):
            for index in range(counts[peer_class]):
                self.peers[PeerId.from_int(len(self.peers))] = Member(functions[peer_class].name, peer_class, index)

    def install(self, peer: PeerId, options: NodeConfig | None = None) -> Node:
        """Bring up the Node of a peer. It knows nobody yet."""
        member = self.peers[peer]
        config = configurations(self._bindings, member.index, self._counts[member.peer_class])
        return install(peer, [], self.artefact, [member.target], config, options)

    def selects(self, peer_class: str) -> frozenset[str]:
        """The classes of peers from which a class selects."""
        target = next(m.target for m in self.peers.values() if m.peer_class == peer_class)
        nodes = (n for f in self.artefact.functions if target_of(f.name) == target for n in f.node)
        found = (metadata(n).get(keys.POINTS_TO) for n in nodes)
        return frozenset(c for c in found if c is not None)

    def inputs(self, given: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """What the program is invoked with: what is given, or a Trigger if that is all that it needs.

        Raises:
            UsageError: it needs more.
        """
        types = self._own.input_types
        if given is not None:
            return given
        if self.is_triggered:
            return dict.fromkeys(types, TRIGGER)
        if not types:
            raise UsageError(
                f"{self.target} takes no input: it begins by itself, and has no rounds that could be played",
                hint="bb simulate runs it in virtual time, bb.testing.bring_up by hand",
            )
        listed = ", ".join(f"{n}: {x}" for n, x in types.items()) or "none"
        raise UsageError(f"{self.target} needs values for its inputs", expected=listed, hint="run(..., inputs={...})")

    @property
    def is_triggered(self) -> bool:
        """Whether a Trigger is all that it takes to begin a round."""
        types = list(self._own.input_types.values())
        return len(types) == 1 and types[0] in (t.TRIGGER, t.ANY)


def configurations(bindings: Mapping[str, Binding], index: int, count: int) -> dict[str, Any]:
    """Return what `install` is given for the `index`-th of a class's `count` peers: a configuration by slot path."""
    return {path: config for path, b in bindings.items() if (config := _config(b, index, count)) is not None}


def _named(binding: Binding) -> type[Role] | str | Use:
    """What stands in the artefact: the Concrete, and its configuration if it is one for all and holds no arrays."""
    if isinstance(binding, Each) or (isinstance(binding, Use) and not is_portable(binding.config)):
        return use(binding.concrete)
    return binding


def _config(binding: Binding, index: int, count: int) -> Any:
    if isinstance(binding, Each):
        return binding.config(index, count)
    return binding.config if isinstance(binding, Use) else None


def _counts(peers: Mapping[str, int] | int, others: set[str]) -> dict[str, int]:
    """How many peers each class has that somebody has spoken of."""
    if isinstance(peers, int):
        if len(others) > 1:
            example = dict.fromkeys(sorted(others), 20)
            raise UsageError(f"which of the classes {sorted(others)} has {peers} peers?", hint=f"peers={example}")
        peers = {next(iter(others), keys.OWN_CLASS): peers}
        others = set(peers)
    for name, count in peers.items():
        if name not in others:
            raise UsageError(f"the program has no class of peers {name!r}", hint=did_you_mean(name, others))
        if count < 1:
            raise UsageError(f"the class {name!r} has {count} peers", expected="at least 1")
    for name in sorted(others - set(peers)):
        raise UsageError(f"how many peers are of the class {name!r}?", hint=f"peers={{{name!r}: 20}}")
    return dict(peers)
