"""`run`: a whole program in one process, for those who want the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.compiler.driver import Compiler
from bb_core.configs import is_portable
from bb_core.dsl.module import Module
from bb_core.engine.program import FunctionProgram, load_program
from bb_core.errors import RunFailed, UsageError, did_you_mean
from bb_core.ids import PeerId
from bb_core.node.config import NodeConfig
from bb_core.node.installing import install
from bb_core.node.node import Node
from bb_core.registry import Use, use
from bb_core.roles.contract import Role
from bb_core.steps import AppEvent, OpFailed, QuorumMissed, Step
from bb_core.testing.loopback import Loopback, Network
from bb_core.values import TRIGGER, Record


@dataclass(frozen=True, slots=True)
class Each:
    """A Concrete whose configuration differs from peer to peer."""

    concrete: type[Role] | str
    config_of: Callable[[int], Any]


def each(concrete: type[Role] | str, config_of: Callable[[int], Any]) -> Each:
    """Bind a Concrete with a configuration of its own on each peer of a class.

    Args:
        concrete: The class, or its stable name.
        config_of: Given the peer's number in its class, from 0, returns its configuration.
    """
    return Each(concrete, config_of)


Binding = type[Role] | str | Use | Each


@dataclass(slots=True)
class Round:
    """What one round gave.

    Attributes:
        number: From 1.
        outputs: The program's outputs by name; a Record as a dict.
        envelopes: Envelopes sent so far, over all rounds.
        bytes_on_wire: Their bytes.
    """

    number: int
    outputs: dict[str, Any]
    envelopes: int
    bytes_on_wire: int


@dataclass(slots=True)
class RunResult:
    """What a run gave.

    Attributes:
        metrics: The outputs of each round, in order.
        op_ns: Nanoseconds spent in each op over all Nodes, by (slot, op); zeros unless a clock was given.
        rounds_ns: Nanoseconds spent in the rounds, without set-up and without what `on_round` took.
        steps: How many Steps of each kind the Nodes gave, by class name.
        failures: The Steps that say that something went wrong.
        nodes: The Nodes by peer id; the program's own first.
        artefact: The compiled program.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    envelopes: int = 0
    bytes_on_wire: int = 0
    op_ns: dict[tuple[str, str], int] = field(default_factory=dict)
    op_calls: dict[tuple[str, str], int] = field(default_factory=dict)
    rounds_ns: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    failures: list[Step] = field(default_factory=list)
    nodes: dict[PeerId, Node] = field(default_factory=dict)
    artefact: onnx.ModelProto = field(default_factory=onnx.ModelProto, repr=False)

    @property
    def own(self) -> Node:
        """The Node on which the program was invoked."""
        return next(iter(self.nodes.values()))

    def component(self, slot: str) -> Any:
        """Return the Concrete in a slot of the program's own Node, such as the trained model."""
        return self.own.component(slot)

    def parameters(self, slot: str = "model") -> np.ndarray[Any, Any]:
        """Return the trained parameters as one flat vector."""
        return np.asarray(self.component(slot).parameters())

    def parameters_sha256(self, slot: str = "model") -> str:
        """Return a digest of the trained parameters' bytes."""
        return sha256(np.ascontiguousarray(self.parameters(slot)).tobytes()).hexdigest()

    def save(self, path: str, slot: str = "model") -> None:
        """Write the trained model to a file that other tools read."""
        self.component(slot).export(path)


