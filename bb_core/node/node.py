"""`Node`, one participant. Bytes and the time go in, Steps come out; it owns no socket, thread, clock or sleep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bb_core.engine.engine import Engine
from bb_core.engine.explaining import Waiting, explain
from bb_core.engine.program import Program
from bb_core.engine.timers import Timer
from bb_core.errors import UnknownInput, UnknownModule, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.ir.naming import bootstrap_name
from bb_core.node.config import NodeConfig
from bb_core.steps import Backpressure, BudgetSpent, Step
from bb_core.types import Type, python_class


@dataclass(frozen=True, slots=True)
class PollResult:
    """What one poll gave.

    Attributes:
        steps: What to do and what has happened, in order of cause.
        next_wakeup: Time at which to poll again; None when only input can wake the Node.
        more: Poll again now, with the same time: the budget was spent.
    """

    steps: list[Step]
    next_wakeup: int | None
    more: bool


class Node:
    """One participant. Made by `install`.

    `receive` and `invoke` only take in; call `poll(now)` after them, and when `next_wakeup` has come. While a result
    says `more`, poll again with the same now. Nothing that a peer or a Concrete does wrong raises: it becomes a Step.
    """

    def __init__(self, engine: Engine, targets: Sequence[str], config: NodeConfig) -> None:
        self._engine = engine
        self._config = config
        self.targets = tuple(targets)
        self._ingress: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._now = 0
        engine.wake = config.wake

    @property
    def peer_id(self) -> PeerId:
        """Who this Node is."""
        return self._engine.peer_id

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting to be taken in and no Frame is open."""
        return not self._ingress and not self._engine.answers and not self._engine.dispatcher.live

    def add_peer(self, peer: PeerId, addresses: Sequence[bytes] = (), *, peer_class: str = "") -> None:
        """Put a peer into the address book, or replace what was known of it."""
        self._engine.address_book.add(peer, addresses, peer_class)

    def component(self, slot: str) -> Any:
        """Return the Concrete in a slot, for the host to read what it holds."""
        components = self._engine.components
        if slot not in components:
            raise UnknownModule(f"this Node has no slot {slot!r}", hint=did_you_mean(slot, components))
        return components[slot]

    def receive(self, data: Any, now: int, *, source: PeerId, observed: bytes | None = None) -> None:
        """Take in the bytes of one Envelope.

        Args:
            data: Any buffer; it is read in the next poll and must not change.
            now: Time in nanoseconds.
            source: The peer that the transport has verified.
            observed: The address that the transport saw it at; it goes into the address book if the peer has none
            there.
        """
        self._advance(now)
        if observed is not None:
            self._engine.address_book.learn(source, (observed,))
        self._ingress.append((self._now, Engine.receive, (data, source)))

    def invoke(self, target: str, inputs: Mapping[str, Any], now: int) -> ExecId:
        """Begin one execution of a target.

        Args:
            target: A target that is installed on this Node.
            inputs: Values of its inputs by name. Ops that need one that is not given do not run.
            now: Time in nanoseconds.

        Returns:
            The id that its AppEvents carry.

        Raises:
            UnknownModule: the target is not installed here.
            UnknownInput: it has no such input, or a value is of another type.
        """
        self._advance(now)
        program: Program = self._engine.program
        if target not in self.targets:
            raise UnknownModule(f"the target {target!r} is not installed", hint=did_you_mean(target, self.targets))
        types = program.functions[target].input_types
        self._check_inputs(target, types, inputs)
        if not inputs:
            raise UnknownInput(f"{target} was invoked without an input", expected=f"at least one of {sorted(types)}")
        exec_id = self._engine.next_exec()
        self._ingress.append((self._now, Engine.begin_invoke, (target, exec_id, dict(inputs))))
        return exec_id

    def bootstrap(self, target: str, inputs: Mapping[str, Any], now: int) -> ExecId:
        """Run the bootstrap of a target: for the first time with its inputs, or anew.

        One without inputs begins by itself at the first poll. What begins a body waits until all bootstraps are done.

        Raises:
            UnknownModule: the target is not installed here, or has no bootstrap.
            UnknownInput: an input is missing, unknown or of another type.
        """
        self._advance(now)
        legal = sorted(self._engine.bootstraps.names)
        if target not in legal:
            raise UnknownModule(f"the target {target!r} has no bootstrap here", hint=did_you_mean(target, legal))
        types = self._engine.program.functions[bootstrap_name(target)].input_types
        self._check_inputs(f"the bootstrap of {target}", types, inputs)
        for name in types:
            if name not in inputs:
                raise UnknownInput(f"the bootstrap of {target} lacks its input {name!r}", expected=str(types[name]))
        exec_id = self._engine.next_exec()
        self._ingress.append((self._now, Engine.begin_bootstrap, (target, exec_id, dict(inputs))))
        return exec_id

    def fire_lifecycle(self, phase: str, now: int) -> None:
        """Begin the Frames of the ops that wait for a phase of the Node's life, such as `shutdown`."""
        self._advance(now)
        self._ingress.append((self._now, Engine.fire, (phase,)))

    def publish(self, kind: str, now: int) -> None:
        """Begin the Frames of the ops that wait for a kind of event."""
        self._advance(now)
        self._ingress.append((self._now, Engine.publish, (kind,)))

    def sent(self, peer: PeerId, ok: bool, now: int) -> None:
        """Tell whether an Envelope could be handed over; a peer that cannot be reached cools down."""
        self._advance(now)
        until = self._engine.governor.sent(peer, ok, self._now)
        if until:
            self._engine.steps.append(Backpressure(peer, until))

    def block(self, peer: PeerId) -> None:
        """Take nothing from a peer and send it nothing."""
        self._engine.governor.block(peer)

    def unblock(self, peer: PeerId) -> None:
        """Take a block back."""
        self._engine.governor.unblock(peer)

    def allow_only(self, peers: Iterable[PeerId] | None) -> None:
        """Deal with these peers alone; None: with everyone who is not blocked."""
        self._engine.governor.allow_only(peers)

    def records(self, name: str) -> list[Any]:
        """Return what the program has recorded under a name (`bb.syscalls.record`), the oldest first."""
        return list(self._engine.services.rings.get(name, ()))

    def counters(self) -> dict[str, int]:
        """Return the program's counters (`bb.syscalls.metric`), in order of name."""
        return dict(sorted(self._engine.services.counters.items()))

    def poll(self, now: int) -> PollResult:
        """Do what can be done at a time.

        Args:
            now: Nanoseconds; an earlier time than before counts as that one.
        """
        self._advance(now)
        engine, left = self._engine, self._config.op_budget
        engine.start()
        while left > 0:
            due = engine.timers.due(self._now)
            engine.take_answers()
            self._take_in(self._now if due is None else due.when)
            left -= engine.dispatcher.run(left)
            if left <= 0 or self._can_go_on(due):
                continue
            if due is None:
                break
            engine.timers.fire(due)
        more = self._can_go_on(None) or engine.timers.due(self._now) is not None
        if more:
            engine.steps.append(BudgetSpent(self._config.op_budget))
        steps, engine.steps = engine.steps, []
        timer = engine.timers.next()
        return PollResult(steps, None if timer is None else timer.when, more)

    def explain_wakeup(self) -> str:
        """Say why `next_wakeup` is what it is."""
        timer = self._engine.timers.next()
        return "only input can wake this Node" if timer is None else f"{timer.reason} at {timer.when} ns"

    def explain(self) -> list[Waiting]:
        """Say what each open Frame waits for, from whom and until when, in order of age; empty when nothing waits."""
        return explain(self._engine)

    def stats(self) -> dict[str, int]:
        """Count what the Node holds: open Frames and Laters, timers, requests, peers, and what waits to be taken in."""
        engine = self._engine
        return {
            "bootstraps_pending": len(engine.bootstraps.pending),
            "frames": len(engine.dispatcher.live),
            "held_for_bootstrap": engine.bootstraps.held,
            "ingress": len(self._ingress) + len(engine.answers),
            "laters": sum(p.parked and p.is_open for p in engine.promises),
            "peers": len(engine.address_book.peers(None)),
            "requests": len(engine.requests),
            "timers": len(engine.timers),
            "values": sum(frame.held_values() for frame in engine.dispatcher.live),
        }

    def profile(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return how often each op ran and how many nanoseconds it took in all, by (slot, op).

        Times are zero unless `NodeConfig(profile=...)` gave a clock.
        """
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for handler in self._engine.handlers():
            key = (handler.info.slot, handler.info.op_type)
            calls, spent = found.get(key, (0, 0))
            found[key] = (calls + handler.calls, spent + handler.spent_ns)
        return found

    # --- inside -------------------------------------------------------------------------------------------------------

    def _check_inputs(self, target: str, types: Mapping[str, Type], inputs: Mapping[str, Any]) -> None:
        for name, value in inputs.items():
            if name not in types:
                raise UnknownInput(f"{target} has no input {name!r}", hint=did_you_mean(name, types))
            wanted = python_class(types[name])
            if wanted is not None and not isinstance(value, wanted):
                raise UnknownInput(
                    f"the input {name!r} of {target} was given a {type(value).__name__}", expected=str(types[name])
                )

    def _advance(self, now: int) -> None:
        self._now = max(self._now, now)
        self._engine.now = self._now

    def _take_in(self, until: int) -> None:
        """Take in what arrived by a time: what came before a deadline counts, even if nobody polled between the two."""
        engine = self._engine
        while self._ingress and self._ingress[0][0] <= until:
            _, take, arguments = self._ingress.popleft()
            take(engine, *arguments)

    def _can_go_on(self, due: Timer | None) -> bool:
        """Whether there is something to do before the next timer."""
        engine = self._engine
        arrived = self._ingress and (due is None or self._ingress[0][0] <= due.when)
        return bool(arrived or engine.answers or engine.dispatcher.has_work)
