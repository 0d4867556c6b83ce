"""`Node`, one participant. Bytes and the time go in, Steps come out; it owns no socket, thread, clock or sleep."""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from msgspec import Struct

from bb_core.engine.backpressure import Action, Cause
from bb_core.engine.bootstraps import BootstrapStatus
from bb_core.engine.engine import Engine
from bb_core.engine.explaining import Waiting, explain
from bb_core.engine.observing import Observer, Watch
from bb_core.engine.timers import Timer
from bb_core.errors import IngressFull, UnknownInput, UnknownModule, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.ir.naming import bootstrap_name
from bb_core.node.config import NodeConfig
from bb_core.node.inputs import TAKE, Input
from bb_core.node.recording import Recorder
from bb_core.node.snapshots import restored, snapshot
from bb_core.steps import BudgetSpent, Step
from bb_core.types import Type, python_class
from bb_core.wire.address import Address, address_bytes

_NDARRAY: Final = np.ndarray
_AT_ONCE: Final = frozenset({"add_peer", "drop_peer", "block", "unblock", "allow_only"})
"""Inputs that change no Frame, and are not kept for the next poll."""


class PollResult(Struct, frozen=True, gc=False):
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

    What comes from outside (`receive`, `invoke`, `sent`, ...) is only taken in; call `poll(now)` after it, and when
    `next_wakeup` has come. While a result says `more`, poll again with the same now. Nothing that a peer or a Concrete
    does wrong raises: it becomes a Step.

    A Node belongs to one thread. From others, only the Laters of its ops may be answered.
    """

    def __init__(self, make_engine: Callable[[], Engine], targets: Sequence[str], config: NodeConfig) -> None:
        self._make_engine = make_engine
        self._config = config
        self._most_ingress = config.ingress
        self.targets = tuple(targets)
        self._now = 0
        self._observers: tuple[Observer, ...] = ()
        self._recorder: Recorder | None = None
        self._classes: dict[tuple[str, ...], tuple[type | None, ...]] = {}
        """Of the values of an invoke: by target and names of inputs."""
        self._ingress: deque[Input] = deque()
        self._ingress_bytes = 0
        self._take_up(make_engine())

    def _take_up(self, engine: Engine) -> None:
        self._engine = engine
        self._dispatcher = engine.dispatcher
        self._timers = engine.timers
        self._laters = engine.laters
        self._health = engine.health
        self._laters.wake = self._config.wake
        self._watch()

    @property
    def peer_id(self) -> PeerId:
        """Who this Node is."""
        return self._engine.peer_id

    @property
    def now(self) -> int:
        """The latest time that it was told, in nanoseconds."""
        return self._now

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting to be taken in and no Frame is open."""
        return not self._ingress and not self._engine.laters.posted and not self._dispatcher.live

    def component(self, slot: str) -> Any:
        """Return the Concrete in a slot, for the host to read what it holds."""
        components = self._engine.components
        if slot not in components:
            raise UnknownModule(f"this Node has no slot {slot!r}", hint=did_you_mean(slot, components))
        return components[slot]

    # --- what comes from outside --------------------------------------------------------------------------------------

    def receive(self, data: Any, now: int, *, source: PeerId, observed: Address | str | bytes | None = None) -> None:
        """Take in the bytes of one Envelope. When too much waits already, they are dropped with a Step.

        From three quarters of that on, who sends is asked to wait. A peer that was asked three times and sends on is
        not heard until less than half is left, or for half a minute; what it sends meanwhile gives no Step.

        Args:
            data: Any buffer; it is read in the next poll and must not change.
            now: Time in nanoseconds.
            source: The peer that the transport has verified.
            observed: The address that the transport saw it at; it goes into the address book.

        Raises:
            AddressError: `observed` is none.
        """
        seen_at = None if observed is None else _observed(observed)
        waiting = self._ingress_bytes + self._dispatcher.charged
        if len(self._ingress) >= self._config.ingress or waiting + len(data) > self._config.ingress_bytes:
            self._put("drop", now, (source, "the Node has too much to take in"))
            return
        if self._admits(source, waiting + len(data), max(now, self._now)):
            self._ingress_bytes += len(data)
            self._put("receive", now, (data, source, seen_at))

    def _admits(self, source: PeerId, held: int, now: int) -> bool:
        """Whether a peer is heard, while so many bytes are held with what it has sent; it may be told to wait."""
        cause, load, capacity = Cause.QUEUE, len(self._ingress) + 1, self._config.ingress
        if held * capacity > load * self._config.ingress_bytes:
            cause, load, capacity = Cause.BYTES, held, self._config.ingress_bytes
        verdict = self._engine.overload.observe(source, load, capacity, now)
        if verdict.action is Action.NOTIFY:
            self._put("notify", now, (source, verdict.min_backoff_ns, cause.value))
        return verdict.is_admitted

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
            IngressFull: too much waits to be taken in; poll first.
        """
        key = (target, *inputs)
        classes = self._classes.get(key)
        if classes is None:
            classes = self._find(target, inputs)
        values = list(inputs.values())
        for i, value in enumerate(values):
            kind = type(value)
            if kind is not classes[i] and classes[i] is not None:
                self._check_inputs(target, self._engine.program.functions[target].input_types, inputs)
            if kind is _NDARRAY and value.flags.writeable:
                values[i] = _read_only(value)
        if len(self._ingress) >= self._most_ingress:
            raise IngressFull(f"{len(self._ingress)} inputs wait", hint="poll first, or raise NodeConfig.ingress")
        engine = self._engine
        engine.frames += 1  # as next_exec and _put, without two calls
        exec_id = ExecId(engine.frames)
        if now > self._now:
            engine.now = self._now = now
        self._ingress.append((self._now, "invoke", (target, key, exec_id, values)))
        if self._recorder is not None:
            self._recorder.taken_in(self._ingress[-1])
        return exec_id

    def bootstrap(self, target: str, inputs: Mapping[str, Any], now: int) -> ExecId:
        """Run the bootstrap of a target: for the first time with its inputs, or anew.

        One without inputs begins by itself at the first poll. What a bootstrap prepares cannot be used until it is
        done: ops of bodies that touch it wait.

        Raises:
            UnknownModule: the target is not installed here, or has no bootstrap.
            UnknownInput: an input is missing, unknown or of another type.
        """
        types = self._engine.program.functions[bootstrap_name(self._bootstrapped(target))].input_types
        self._check_inputs(f"the bootstrap of {target}", types, inputs)
        for name in types:
            if name not in inputs:
                raise UnknownInput(f"the bootstrap of {target} lacks its input {name!r}", expected=str(types[name]))
        exec_id = self._engine.next_exec()
        self._put("bootstrap", now, (target, exec_id, dict(inputs)))
        return exec_id

    def bootstrap_status(self, target: str) -> BootstrapStatus:
        """Say where a target's bootstrap stands.

        Raises:
            UnknownModule: the target is not installed here, or has no bootstrap.
        """
        return self._engine.bootstraps.status(self._bootstrapped(target))

    def _bootstrapped(self, target: str) -> str:
        legal = sorted(self._engine.bootstraps.names)
        if target not in legal:
            raise UnknownModule(f"the target {target!r} has no bootstrap here", hint=did_you_mean(target, legal))
        return target

    def fire_lifecycle(self, phase: str, now: int) -> None:
        """Begin the Frames of the ops that wait for a phase of the Node's life, such as `shutdown`."""
        self._put("lifecycle", now, (phase,))

    def publish(self, kind: str, now: int) -> None:
        """Begin the Frames of the ops that wait for a kind of event."""
        self._put("publish", now, (kind,))

    def cancel(self, exec_id: ExecId, now: int) -> None:
        """End an execution: what is ready in it never runs, and nobody waits for its Laters. Too late is no error."""
        self._put("cancel", now, (exec_id,))

    def sent(self, step_id: int, ok: bool, now: int, *, address: bytes = b"") -> None:
        """Tell what became of a SendEnvelope: it was handed over, or could not be. A peer out of reach cools down.

        Args:
            step_id: That of the Step.
            ok: Whether the transport has handed it over; False when none of the Step's addresses could be reached.
            now: Time in nanoseconds.
            address: The one of the Step's addresses that worked; empty: the first.
        """
        self._put("sent", now, (step_id, ok, address))

    def add_peer(self, peer: PeerId, addresses: Sequence[Address | str | bytes] = (), *, peer_class: str = "") -> None:
        """Put a peer into the address book, or replace what was known of it.

        Args:
            peer: Who it is.
            addresses: Where to reach it, the preferred first, such as `/dns/example.org/tcp/4001/tls`.
            peer_class: The class that PeerSelectors find it by.

        Raises:
            AddressError: an address is none.
        """
        self._do("add_peer", (peer, tuple(map(address_bytes, addresses)), peer_class))

    def drop_peer(self, peer: PeerId) -> None:
        """Forget a peer and its addresses; of an unknown one, nothing changes."""
        self._do("drop_peer", (peer,))

    def block(self, peer: PeerId) -> None:
        """Take nothing from a peer and send it nothing."""
        self._do("block", (peer,))

    def unblock(self, peer: PeerId) -> None:
        """Take a block back."""
        self._do("unblock", (peer,))

    def allow_only(self, peers: Iterable[PeerId] | None) -> None:
        """Deal with these peers alone; None: with everyone who is not blocked."""
        self._do("allow_only", (None if peers is None else tuple(sorted(peers)),))

    def _put(self, kind: str, now: int, arguments: tuple[Any, ...]) -> None:
        """Keep an input for the next poll."""
        if now > self._now:
            self._engine.now = self._now = now
        taken_in = (self._now, kind, arguments)
        self._ingress.append(taken_in)
        if self._recorder is not None:
            self._recorder.taken_in(taken_in)

    def _replay_input(self, now: int, kind: str, arguments: tuple[Any, ...]) -> None:
        """Take in what a recording holds; ids of Frames and what was dropped stand there."""
        if kind in _AT_ONCE:
            self._do(kind, arguments)
            return
        if kind == "receive":
            self._ingress_bytes += len(arguments[0])
        if kind in ("invoke", "bootstrap"):
            self._engine.next_exec()
        self._put(kind, now, arguments)

    def _do(self, kind: str, arguments: tuple[Any, ...]) -> None:
        """Apply an input that changes no Frame at once."""
        if self._recorder is not None:
            self._recorder.taken_in((self._now, kind, arguments))
        TAKE[kind](self._engine, *arguments)

    # --- polling ------------------------------------------------------------------------------------------------------

    def poll(self, now: int) -> PollResult:  # noqa: C901  # runs for every Envelope: each phase as a method costs a call
        """Do what can be done at a time.

        Args:
            now: Nanoseconds; an earlier time than before counts as that one.
        """
        engine, dispatcher, timers, ingress = self._engine, self._dispatcher, self._timers, self._ingress
        if now > self._now:
            self._now = engine.now = now
        else:
            now = self._now
        if self._laters.posted or not engine.is_started:
            self._wake_up()
        due = timers.due(now) if timers.heap else None
        if due is None and not ingress and not dispatcher.has_work:
            if dispatcher.steps or self._is_watched or self._health.heap or self._health.recovered:
                return self._result(False)
            timer = timers.next() if timers.heap else None
            return PollResult([], None if timer is None else timer.when, False)
        laters = self._laters
        laters.thread = get_ident()
        left = self._config.op_budget
        while True:
            while ingress and (due is None or ingress[0][0] <= due.when):  # what came before a deadline counts
                _, kind, arguments = ingress.popleft()
                if kind == "receive":
                    self._ingress_bytes -= len(arguments[0])
                TAKE[kind](engine, *arguments)
            if dispatcher.has_work:
                left -= dispatcher.run(left)
            if left <= 0:
                break
            if ingress and (due is None or ingress[0][0] <= due.when):
                continue
            if timers.heap:
                due = timers.due(now)  # an op may have set one, or cancelled this one
            if due is None:
                break
            engine.fire(due)
            left -= 1
            due = timers.due(now)
        laters.leave()
        return self._result(bool(left <= 0 and (dispatcher.has_work or ingress or (timers.heap and timers.due(now)))))

    def _result(self, more: bool) -> PollResult:
        dispatcher, health = self._dispatcher, self._health
        if health.heap or health.recovered:
            self._engine.judge()
        steps = dispatcher.steps
        if more:
            steps.append(BudgetSpent(self._config.op_budget))
        dispatcher.steps = []
        if dispatcher.observer is not None:
            dispatcher.observer.polled(self._now, steps)
        if self._recorder is not None:
            self._recorder.polled(self._now, steps)
        timers = self._engine.timers
        timer = timers.next() if timers.heap else None
        wakeup = None if timer is None else timer.when
        if health.heap:
            change = health.next_change(self._now)
            wakeup = change if wakeup is None or (change is not None and change < wakeup) else wakeup
        return PollResult(steps, wakeup, more)

    def _wake_up(self) -> None:
        """Begin the first poll, and take in what Laters have been answered since the last."""
        engine = self._engine
        engine.laters.enter()
        if not engine.is_started:
            engine.start()
        answers = engine.laters.take()
        engine.laters.leave()
        if self._recorder is not None:
            self._recorder.answered(self._now, answers)

    # --- what it says of itself ---------------------------------------------------------------------------------------

    def explain_wakeup(self) -> str:
        """Say why `next_wakeup` is what it is."""
        timer: Timer | None = self._engine.timers.next()
        change = self._engine.health.next_change(self._now)
        if change is not None and (timer is None or change < timer.when):
            return f"a peer that has been silent is judged at {change} ns"
        return "only input can wake this Node" if timer is None else f"{timer.reason} at {timer.when} ns"

    def explain(self) -> list[Waiting]:
        """Say what each open Frame waits for, from whom and until when, in order of age; empty when nothing waits."""
        return explain(self._engine)

    def records(self, name: str) -> list[Any]:
        """Return what the program has recorded under a name (`bb.syscalls.record`), the oldest first."""
        return list(self._engine.services.rings.get(name, ()))

    def counters(self) -> dict[str, int]:
        """Return the program's counters (`bb.syscalls.metric`), in order of name."""
        return dict(sorted(self._engine.services.counters.items()))

    def stats(self) -> dict[str, int]:
        """Count what the Node holds: open Frames and Laters, timers, requests, peers, and what waits to be taken in."""
        engine = self._engine
        frames = list(engine.dispatcher.live.values())
        return {
            "bootstraps_pending": len(engine.bootstraps.pending),
            "charged_bytes": engine.dispatcher.charged + self._ingress_bytes,
            "frames": len(frames),
            "held_for_bootstrap": sum(frame.gated is not None for frame in frames),
            "ingress": len(self._ingress) + len(engine.laters.posted),
            "laters": len(engine.laters.open),
            "peers": len(engine.address_book.peers(None, engine.now)),
            "requests": len(engine.requests),
            "timers": len(engine.timers),
            "values": sum(frame.held_values() for frame in frames),
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

    def observe(self, observer: Observer) -> None:
        """Tell an observer of each op and each poll from now on; see `bb_core.Observer`."""
        self._observers = (*self._observers, observer)
        self._watch()

    def unobserve(self, observer: Observer) -> None:
        """Tell an observer nothing more."""
        self._observers = tuple(o for o in self._observers if o is not observer)
        self._watch()

    def _watch(self) -> None:
        self._dispatcher.observer = Watch(self._observers, self._dispatcher) if self._observers else None
        self._is_watched = bool(self._observers or self._recorder is not None)

    # --- kept and repeated --------------------------------------------------------------------------------------------

    def snapshot(self, since: bytes | None = None) -> bytes:
        """Return all that this Node is, as bytes for the host to store. Call it between polls.

        Args:
            since: An earlier snapshot of this Node. Large contents that it holds are then left out, and `restore`
                needs both.

        Raises:
            SnapshotUnsupported: a Concrete holds state and has no `snapshot`.
            SnapshotError: a value of an open Frame has no wire type.
        """
        return snapshot(self._engine, self.targets, self._now, list(self._ingress), since)

    def restore(self, data: bytes | Sequence[bytes], *, incarnation: int | None = None) -> None:
        """Become what a snapshot holds. From then on the Node gives the same Steps as the one that it was taken of.

        Ops that had not answered are dispatched again, on components as they were before them.

        Args:
            data: What `snapshot` returned; or a snapshot and those that were taken `since` it, in order.
            incarnation: When the Node that the snapshot is of has gone on and then died, a number that it has not had:
                request ids are then new.

        Raises:
            SnapshotDamaged: the bytes are cut short, changed, or no snapshot.
            SnapshotMismatch: they are of another artefact, peer, set of targets or release.

            In all cases this Node is as it was.
        """
        engine = self._make_engine()
        parts = [bytes(data)] if isinstance(data, bytes | bytearray | memoryview) else [bytes(part) for part in data]
        now, ingress = restored(engine, self.targets, parts, incarnation)
        self._now, self._ingress = now, deque(ingress)
        self._ingress_bytes = sum(len(arguments[0]) for _, kind, arguments in ingress if kind == "receive")
        self._take_up(engine)
        if self._recorder is not None:
            self._recorder.begun(self.snapshot())

    def record(self, write: Callable[[bytes], Any] | None) -> None:
        """Log all inputs from now on, so that `bb replay` can run them again; None ends it.

        Args:
            write: Is given the log in pieces, such as a file's `write`. It begins with a snapshot.
        """
        self._recorder = None if write is None else Recorder(write, self.snapshot(), self._config.op_budget)
        self._watch()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _find(self, target: str, given: Mapping[str, Any]) -> tuple[type | None, ...]:
        program = self._engine.program
        if target not in self.targets:
            raise UnknownModule(f"the target {target!r} is not installed", hint=did_you_mean(target, self.targets))
        function = program.functions[target]
        self._check_inputs(target, function.input_types, given)
        if not given:
            raise UnknownInput(
                f"{target} was invoked without an input", expected=f"at least one of {sorted(function.input_types)}"
            )
        classes = self._classes[target, *given] = function.invocation((target, *given)).classes
        return classes

    def _check_inputs(self, target: str, types: Mapping[str, Type], given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            if name not in types:
                raise UnknownInput(f"{target} has no input {name!r}", hint=did_you_mean(name, types))
            wanted = python_class(types[name])
            if wanted is not None and not isinstance(value, wanted):
                raise UnknownInput(
                    f"the input {name!r} of {target} was given a {type(value).__name__}", expected=str(types[name])
                )


_observed = lru_cache(maxsize=4096)(address_bytes)


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to: no op may change what the host holds."""
    view = array.view()
    view.flags.writeable = False
    return view


__all__ = ["Node", "PollResult"]
