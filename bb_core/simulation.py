"""`run`: a whole program in one process, for those who want the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import onnx

from bb_core.dsl.module import Module
from bb_core.errors import RunFailed, UsageError
from bb_core.ids import PeerId
from bb_core.node.config import NodeConfig
from bb_core.node.node import Node
from bb_core.steps import AppEvent, OpFailed, QuorumMissed, Step
from bb_core.testing.loopback import Loopback, Network
from bb_core.testing.population import Binding, Each, Population, each
from bb_core.values import Record

__all__ = ["Binding", "Each", "Round", "RunResult", "each", "run"]


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
    peers: Mapping[str, int] | int,
    rounds: int = 1,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    network: Network | None = None,
    options: NodeConfig | None = None,
    on_round: Callable[[Round], bool | None] | None = None,
) -> RunResult:
    """Compile a program, bring up its Nodes in this process, and invoke it round by round.

    All that passes between Nodes is encoded bytes, over a network in virtual time. The Module's own class has one Node.
    A Node knows the peers of the classes that its part of the program selects from; the own one knows all. A program
    that repeats itself (`g.again`) is invoked once, and its rounds are told one from another by their outputs.

    Args:
        module: The program.
        bindings: By slot path, a Concrete, `bb.use(Concrete, option=...)`, or `bb.each(Concrete, config_of_peer)`.
        peers: How many peers each other class has: `{"client": 20}`; a number, if there is one such class.
        rounds: How often the program is invoked, each time after the last is quiet.
        seed: Of every random number in the Nodes and the network.
        inputs: What the program is invoked with; needed unless its one input is a Trigger.
        network: Latency, loss, duplication and reordering; by default one millisecond and no fault.
        options: Options of every Node; its seed is overridden by `seed`.
        on_round: Called after each round; what returns True ends the run.

    Raises:
        CompileError: the program or a binding is wrong.
        RunFailed: a round gave none of the program's outputs; the failed Steps are quoted.
    """
    if rounds < 1:
        raise UsageError(f"rounds is {rounds}", expected="at least 1")
    population = Population(module, bindings, peers)
    given = population.inputs(inputs)
    options = replace(options or NodeConfig(), seed=seed)
    nodes = [population.install(peer, options) for peer in population.peers]
    own = nodes[0]
    for node in nodes:
        wanted = population.selects(population.peers[node.peer_id].peer_class)
        for peer, member in population.peers.items():
            if peer != node.peer_id and (node is own or member.peer_class in wanted):
                node.add_peer(peer, peer_class=member.peer_class)
    loopback = Loopback(nodes, network, seed)
    result = RunResult(nodes={n.peer_id: n for n in nodes}, artefact=population.artefact)
    clock = options.profile or _no_clock
    for number in range(1, rounds + 1):
        began = clock()
        loopback.invoke(own.peer_id, population.target, given)
        loopback.run_until_quiet()
        result.rounds_ns += clock() - began
        ended = False
        for outputs in _collect(result, loopback, number):
            result.metrics.append(outputs)
            if on_round is not None:
                told = on_round(Round(len(result.metrics), outputs, loopback.envelopes, loopback.bytes_on_wire))
                ended = ended or told is True
        if ended:
            break
    result.envelopes, result.bytes_on_wire = loopback.envelopes, loopback.bytes_on_wire
    for node in nodes:
        for key, (calls, spent) in node.profile().items():
            result.op_calls[key] = result.op_calls.get(key, 0) + calls
            result.op_ns[key] = result.op_ns.get(key, 0) + spent
    return result


def _no_clock() -> int:
    return 0


def _collect(result: RunResult, loopback: Loopback, number: int) -> list[dict[str, Any]]:
    """The outputs since the last invoke: of one round, or of several that a program has begun by itself."""
    rounds: list[dict[str, Any]] = []
    for seen in loopback.seen:
        result.steps[type(seen.step).__name__] += 1
        if isinstance(seen.step, AppEvent) and seen.peer == result.own.peer_id:
            value, port = seen.step.value, seen.step.port
            if not rounds or port in rounds[-1]:
                rounds.append({})
            rounds[-1][port] = dict(value) if isinstance(value, Record) else value
        elif isinstance(seen.step, OpFailed | QuorumMissed):
            result.failures.append(seen.step)
    loopback.seen.clear()
    if not rounds:
        found = "; ".join(f"{f.where}: {f.error}" for f in result.failures[-3:])  # type: ignore[union-attr]
        raise RunFailed(f"round {number} gave no output", hint=found or "did the network lose every Envelope?")
    return rounds
