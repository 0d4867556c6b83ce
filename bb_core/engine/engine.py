"""`Engine`, the inside of a Node: components, open Frames, and the services that ops share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any
from weakref import WeakSet

import numpy as np

from bb_core.engine import receiving
from bb_core.engine.address_book import AddressBook
from bb_core.engine.answers import Promised
from bb_core.engine.bootstraps import Bootstraps
from bb_core.engine.context import OpContext
from bb_core.engine.dedup import Seen
from bb_core.engine.dispatch import Dispatcher, Frame, Handler
from bb_core.engine.gathering import Gatherings
from bb_core.engine.governor import Governor
from bb_core.engine.handlers import bind_function
from bb_core.engine.program import EntryPlan, Export, FunctionProgram, Program, Source
from bb_core.engine.receiving import Inbound
from bb_core.engine.requests import Requests
from bb_core.engine.services import Services
from bb_core.engine.timers import Timers
from bb_core.errors import BBError, DeadlinePassed, QuorumNotReached, RoleError
from bb_core.ids import ExecId, PeerId
from bb_core.ir.entries import BOOTSTRAP
from bb_core.ir.naming import bootstrap_name
from bb_core.steps import LifecycleFired, OpFailed, QuorumMissed, Step
from bb_core.values import TRIGGER
from bb_core.wire.limits import WireLimits


class Engine:
    """Runs the targets that a Node has installed. It does no IO and has no clock: `now` is set by the Node.

    Invariants:
        * `steps` holds what has happened since the last poll, in order of cause;
        * nothing that a peer or a Concrete does raises out of `run`.
    """

    def __init__(
        self,
        peer_id: PeerId,
        addresses: tuple[bytes, ...],
        program: Program,
        components: dict[str, Any],
        dependencies: dict[str, dict[str, str]],
        *,
        seed: int,
        incarnation: int,
        limits: WireLimits,
        clock: Callable[[], int] | None,
    ) -> None:
        self.peer_id = peer_id
        self.addresses = addresses
        self.program = program
        self.components = components
        self.dependencies = dependencies
        self.seed = seed
        self.limits = limits
        self.now = 0
        self.steps: list[Step] = []
        self.address_book = AddressBook()
        self.timers = Timers()
        self.requests = Requests(peer_id, incarnation, self.timers)
        self.seen = Seen()
        self.services = Services()
        self.gatherings = Gatherings()
        self.governor = Governor(seed)
        self.bootstraps = Bootstraps(self)
        self.promises: WeakSet[Promised] = WeakSet()
        self.exports: dict[int, Export] = {}
        self.answers: deque[tuple[Promised, Any, BaseException | None]] = deque()
        self.wake: Callable[[], None] | None = None
        self.dispatcher = Dispatcher(OpContext(self), self, clock)
        self._functions: dict[str, tuple[FunctionProgram, list[Handler]]] = {}
        self._sources: list[tuple[str, Source]] = []
        self._started = False
        self._frames = 0
        self._begun = 0

    def install(self, target: str) -> None:
        """Bind the ops of a target, and of its bootstrap if it has one, and export their sites."""
        for name in (target, bootstrap_name(target)):
            function = self.program.functions.get(name)
            if function is None:
                continue
            self._functions[name] = (function, bind_function(self, function))
            self._sources += [(name, source) for source in function.sources]
            self.exports.update({s: e for s, e in self.program.exports.items() if e.function == name})
            self.bootstraps.expect(target, function)

    def start(self) -> None:
        """Begin what begins by itself: bootstraps without inputs, then the timers. Done at the first poll."""
        if self._started:
            return
        self._started = True
        self.bootstraps.start()
        for target, source in self._sources:
            if source.kind == "timer":
                self._tick_at(target, source, self.now + source.period)

    def next_exec(self) -> ExecId:
        """Give out the id of the next Frame."""
        self._frames += 1
        return ExecId(self._frames)

    def handlers(self) -> Iterator[Handler]:
        """All bound ops."""
        for _, handlers in self._functions.values():
            yield from handlers

    # --- what begins Frames -------------------------------------------------------------------------------------------

    def begin_invoke(self, target: str, exec_id: ExecId, inputs: Mapping[str, Any]) -> None:
        """Begin the Frame of an invoke."""
        function, _ = self._functions[target]
        plan = function.invoke_plan(list(inputs))
        seeds = [(function.inputs[n], v) for n, v in inputs.items()]
        self._begin(target, plan, exec_id, None, self._origin(b"invoke", target), seeds)

    def begin_bootstrap(self, target: str, exec_id: ExecId, inputs: Mapping[str, Any]) -> None:
        """Begin the Frame of a target's bootstrap."""
        self.bootstraps.begin(target, exec_id, inputs)

    def run_bootstrap(self, name: str, exec_id: ExecId, inputs: Mapping[str, Any]) -> Frame:
        """Begin the Frame of a bootstrap function; `Bootstraps` watches it."""
        function, _ = self._functions[name]
        seeds = [(function.inputs[n], v) for n, v in inputs.items()]
        return self._run(name, function.entries[BOOTSTRAP], exec_id, None, self._origin(b"bootstrap", name), seeds)

    def fire(self, phase: str) -> None:
        """Begin the Frames that wait for a phase of life."""
        self.steps.append(LifecycleFired(phase))
        self._fire("lifecycle", phase)

    def publish(self, kind: str) -> None:
        """Begin the Frames that wait for a kind of event."""
        self._fire("event", kind)

    def _fire(self, kind: str, key: str) -> None:
        for target, source in self._sources:
            if source.kind == kind and source.key == key:
                self._begin_source(target, source, TRIGGER)

    def _tick_at(self, target: str, source: Source, when: int) -> None:
        def tick() -> None:
            late = (self.now - when) // source.period
            self._tick_at(target, source, when + (late + 1) * source.period)
            self._begin_source(target, source, np.asarray(when + late * source.period, np.int64))

        self.timers.set(when, tick, f"interval {source.entry} of {target}")

    def _begin_source(self, target: str, source: Source, value: Any) -> None:
        function, _ = self._functions[target]
        plan = function.entries[source.entry]
        origin = self._origin(source.entry.encode(), target)
        self._begin(target, plan, self.next_exec(), None, origin, [(source.value, value)])

    def receive(self, data: Any, source: PeerId) -> None:
        """Take in an Envelope's bytes."""
        receiving.receive(self, data, source)

    def begin_received(self, target: str, edge: str, inbound: Inbound, written: list[tuple[int, Any]]) -> None:
        """Begin the one Frame of an Envelope's values for one function."""
        function, _ = self._functions[target]
        origin = _origin(inbound.source.raw + bytes((inbound.kind,)), f"{target}/{edge}", inbound.request)
        self._begin(target, function.entries[edge], self.next_exec(), inbound, origin, written)

    def _begin(
        self,
        target: str,
        plan: EntryPlan,
        exec_id: ExecId,
        inbound: Inbound | None,
        origin: bytes,
        seeds: list[tuple[int, Any]],
    ) -> None:
        if self.bootstraps.holds(target, plan.touched):
            self.bootstraps.hold(target, plan.touched, lambda: self._run(target, plan, exec_id, inbound, origin, seeds))
        else:
            self._run(target, plan, exec_id, inbound, origin, seeds)

    def _run(
        self,
        target: str,
        plan: EntryPlan,
        exec_id: ExecId,
        inbound: Inbound | None,
        origin: bytes,
        seeds: list[tuple[int, Any]],
    ) -> Frame:
        function, handlers = self._functions[target]
        return self.dispatcher.begin(
            function.table, handlers, exec_id, inbound, origin, plan.claims, plan.exclusive_ops, seeds, plan.starts
        )

    def _origin(self, what: bytes, target: str) -> bytes:
        self._begun += 1
        return _origin(what, target, self._begun)

    # --- answers that come later --------------------------------------------------------------------------------------

    def post(self, promised: Promised, result: Any, error: BaseException | None) -> None:
        """Take in the answer of a Later, from any thread."""
        self.answers.append((promised, result, error))
        if self.wake is not None:
            self.wake()

    def arm(self, promised: Promised, when: int, title: str) -> None:
        """Set the deadline of a Later."""
        promised.timer = self.timers.set(when, lambda: self._deadline(promised, title), f"deadline of {title}")

    def _deadline(self, promised: Promised, title: str) -> None:
        if not promised.is_open or promised.frame.ended:
            return
        if promised.on_deadline is not None:
            context = self.dispatcher.context
            context.enter(promised.frame, promised.op, promised.frame.handlers[promised.op])
            try:
                promised.on_deadline(context)
            except Exception as error:  # a Concrete may raise anything
                promised.fail(error)
        if promised.is_open:
            promised.fail(DeadlinePassed(f"{title} did not answer by its deadline"))

    def take_answers(self) -> bool:
        """Write the outputs of Laters that have been answered. Returns whether there were any."""
        took = False
        while self.answers:
            promised, result, error = self.answers.popleft()
            frame, op = promised.frame, promised.op
            if promised.timer is not None:
                self.timers.cancel(promised.timer)
            if not promised.parked or frame.ended:
                continue
            took = True
            if error is None:
                self.dispatcher.answer(frame, op, result, promised.network)
            else:
                self.failed(frame, op, frame.handlers[op], error)
                self.dispatcher.abandon(frame, op, promised.network)
        return took

    # --- what the dispatcher asks for ---------------------------------------------------------------------------------

    def failed(self, frame: Frame, op: int, handler: Handler, error: BaseException) -> None:
        """Report an op that raised, or failed its Later."""
        info = handler.info
        blamed = error if isinstance(error, BBError) else _blame(info.title, error)
        target, exec_id = frame.table.name, ExecId(frame.exec_id)
        if isinstance(blamed, QuorumNotReached):
            received, cohort = blamed.fields.get("received", 0), blamed.fields.get("cohort", 0)
            self.steps.append(QuorumMissed(target, info.slot, info.source, exec_id, received, cohort, blamed))
        else:
            self.steps.append(OpFailed(target, info.op_type, info.slot, info.source, exec_id, blamed))
        for value, watched in self._functions[target][0].watches:
            if op in watched:
                frame.write_late(value, TRIGGER)
        self.bootstraps.failed(frame)


def _blame(title: str, error: BaseException) -> RoleError:
    blamed = RoleError(f"{title} raised {type(error).__name__}: {error}")
    blamed.__cause__ = error
    return blamed


def _origin(what: bytes, name: str, number: int) -> bytes:
    """Name what began a Frame, as 16 bytes; part of the key of its random numbers."""
    return blake2b(what + b"\0" + name.encode() + b"\0" + number.to_bytes(8, "big"), digest_size=16).digest()