def run(
    module: Module,
    *,
    bindings: Mapping[str, Binding],
    peers: Mapping[str, int],
    rounds: int = 1,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    network: Network | None = None,
    options: NodeConfig | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> RunResult:
    """Compile a program, bring up its Nodes in this process, and invoke it round by round.

    All that passes between Nodes is encoded bytes, over a network in virtual time. The Module's own class has one Node.

    Args:
        module: The program.
        bindings: By slot path, a Concrete, `bb.use(Concrete, option=...)`, or `bb.each(Concrete, config_of_peer)`.
        peers: How many peers each other class has: `{"client": 20}`.
        rounds: How often the program is invoked, each time after the last is quiet.
        seed: Of every random number in the Nodes and the network.
        inputs: What the program is invoked with; needed unless its one input is a Trigger.
        network: Latency, loss, duplication and reordering; by default one millisecond and no fault.
        options: Options of every Node; its seed is overridden by `seed`.
        on_round: Called after each round.

    Raises:
        CompileError: the program or a binding is wrong.
        RunFailed: a round gave none of the program's outputs; the failed Steps are quoted.
    """
    if rounds < 1:
        raise UsageError(f"rounds is {rounds}", expected="at least 1")
    compiler = Compiler().bind({path: _named(b) for path, b in bindings.items()})
    artefact = compiler.compile(module)
    program = load_program(artefact)
    own = program.functions[module.name]
    _check_peers(peers, {f.peer_class for f in program.functions.values()})
    given = _inputs(own, inputs)
    options = _with_seed(options or NodeConfig(), seed)
    nodes = _bring_up(artefact, list(program.functions.values()), bindings, peers, options)
    loopback = Loopback(nodes, network, seed)
    result = RunResult(nodes={n.peer_id: n for n in nodes}, artefact=artefact)
    clock = options.profile or _no_clock
    for number in range(1, rounds + 1):
        began = clock()
        loopback.invoke(nodes[0].peer_id, own.name, given)
        loopback.run_until_quiet()
        result.rounds_ns += clock() - began
        outputs = _collect(result, loopback, number)
        result.metrics.append(outputs)
        if on_round is not None:
            on_round(Round(number, outputs, loopback.envelopes, loopback.bytes_on_wire))
    result.envelopes, result.bytes_on_wire = loopback.envelopes, loopback.bytes_on_wire
    for node in nodes:
        for key, (calls, spent) in node.profile().items():
            result.op_calls[key] = result.op_calls.get(key, 0) + calls
            result.op_ns[key] = result.op_ns.get(key, 0) + spent
    return result


def _no_clock() -> int:
    return 0


def _named(binding: Binding) -> type[Role] | str | Use:
    """What stands in the artefact: the Concrete, and its configuration if it is one for all and holds no arrays."""
    if isinstance(binding, Each) or (isinstance(binding, Use) and not is_portable(binding.config)):
        return use(binding.concrete)
    return binding


def _check_peers(peers: Mapping[str, int], classes: set[str]) -> None:
    wanted = classes - {keys.OWN_CLASS}
    for name, count in peers.items():
        if name not in wanted:
            raise UsageError(f"the program has no class of peers {name!r}", hint=did_you_mean(name, wanted))
        if count < 1:
            raise UsageError(f"the class {name!r} has {count} peers", expected="at least 1")
    for name in sorted(wanted - set(peers)):
        raise UsageError(f"how many peers are of the class {name!r}?", hint=f"run(..., peers={{{name!r}: 20}})")


def _inputs(own: FunctionProgram, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if given is not None:
        return given
    if len(own.input_types) == 1:
        name, type_ = next(iter(own.input_types.items()))
        if type_ in (t.TRIGGER, t.ANY):
            return {name: TRIGGER}
    listed = ", ".join(f"{n}: {x}" for n, x in own.input_types.items()) or "none"
    raise UsageError(f"{own.name} needs values for its inputs", expected=listed, hint="run(..., inputs={...})")


def _with_seed(options: NodeConfig, seed: int) -> NodeConfig:
    return replace(options, seed=seed)


def _bring_up(
    artefact: onnx.ModelProto,
    functions: list[FunctionProgram],
    bindings: Mapping[str, Binding],
    peers: Mapping[str, int],
    options: NodeConfig,
) -> list[Node]:
    nodes: list[Node] = []
    classes: dict[PeerId, str] = {}
    for function in sorted(functions, key=lambda f: f.peer_class):
        for index in range(peers.get(function.peer_class, 1)):
            peer = PeerId.from_int(len(nodes))
            config = {p: c for p, b in bindings.items() if (c := _config(b, index)) is not None}
            nodes.append(install(peer, [], artefact, [function.name], config, options))
            classes[peer] = function.peer_class
    for peer, name in classes.items():
        nodes[0].add_peer(peer, peer_class=name) if peer != nodes[0].peer_id else None
    return nodes


def _config(binding: Binding, index: int) -> Any:
    if isinstance(binding, Each):
        return binding.config_of(index)
    return binding.config if isinstance(binding, Use) else None


def _collect(result: RunResult, loopback: Loopback, number: int) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for seen in loopback.seen:
        result.steps[type(seen.step).__name__] += 1
        if isinstance(seen.step, AppEvent) and seen.peer == result.own.peer_id:
            value = seen.step.value
            outputs[seen.step.port] = dict(value) if isinstance(value, Record) else value
        elif isinstance(seen.step, OpFailed | QuorumMissed):
            result.failures.append(seen.step)
    loopback.seen.clear()
    if not outputs:
        found = "; ".join(f"{f.where}: {f.error}" for f in result.failures[-3:])  # type: ignore[union-attr]
        raise RunFailed(f"round {number} gave no output", hint=found or "did the network lose every Envelope?")
    return outputs
