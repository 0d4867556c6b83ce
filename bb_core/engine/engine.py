"""`Engine`, the inside of a Node: components, open Frames, and the services that ops share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from bb_core.engine import receiving
from bb_core.engine.address_book import AddressBook
from bb_core.engine.alarms import Alarms
from bb_core.engine.answers import blame
from bb_core.engine.assembling import Assemblies
from bb_core.engine.backpressure import Overload
from bb_core.engine.bootstraps import Bootstraps
from bb_core.engine.components import ENTRY
from bb_core.engine.context import OpContext
from bb_core.engine.control import Control
from bb_core.engine.dedup import Seen
from bb_core.engine.deliveries import Deliveries
from bb_core.engine.dispatch import Dispatcher, Frame, Handler, Lane, Plan
from bb_core.engine.gathering import Gatherings
from bb_core.engine.governor import Governor
from bb_core.engine.handlers import bind_function
from bb_core.engine.laters import Laters
from bb_core.engine.outbox import Outbox
from bb_core.engine.phi import FailureDetector, Health
from bb_core.engine.program import Export, FunctionProgram, Program, Source
from bb_core.engine.rates import Rates
from bb_core.engine.receiving import Inbound
from bb_core.engine.requests import RESPONSE, Requests
from bb_core.engine.rtt import RoundTrips
from bb_core.engine.sending import send_out
from bb_core.engine.services import Services
from bb_core.engine.timers import Timer, Timers
from bb_core.errors import QuorumNotReached
from bb_core.ids import ExecId, PeerId
from bb_core.ir.entries import BOOTSTRAP
from bb_core.ir.naming import bootstrap_name, is_bootstrap
from bb_core.steps import LifecycleFired, OpFailed, PeerDown, PeerSuspect, PeerUp, QuorumMissed, Step, WireTimeout
from bb_core.values import TRIGGER
from bb_core.wire.limits import WireLimits

Route = tuple[Lane, Plan, tuple[int, ...], tuple[type | None, ...]]
"""What an invoke begins: of which function, which entry; where its values go, and of which classes they are."""


class Engine:
    """Runs the targets that a Node has installed. It does no IO and has no clock: `now` is set by the Node.

    Invariants:
        * `steps` holds what has happened since the last poll, in order of cause;
        * nothing that a peer or a Concrete does raises out of a poll.
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
        value_bytes: tuple[int, int],
        encode_value: Callable[[Any], tuple[int, Any, bool]],
        laters: int,
        clock: Callable[[], int] | None,
    ) -> None:
        self.peer_id = peer_id
        self.addresses = addresses
        self.program = program
        self.components = components
        self.dependencies = dependencies
        self.seed = seed
        self.limits = limits
        self.encode_value = encode_value
        """How values are written for other peers."""
        self.now = 0
        self.is_started = False
        self.address_book = AddressBook()
        self.timers = Timers()
        self.health = FailureDetector()
        self.round_trips = RoundTrips()
        self.overload = Overload()
        self.rates = Rates()
        self.requests = Requests(peer_id, incarnation, self.timers, self.health)
        self.seen = Seen()
        self.services = Services()
        self.gatherings = Gatherings()
        self.governor = Governor(seed)
        self.outbox = Outbox()
        self.dispatcher = Dispatcher(OpContext(self), self, clock)
        self.laters = Laters(self, laters)
        self.bootstraps = Bootstraps(self)
        self.deliveries = Deliveries(self)
        self.assemblies = Assemblies(self, *value_bytes)
        self.alarms = Alarms(self)
        self.control = Control(self)
        self.exports: dict[int, Export] = {}
        self.functions: dict[str, tuple[FunctionProgram, Lane]] = {}
        self._sources: list[tuple[str, Source]] = []
        self._fire: dict[str, Callable[[Any], None]] = {
            "interval": self._tick,
            "later": self.laters.deadline,
            "request": self._request_due,
            "delivery": self.deliveries.due,
            "assembly": self.assemblies.due,
            "component": self.alarms.due,
        }

    @property
    def steps(self) -> list[Step]:
        """What has happened since the last poll."""
        return self.dispatcher.steps

    def install(self, target: str) -> None:
        """Bind the ops of a target, and of its bootstrap if it has one, and export their sites."""
        for name in (target, bootstrap_name(target)):
            function = self.program.functions.get(name)
            if function is None:
                continue
            lane = Lane(function.table, bind_function(self, function), is_bootstrap(name))
            self.functions[name] = (function, lane)
            self._sources += [(name, source) for source in function.sources]
            self.exports.update({s: e for s, e in self.program.exports.items() if e.function == name})
            self.bootstraps.expect(target, function)

    def start(self) -> None:
        """Begin what begins by itself: bootstraps without inputs, then the timers. Done at the first poll."""
        self.is_started = True
        self.bootstraps.start()
        for target, source in self._sources:
            if source.kind == "timer":
                self._tick_at(target, source, self.now + source.period)

    def next_exec(self) -> ExecId:
        """Give out the id of the next Frame."""
        self.dispatcher.frames += 1
        return ExecId(self.dispatcher.frames)

    def handlers(self) -> Iterator[Handler]:
        """All bound ops."""
        for _, lane in self.functions.values():
            yield from lane.handlers

    # --- what begins Frames -------------------------------------------------------------------------------------------

    def route(self, target: str, key: tuple[str, ...]) -> Route:
        """Find what an invoke with some inputs begins; `key` is the target and the names of the inputs."""
        function, lane = self.functions[target]
        found = function.invocation(key)
        route = self.dispatcher.routes[key] = (lane, found.plan, found.indices, found.classes)
        return route

    def admits(self, target: str, touched: frozenset[str]) -> bool:
        """Say whether a Frame may begin while bootstraps run; else it is held back or dropped, with a Step."""
        return self.bootstraps.admits(target, touched)

    def again(self, target: str, port: str, value: Any) -> None:
        """Begin a Frame of a target on one of its inputs, as an invoke would."""
        self.dispatcher.begin_invoke(target, (target, port), self.next_exec(), (value,))

    def run_bootstrap(self, name: str, exec_id: ExecId, inputs: Mapping[str, Any]) -> Frame:
        """Begin the Frame of a bootstrap function; `Bootstraps` watches it."""
        function, lane = self.functions[name]
        values, origin = [function.inputs[n] for n in inputs], self._origin(b"bootstrap", name)
        return self.dispatcher.begin(
            lane, function.entries[BOOTSTRAP], exec_id, None, origin, values, list(inputs.values())
        )

    def fire_lifecycle(self, phase: str) -> None:
        """Begin the Frames that wait for a phase of life."""
        self.steps.append(LifecycleFired(phase))
        self._begin_sources("lifecycle", phase)

    def publish(self, kind: str) -> None:
        """Begin the Frames that wait for a kind of event."""
        self._begin_sources("event", kind)

    def _begin_sources(self, kind: str, key: str) -> None:
        for target, source in self._sources:
            if source.kind == kind and source.key == key:
                self._begin_source(target, source, TRIGGER)

    def _begin_source(self, target: str, source: Source, value: Any) -> None:
        function, _ = self.functions[target]
        origin = self._origin(source.entry.encode(), target)
        self._begin(target, function.entries[source.entry], self.next_exec(), None, origin, [source.value], [value])

    def begin_received(
        self,
        target: str,
        edge: str,
        inbound: Inbound,
        values: Sequence[int],
        items: Sequence[Any],
        charge: int,
        assembled: int = 0,
    ) -> bool:
        """Begin the one Frame of a Send's values for one function, if there is room for it.

        Args:
            target: The function.
            edge: The Send.
            inbound: What brought the values.
            values: Where they go.
            items: What they are.
            charge: Bytes of the Envelope, which the Frame holds.
            assembled: Bytes of values that came in chunks, likewise.
        """
        function, _ = self.functions[target]
        origin = (_asked_by(inbound), f"{target}/{edge}", inbound.request)
        frame = self._begin(target, function.entries[edge], self.next_exec(), inbound, origin, values, items)
        if frame is None:
            return False
        self.dispatcher.hold(frame, inbound.source, charge, assembled)
        return True

    def begin_component(self, name: str, inbound: Inbound | None, items: Sequence[Any], charge: int = 0) -> bool:
        """Begin the Frame of what a peer or a timer calls on a component, if there is room for it.

        Args:
            name: Of the component's function.
            inbound: What brought it; None: a timer.
            items: What its method is given.
            charge: Bytes of the Envelope, which the Frame holds.
        """
        plan = self.functions[name][0].entries[ENTRY]
        if inbound is None or not inbound.request:  # nothing tells one such message from another
            origin = self._origin(b"component" if inbound is None else inbound.source.raw, name)
        else:
            origin = (_asked_by(inbound), name, inbound.request)
        frame = self._begin(name, plan, self.next_exec(), inbound, origin, range(len(items)), items)
        if frame is None:
            return False
        if inbound is not None:
            self.dispatcher.hold(frame, inbound.source, charge, 0)
        return True

    def _begin(
        self,
        target: str,
        plan: Plan,
        exec_id: ExecId,
        inbound: Inbound | None,
        origin: tuple[Any, ...],
        values: Sequence[int],
        items: Sequence[Any],
    ) -> Frame | None:
        if self.dispatcher.gate is not None and not self.admits(target, plan.touched):
            return None
        return self.dispatcher.begin(self.functions[target][1], plan, exec_id, inbound, origin, values, items)

    def _origin(self, what: bytes, target: str) -> tuple[Any, ...]:
        self.dispatcher.origins += 1
        return (what, target, self.dispatcher.origins)

    def receive(self, data: Any, source: PeerId) -> None:
        """Take in an Envelope's bytes."""
        receiving.receive(self, data, source)

    def cancel(self, exec_id: int) -> None:
        """End a Frame: what is ready in it never runs, and what answers its Laters is not heard. None is no error."""
        frame = self.dispatcher.live.get(exec_id)
        if frame is not None:
            self.bootstraps.failed(frame)
            self.laters.cancel(frame)
            self.dispatcher.cancel(frame)

    # --- timers -------------------------------------------------------------------------------------------------------

    def fire(self, timer: Timer) -> None:
        """Do what a timer is for."""
        self.timers.take(timer)
        self._fire[timer.kind](timer.key)

    def _tick_at(self, target: str, source: Source, when: int) -> None:
        self.timers.set(when, "interval", (target, source.entry, when), f"interval {source.entry} of {target}")

    def _tick(self, key: tuple[str, str, int]) -> None:
        target, entry, when = key
        source = next(s for t, s in self._sources if t == target and s.entry == entry)
        late = (self.now - when) // source.period
        self._tick_at(target, source, when + (late + 1) * source.period)
        self._begin_source(target, source, np.asarray(when + late * source.period, np.int64))

    def _request_due(self, number: int) -> None:
        """End a request at its delivery deadline; while its Frame waits for peers, look again each time as long."""
        request = self.requests.find(number)
        if request is None:
            return
        if request.frame.on_network:
            self.requests.watch(request, self.now)
        else:
            self.requests.close(number, self.now)
            self.steps.append(WireTimeout(number, tuple(sorted(request.peers))))

    # --- peers --------------------------------------------------------------------------------------------------------

    def heard(self, source: PeerId, kind: int, request: int) -> None:
        """Take in that a peer has sent something legal, and how long it took if that answers a request."""
        self.health.heard(source, self.now)
        if kind == RESPONSE:
            self.deliveries.answered(source, request)
            elapsed = self.requests.answered(request, source, self.now)
            if elapsed is not None:
                self.round_trips.sample(source, elapsed)

    def judge(self) -> None:
        """Add a Step for each peer that has become suspect, counts as down, or was heard again."""
        for peer, health in self.health.changes(self.now):
            self.steps.append(_JUDGED[health](peer))

    # --- what the dispatcher asks for ---------------------------------------------------------------------------------

    def failed(self, frame: Frame, op: int, handler: Handler, error: BaseException) -> None:
        """Report an op that raised, or failed its Later; what watches for its failure runs."""
        self.report(frame, handler, error)
        self.laters.drop()
        for value, watched in self.functions[frame.table.name][0].watches:
            if op in watched:
                frame.write_late(value, TRIGGER)
        self.forsake(frame, op)
        self.bootstraps.failed(frame)

    def send_out(self, frame: Frame) -> None:
        """Send the answers of a Frame in which nothing is ready, those to one peer in one Envelope."""
        held, frame.outgoing = frame.outgoing, None
        send_out(self, held or ())

    def forsake(self, frame: Frame, op: int) -> None:
        """Say of the ops that never run, since one has ended without outputs, that they are over: others may wait."""
        function, tokens = self.functions[frame.table.name][0], frame.table.tokens
        if function.needed_by:
            lacking = [value for value in function.outputs(op) if not frame.holds(value)]
            for never in function.never_run(lacking):
                if tokens[never] >= 0:
                    frame.write_late(tokens[never], TRIGGER)

    def report(self, frame: Frame, handler: Handler, error: BaseException) -> None:
        """Add the Step of a failure."""
        info = handler.info
        blamed = blame(info.title, error)
        target, exec_id = frame.table.name, ExecId(frame.exec_id)
        if self.dispatcher.observer is not None:
            self.dispatcher.observer.op_failed(frame, handler, blamed)
        if isinstance(blamed, QuorumNotReached):
            received, cohort = blamed.fields.get("received", 0), blamed.fields.get("cohort", 0)
            self.steps.append(QuorumMissed(target, info.slot, info.source, exec_id, received, cohort, blamed))
        else:
            self.steps.append(OpFailed(target, info.op_type, info.slot, info.role, info.source, exec_id, blamed))


def _asked_by(inbound: Inbound) -> bytes:
    """Name who has sent what began a Frame, and of which kind it was; a peer may send any number as that."""
    return inbound.source.raw + bytes((inbound.kind & 0xFF,))


_JUDGED: Final[Mapping[Health, type[PeerUp | PeerSuspect | PeerDown]]] = {
    Health.UP: PeerUp,
    Health.SUSPECT: PeerSuspect,
    Health.DOWN: PeerDown,
}
