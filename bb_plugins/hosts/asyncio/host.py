"""`AsyncioHost`: gives one Node bytes and the time, and does what its Steps say.

Theory of operation. Everything happens in the event loop's thread. What comes from outside (an Envelope, an invoke, an
answered Later) is given to the Node at once and marks it as due; one call later in the loop it is polled, so that all
that has come meanwhile is taken in together. What a poll wants to be sent goes to the switchboard, whose outcomes come
back as inputs. A timer stands for `next_wakeup`. Ops that Concretes offload run on worker threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import bb_core as bb
from bb_core.errors import BBError, RunFailed, UsageError
from bb_core.ids import ExecId
from bb_core.steps import (
    AppEvent,
    BudgetSpent,
    Dropped,
    EnvelopeRejected,
    FillRejected,
    OpFailed,
    PeerDown,
    PeerSuspect,
    PeerUp,
    QuorumMissed,
    SendEnvelope,
    Step,
    Undelivered,
)
from bb_plugins.hosts.asyncio.journal import Journal
from bb_plugins.hosts.asyncio.switchboard import LinkConfig, Switchboard
from bb_plugins.transports.interface import Credentials, Hello

_log = logging.getLogger(__name__)

_LEVELS: Final[dict[type, int]] = {
    OpFailed: logging.WARNING,
    QuorumMissed: logging.WARNING,
    EnvelopeRejected: logging.WARNING,
    FillRejected: logging.WARNING,
    Dropped: logging.WARNING,
    Undelivered: logging.WARNING,
    PeerDown: logging.WARNING,
    PeerSuspect: logging.INFO,
    PeerUp: logging.INFO,
    AppEvent: logging.INFO,
    BudgetSpent: logging.DEBUG,
}


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Options of an `AsyncioHost`."""

    links: LinkConfig = field(default_factory=LinkConfig)
    """Limits of the links."""
    workers: int = 0
    """Threads for what Concretes offload; 0: it runs in the polls."""
    snapshot_seconds: float = 60.0
    """How often the journal is begun anew."""
    journal_bytes: int = 256 * 2**20
    """At how many bytes it is begun anew earlier."""
    drain_seconds: float = 10.0
    """How long `drain` waits for what is open."""

    def __post_init__(self) -> None:
        if self.workers < 0 or self.snapshot_seconds <= 0 or self.journal_bytes < 1 or self.drain_seconds < 0:
            raise UsageError("an option of the host is negative", expected="numbers above 0; workers may be 0")


@dataclass(slots=True)
class _Run:
    outputs: dict[str, Any]
    failures: list[Step]
    done: asyncio.Future[None]


