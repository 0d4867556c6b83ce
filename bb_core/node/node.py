"""`Node`, one participant. Bytes and the time go in, Steps come out; it owns no socket, thread, clock or sleep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from bb_core.engine.bootstraps import BootstrapStatus
from bb_core.engine.engine import Engine
from bb_core.engine.explaining import Waiting, explain
from bb_core.engine.observing import Observer, Watch
from bb_core.errors import UnknownInput, UnknownModule, did_you_mean
from bb_core.ids import ExecId, PeerId
from bb_core.ir.naming import bootstrap_name
from bb_core.node.config import NodeConfig
from bb_core.node.duties import Duties, check_inputs
from bb_core.node.inputs import TAKE
from bb_core.node.peers import PeerInfo, peer_info
from bb_core.node.recording import Recorder
from bb_core.node.snapshots import restored, snapshot
from bb_core.steps import PollResult, SendEnvelope
from bb_core.wire.address import Address, address_bytes

_AT_ONCE: Final = frozenset({"add_peer", "drop_peer", "block", "unblock", "allow_only"})
"""Inputs that change no Frame, and are not kept for the next poll."""


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
        self.targets = tuple(targets)
        self._observers: tuple[Observer, ...] = ()
        self._take_up(make_engine())

    def _take_up(self, engine: Engine) -> None:
        self._engine = engine
        self._duties = Duties(engine, self.targets, self._config)
        self._loop = self._duties.loop
        engine.laters.wake = self._config.wake
        engine.laters.executor = self._config.executor
        self._watch()

    @property
    def peer_id(self) -> PeerId:
        """Who this Node is."""
        return self._engine.peer_id

    @property
    def digest(self) -> str:
        """Digest of the artefact that it runs; Nodes of one program have the same."""
        return self._engine.program.digest

    @property
    def options(self) -> NodeConfig:
        """What it was installed with, and what `attach` has changed of it."""
        return self._config

    @property
    def now(self) -> int:
        """The latest time that it was told, in nanoseconds."""
        return self._loop.now

    @property
    def executions(self) -> int:
        """How many Frames it has begun, in earlier lives that it goes on from too."""
        return int(self._engine.dispatcher.frames)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be taken in or to be confirmed, and no Frame is open."""
        engine = self._engine
        return not (self._loop.waiting or engine.laters.posted or engine.dispatcher.live or len(engine.deliveries))

    def inputs(self, target: str) -> dict[str, str]:
        """Return the types of a target's inputs by name, as text.

        Raises:
            UnknownModule: the target is not installed here.
        """
        if target not in self.targets:
            raise UnknownModule(f"the target {target!r} is not installed", hint=did_you_mean(target, self.targets))
        return {name: str(type_) for name, type_ in self._engine.program.functions[target].input_types.items()}

    def is_open(self, exec_id: ExecId) -> bool:
        """Whether an execution that a poll has taken in still goes on."""
        return exec_id in self._engine.dispatcher.live

    def component(self, slot: str) -> Any:
        """Return the Concrete in a slot, for the host to read what it holds."""
        components = self._engine.components
        if slot not in components:
            raise UnknownModule(f"this Node has no slot {slot!r}", hint=did_you_mean(slot, components))
        return components[slot]

    def attach(
        self, *, wake: Callable[[], None] | None = None, executor: Callable[[Callable[[], None]], Any] | None = None
    ) -> None:
        """Take what a host lends instead of `NodeConfig.wake` and `NodeConfig.executor`; it may know them only now."""
        self._config = replace(self._config, wake=wake, executor=executor)
        self._engine.laters.wake = wake
        self._engine.laters.executor = executor

    # --- what comes from outside --------------------------------------------------------------------------------------

    def receive(self, data: Any, now: int, *, source: PeerId, observed: Address | str | bytes | None = None) -> None:
        """Take in the bytes of one Envelope. When too much waits already, of all or of this peer, they are dropped.

        What is dropped is counted in a Step. Peers take turns: of each, one Envelope is taken in before another of the
        same. Of a peer that is blocked nothing is kept.

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
        size = memoryview(data).nbytes
        if self._duties.admits(source, size, max(now, self._loop.now)):
            self._loop.receive(now, data, source, seen_at, size)

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
        return ExecId(self._loop.invoke(target, inputs, now))

    def bootstrap(self, target: str, inputs: Mapping[str, Any], now: int) -> ExecId:
        """Run the bootstrap of a target: for the first time with its inputs, or anew.

        One without inputs begins by itself at the first poll. What a bootstrap prepares cannot be used until it is
        done: ops of bodies that touch it wait.

        Raises:
            UnknownModule: the target is not installed here, or has no bootstrap.
            UnknownInput: an input is missing, unknown or of another type.
        """
        types = self._engine.program.functions[bootstrap_name(self._bootstrapped(target))].input_types
        check_inputs(f"the bootstrap of {target}", types, inputs)
        for name in types:
            if name not in inputs:
                raise UnknownInput(f"the bootstrap of {target} lacks its input {name!r}", expected=str(types[name]))
        exec_id = self._engine.next_exec()
        self._loop.put("bootstrap", now, (target, exec_id, dict(inputs)))
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
        self._loop.put("lifecycle", now, (phase,))

    def publish(self, kind: str, now: int) -> None:
        """Begin the Frames of the ops that wait for a kind of event."""
        self._loop.put("publish", now, (kind,))

    def cancel(self, exec_id: ExecId, now: int) -> None:
        """End an execution: what is ready in it never runs, and nobody waits for its Laters. Too late is no error."""
        self._loop.put("cancel", now, (exec_id,))

    def sent(self, step_id: int, ok: bool, now: int, *, address: bytes = b"") -> None:
        """Tell what became of a SendEnvelope: it was handed over, or could not be. A peer out of reach cools down.

        Args:
            step_id: That of the Step.
            ok: Whether the transport has handed it over; False when none of the Step's addresses could be reached.
            now: Time in nanoseconds.
            address: The one of the Step's addresses that worked; empty: the first.
        """
        self._loop.put("sent", now, (step_id, ok, address))

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

    def _replay_input(self, now: int, kind: str, arguments: tuple[Any, ...]) -> None:
        """Take in what a recording holds; ids of Frames and what was dropped stand there."""
        if kind in _AT_ONCE:
            self._do(kind, arguments)
            return
        if kind == "receive":
            data, source, observed, size = arguments
            self._loop.receive(now, data, source, observed, size)
            return
        if kind in ("invoke", "bootstrap"):
            self._engine.next_exec()
        self._loop.put(kind, now, arguments)

    def _do(self, kind: str, arguments: tuple[Any, ...]) -> None:
        """Apply an input that changes no Frame at once."""
        if self._loop.recorder is not None:
            self._loop.recorder.taken_in((self._loop.now, kind, arguments))
        TAKE[kind](self._engine, *arguments)

    # --- polling ------------------------------------------------------------------------------------------------------

    def poll(self, now: int) -> PollResult:
        """Do what can be done at a time.

        Args:
            now: Nanoseconds; an earlier time than before counts as that one.
        """
        return self._loop.poll(now)

    # --- what it says of itself ---------------------------------------------------------------------------------------

    def explain_wakeup(self) -> str:
        """Say why `next_wakeup` is what it is."""
        first = min(self._duties.wakeups(), key=lambda found: found[0], default=None)
        return "only input can wake this Node" if first is None else f"{first[1]} at {first[0]} ns"

    def explain(self) -> list[Waiting]:
        """Say what each open Frame waits for, from whom and until when, in order of age; empty when nothing waits."""
        return explain(self._engine)

    def peer(self, peer: PeerId) -> PeerInfo:
        """Say what this Node thinks of a peer: where it is, whether it is up, and how long its answers take."""
        return peer_info(self._engine, peer)

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
            "assembled_bytes": engine.assemblies.held + engine.dispatcher.assembled,
            "bootstraps_pending": len(engine.bootstraps.pending),
            "charged_bytes": engine.dispatcher.charged + self._loop.held,
            "deliveries": len(engine.deliveries),
            "frames": len(frames),
            "held_for_bootstrap": sum(frame.gated is not None for frame in frames),
            "ingress": self._loop.waiting + len(engine.laters.posted),
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
        self._engine.dispatcher.observer = Watch(self._observers, self._engine.dispatcher) if self._observers else None
        self._loop.is_watched = bool(self._observers or self._loop.recorder is not None)

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
        self._duties.tell_dropped()
        return snapshot(self._engine, self.targets, self._loop.now, self._loop.in_order(), since)

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
        self._restore(data, incarnation)

    def _restore(self, data: bytes | Sequence[bytes], incarnation: int | None, *, is_replaying: bool = False) -> None:
        engine = self._make_engine()
        engine.laters.executor = self._config.executor  # ops that had not answered are dispatched while it is read
        engine.laters.wake = self._config.wake
        engine.laters.is_replaying = is_replaying
        parts = [bytes(data)] if isinstance(data, bytes | bytearray | memoryview) else [bytes(part) for part in data]
        now, ingress = restored(engine, self.targets, parts, incarnation)
        recorder = self._loop.recorder
        self._take_up(engine)
        loop = self._loop
        for when, kind, arguments in ingress:
            if kind == "receive":
                loop.receive(when, *arguments)
            else:
                loop.put(kind, when, arguments)
        loop.now = now
        if recorder is not None:
            loop.recorder = recorder
            recorder.begun(self.snapshot())
            self._watch()

    def resume(self, log: bytes, *, incarnation: int | None = None) -> list[SendEnvelope]:
        """Become what a recording ends with: all that was taken in until then has been taken in.

        A host that writes down and keeps what `record` gives before it does what a poll asks for can so go on after it
        was killed, as if nothing had happened. Ops run again, and their effects on Concretes with them; what they
        answered stands in the recording.

        Args:
            log: What `record` has written; an entry that was cut short at its end is left out.
            incarnation: One that the Node has not had, so that ids of requests are new from here on.

        Returns:
            The Envelopes that it was given to send and has not told the outcome of: send them (again).

        Raises:
            RecordingError: the bytes are no recording, have changed, or something could not be recorded.
            SnapshotMismatch: they are of another artefact, peer, set of targets or release.
        """
        from bb_core.node.replaying import resume

        return resume(self, log, incarnation)

    def record(self, write: Callable[[bytes], Any] | None) -> None:
        """Log all inputs from now on, so that `bb replay` can run them again; None ends it.

        Args:
            write: Is given the log in pieces, such as a file's `write`. It begins with a snapshot.
        """
        self._loop.recorder = None if write is None else Recorder(write, self.snapshot(), self._config.op_budget)
        self._watch()


_observed = lru_cache(maxsize=4096)(address_bytes)


__all__ = ["Node", "PollResult"]