class AsyncioHost:
    """Runs one Node. Use it as `async with AsyncioHost(node) as host:`; all its methods belong to the event loop.

    Args:
        node: Installed, and not yet polled.
        credentials: With them only peers with a certificate of the same authority are talked to, over TLS. Without,
            peers are who they claim to be: for tests and closed networks.
        protocols: Which transports may be used, such as `["tcp/tls"]`; see `Switchboard`.
        state: Directory that keeps the Node over crashes and restarts; None: it is kept nowhere.
        config: Limits and times.
        clock: Nanoseconds, monotonic.

    Attributes:
        node: The Node; between polls, for reading.
        links: Its links: `counters`, `connected`.
    """

    def __init__(
        self,
        node: bb.Node,
        *,
        credentials: Credentials | None = None,
        protocols: Iterable[str] | None = None,
        state: Path | None = None,
        config: HostConfig | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.node = node
        self.config = config or HostConfig()
        self.steps: Counter[str] = Counter()
        """How many Steps of each kind there were."""
        self.is_resumed = False
        """Whether the state directory held an earlier life of this Node."""
        self._clock = clock
        self._base = node.now - clock()
        self._listeners: list[Callable[[Step], None]] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._runs: dict[ExecId, _Run] = {}
        self._is_due = False
        self._is_open = False
        self._has_received = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._journal = None if state is None else Journal(state)
        self._journal_due = 0
        self._failure: BBError | None = None
        self._loop: asyncio.AbstractEventLoop
        self.links = Switchboard(
            Hello(node.peer_id, node.digest),
            node.options.limits.total_bytes,
            credentials,
            protocols,
            self.config.links,
            now=self.now,
            deliver=self._receive,
            outcome=self._sent,
            changed=self._tell_waiters,
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Take up the Node, as the state directory has it, and poll it for the first time.

        Raises:
            RecordingError, SnapshotMismatch: what the directory holds has changed, or is of another Node or program.
            RunFailed: it cannot be written to.
        """
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        if self.config.workers:
            self._pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="bb-worker")
        self.node.attach(wake=self._wake, executor=None if self._pool is None else self._pool.submit)
        if self._journal is not None:
            try:
                self._resume(self._journal)
                self._check()
            except BBError:
                await self.close(at_once=True)
                raise
        self._due()

    def _resume(self, journal: Journal) -> None:
        kept = journal.kept()
        unsent: list[SendEnvelope] = []
        if kept is not None:
            unsent = self.node.resume(kept.log, incarnation=kept.number)
            slept = max(0, time.time_ns() - kept.written)
            self._base = self.node.now + slept - self._clock()
            self.is_resumed = True
            _log.info("resumed from journal %d, %d bytes", kept.number, len(kept.log), extra={"unsent": len(unsent)})
        self._begin_journal(journal)
        self.links.send(unsent)

    async def drain(self, seconds: float | None = None) -> bool:
        """Take in no new connections, tell the Node of its `shutdown`, and let it finish what is open.

        Returns:
            Whether all was finished in time.
        """
        self._check()
        await self.links.shut()
        self.node.fire_lifecycle("shutdown", self.now())
        self._due()
        try:
            await self.until(
                lambda: not self._is_due and self.node.is_idle and self.links.is_quiet,
                self.config.drain_seconds if seconds is None else seconds,
            )
        except TimeoutError:
            for waiting in self.node.explain():
                _log.warning("still open: %s", waiting)
            return False
        return True

    async def close(self, *, at_once: bool = False) -> None:
        """End all links and keep the Node; what is open goes on when it is started again from its state directory.

        Args:
            at_once: Write nothing more, neither to peers nor to the state directory: as if the process were killed.
        """
        if not self._is_open:
            return
        at_once = at_once or self._failure is not None
        await self.links.shut()
        self.links.hang_up(at_once=at_once)
        try:
            await self.until(lambda: not self.links.connected, 2.0)
        except (TimeoutError, BBError):
            self.links.hang_up(at_once=True)
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._journal is not None:
            if not at_once:
                self._begin_journal(self._journal)
            self.node.record(None)
            self._journal.close()
        for run in self._runs.values():
            run.done.cancel()

    @property
    def failure(self) -> BBError | None:
        """Why the Node has stopped; None while it can be kept."""
        return self._failure

    @property
    def journal_bytes(self) -> int | None:
        """Bytes of the present journal; None when the Node is kept nowhere."""
        return None if self._journal is None else self._journal.size

    # --- what the application asks for --------------------------------------------------------------------------------

    def now(self) -> int:
        """The Node's time."""
        return self._base + self._clock()

    async def listen(self, address: bb.Address | str) -> bb.Address:
        """Take connections at an address such as `/ip4/0.0.0.0/tcp/4001/tls`; returns it with the real port."""
        return await self.links.listen(bb.Address.parse(address) if isinstance(address, str) else address)

    def add_peer(
        self,
        peer: bb.PeerId,
        addresses: Sequence[bb.Address | str] = (),
        *,
        peer_class: str = "",
        connect: bool = False,
    ) -> None:
        """Make a peer known to the Node and to the links.

        Args:
            peer: Who it is.
            addresses: Where to find it, the preferred first; none, when it will come by itself.
            peer_class: The class that PeerSelectors find it by.
            connect: Connect now and stay connected, rather than when there is something to send.

        Raises:
            UsageError: it is to connect, and this host has a transport for none of the addresses.
        """
        parsed = [bb.Address.parse(a) if isinstance(a, str) else a for a in addresses]
        if connect and parsed and not any(self.links.serves(a) for a in parsed):
            self.links.transport_of(parsed[0])  # it says what is wrong
        self.node.add_peer(peer, parsed, peer_class=peer_class)
        neighbour = self.links.neighbour(peer)
        neighbour.addresses = tuple(a.to_bytes() for a in parsed)
        neighbour.is_kept, neighbour.is_known = connect, True
        neighbour.pump()

    def invoke(self, target: str, inputs: Mapping[str, Any]) -> ExecId:
        """Begin one execution; its values come as AppEvents (`on_step`)."""
        self._check()
        exec_id = self.node.invoke(target, inputs, self.now())
        self._due()
        return exec_id

    async def run(self, target: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Begin one execution, wait for its end, and return its outputs by name.

        Raises:
            RunFailed: it gave none; the failed Steps are quoted. Or the Node can be kept no more.
        """
        exec_id = self.invoke(target, inputs)
        run = self._runs[exec_id] = _Run({}, [], self._loop.create_future())
        try:
            await run.done
        finally:
            del self._runs[exec_id]
            self.node.cancel(exec_id, self.now())
            self._due()
        if not run.outputs:
            found = "; ".join(str(getattr(step, "error", step)) for step in run.failures[-3:])
            raise RunFailed(f"{target} gave no output", hint=found or "did it wait for peers that never answered?")
        return run.outputs

    def on_step(self, listener: Callable[[Step], None]) -> None:
        """Call a function with every Step but SendEnvelopes, in order."""
        self._listeners.append(listener)

    async def until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait until a condition holds; it is looked at after every poll, and when a link has come or gone.

        Raises:
            TimeoutError: it did not come to hold in time.
            RunFailed: the Node can be kept no more, and has stopped.
        """
        self._check()
        if condition():
            return
        waiter = (condition, self._loop.create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter[1]
        finally:
            self._waiters.remove(waiter)

    # --- the Node's inputs --------------------------------------------------------------------------------------------

    def _receive(self, frames: Sequence[memoryview | bytes], peer: bb.PeerId, dialed: bytes) -> None:
        now, observed = self.now(), dialed or None
        for frame in frames:
            self.node.receive(frame, now, source=peer, observed=observed)
        self._has_received = True
        self._due()

    def _sent(self, step_id: int, ok: bool, address: bytes = b"") -> None:
        self.node.sent(step_id, ok, self.now(), address=address)
        self._due()

    def _wake(self) -> None:
        """Poll soon; called from any thread, and perhaps after the end."""
        try:
            self._loop.call_soon_threadsafe(self._due)
        except RuntimeError:
            _log.debug("a Later was answered after the event loop had ended")

    def _due(self) -> None:
        if not self._is_due and self._is_open:
            self._is_due = True
            self._loop.call_soon(self._poll)

    # --- polls --------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Poll once, and do what the Node wants."""
        self._is_due = False
        if not self._is_open or self._failure is not None:
            return
        result = self.node.poll(self.now())
        sends: list[SendEnvelope] = []
        others: list[Step] = []
        for step in result.steps:
            if type(step) is SendEnvelope:
                sends.append(step)
            else:
                others.append(step)
        if self._journal is not None and (result.steps or self._has_received):
            try:
                self._journal.sync()  # before anybody sees anything of it, and before a peer relies on it
            except OSError as error:
                self._fail(error)
                return
            self._has_received = False
        if sends:
            self.links.send(sends)
        for step in others:
            self._tell(step)
        if result.more:
            self._due()
        else:
            self._set_timer(result.next_wakeup)
        if self._runs:
            self._end_runs(result.more)
        if self._journal is not None:
            self._renew_journal(self._journal)
        self._tell_waiters()

    def _set_timer(self, when: int | None) -> None:
        if when == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = when
        if when is not None:
            self._timer = self._loop.call_later(max(0, when - self.now()) / 1e9, self._wake_up)

    def _wake_up(self) -> None:
        self._timer = self._timer_at = None
        self._due()

    def _tell(self, step: Step) -> None:
        kind = type(step).__name__
        self.steps[kind] += 1
        level = _LEVELS.get(type(step), logging.DEBUG)
        if _log.isEnabledFor(level):
            _log.log(level, "%s", _brief(step), extra={"step": kind, "peer": str(getattr(step, "peer", ""))})
        run = self._runs.get(getattr(step, "exec_id", ExecId(0)))
        if run is not None:
            if isinstance(step, AppEvent):
                run.outputs[step.port] = step.value
            else:
                run.failures.append(step)
        for listener in self._listeners:
            try:
                listener(step)
            except Exception:  # the application's
                _log.exception("a listener has failed at %s", kind)

    def _end_runs(self, more: bool) -> None:
        for exec_id, run in self._runs.items():
            if not more and not run.done.done() and not self.node.is_open(exec_id):
                run.done.set_result(None)

    def _tell_waiters(self) -> None:
        for condition, future in self._waiters:
            if not future.done() and condition():
                future.set_result(None)

    # --- the journal --------------------------------------------------------------------------------------------------

    def _renew_journal(self, journal: Journal) -> None:
        if self._clock() >= self._journal_due or journal.size > self.config.journal_bytes:
            self._begin_journal(journal)

    def _begin_journal(self, journal: Journal) -> None:
        self._journal_due = self._clock() + int(self.config.snapshot_seconds * 1e9)
        try:
            journal.begin(self.node)
        except BBError as error:
            _log.error("the Node cannot be kept now: %s", error)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Stop: nobody may see anything of the Node that is not on disk. Whoever waits is told."""
        if self._failure is not None:
            return
        assert self._journal is not None
        _log.critical("the Node stops: %s cannot be written: %s", self._journal.folder, error)
        self._failure = RunFailed(
            f"the Node has stopped: {self._journal.folder} cannot be written: {error.strerror}",
            hint="make room, then start it again: it goes on from what was kept",
        )
        self.links.hang_up(at_once=True)
        for future in [run.done for run in self._runs.values()] + [future for _, future in self._waiters]:
            if not future.done():
                future.set_exception(self._failure)

    def _check(self) -> None:
        """Raise if the Node can be kept no more."""
        if self._failure is not None:
            raise self._failure


def _brief(step: Step) -> str:
    if isinstance(step, AppEvent):
        return f"{step.target}.{step.port} of Frame {step.exec_id}"
    error = getattr(step, "error", None)
    return f"{type(step).__name__}: {error}" if error is not None else repr(step)
