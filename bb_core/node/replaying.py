"""Replaying: a recording is run again on a fresh Node, and every Step is compared with what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bb_core import places
from bb_core.engine.explaining import Waiting
from bb_core.engine.observing import OpRun
from bb_core.errors import BBError, RecordingError
from bb_core.node.inputs import unpacked
from bb_core.node.node import Node
from bb_core.node.recording import FORMAT, digest, entries, title
from bb_core.steps import SendEnvelope, Step


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first Step that differs.

    Attributes:
        number: Of the Step, from 1.
        now: Time of its poll, in nanoseconds.
        recorded: What stands in the recording; empty when it has no Step here.
        replayed: What the replay gave; empty when it gave none.
        run: The op that gave it, or the last one before it; None when no op ran.
    """

    number: int
    now: int
    recorded: str
    replayed: str
    run: OpRun | None

    def __str__(self) -> str:
        lines = [
            f"Step {self.number} differs, at {self.now} ns",
            f"  recorded: {self.recorded or 'no Step'}",
            f"  replayed: {self.replayed or 'no Step'}",
        ]
        return "\n".join([*lines, f"  by {_named(self.run)}"] if self.run else lines)


@dataclass(slots=True)
class Replay:
    """What a replay has come to.

    Attributes:
        steps: How many Steps were compared and equal.
        polls: How many polls were run.
        divergence: The first difference; None when there is none.
        stopped: Where it was asked to stop: the op, with its inputs; None when it went to the end or to `until`.
        inputs: Those of that op.
        waiting: What the Node waits for at the end.
        node: The Node, as it is at the end.
        last: The last Steps, at most 20.
    """

    node: Node
    steps: int = 0
    polls: int = 0
    divergence: Divergence | None = None
    stopped: OpRun | None = None
    inputs: tuple[Any, ...] = ()
    waiting: list[Waiting] = field(default_factory=list)
    last: list[Step] = field(default_factory=list)


def replay(log: bytes, make: Callable[[], Node], *, until: int | None = None, break_at: str | None = None) -> Replay:
    """Run a recording again.

    Args:
        log: What `Node.record` has written.
        make: Installs the Node anew, as it was installed when it was recorded.
        until: Stop after this many Steps.
        break_at: Stop before the first op of this name: `Op`, `slot.Op`, the op's name in its function, or `file:line`.

    Raises:
        RecordingError: the bytes are no recording, or something could not be recorded.
        SnapshotMismatch: the Node is of another artefact, peer or set of targets.
    """
    found = Replay(make())
    trace = _Trace(found.node, break_at)
    found.node.observe(trace)
    try:
        for entry in entries(log):
            _PLAY[entry[0]](found, trace, entry)
            if found.divergence is not None or (until is not None and found.steps >= until):
                break
    except _Reached:
        found.stopped, found.inputs = trace.run, trace.inputs
    except KeyError as error:
        raise RecordingError(f"an entry is of the kind {error}", hint="it is of a newer release") from error
    found.waiting = found.node.explain()
    return found


def resume(node: Node, log: bytes, incarnation: int | None) -> list[SendEnvelope]:
    """Become what a recording ends with; see `Node.resume`. What the polls give is not compared with it."""
    config = node._config
    found, unsent = Replay(node), dict[int, SendEnvelope]()
    trace = _Trace(node, None)
    for entry in entries(log):
        if entry[0] == "poll":
            unsent |= {step.id: step for step in node.poll(entry[1]).steps if isinstance(step, SendEnvelope)}
            continue
        if entry[0] == "in" and entry[2] == "sent":
            unsent.pop(entry[3][0], None)
        if entry[0] not in _PLAY:
            raise RecordingError(f"an entry is of the kind {entry[0]}", hint="it is of a newer release")
        _PLAY[entry[0]](found, trace, entry)
    node._config = config
    node.restore(node.snapshot(), incarnation=incarnation)
    return list(unsent.values())


class _Reached(BaseException):
    """The op at which to stop. An observer raises it, before the op: what an op itself raises becomes its failure."""


class _Trace:
    """Remembers which op gave which Steps of a poll, and stops at one."""

    wants_steps = False

    def __init__(self, node: Node, break_at: str | None) -> None:
        self._node = node
        self._break_at = break_at
        self.run: OpRun | None = None
        self.inputs: tuple[Any, ...] = ()
        self._began: list[tuple[int, OpRun]] = []

    def op_began(self, run: OpRun, inputs: tuple[Any, ...]) -> None:
        self.run, self.inputs = run, inputs
        self._began.append((len(self._node._engine.steps), run))
        short = places.short(run.where) if run.where else ""
        if self._break_at in (run.op, f"{run.slot}.{run.op}", run.name, run.where, short):
            raise _Reached

    def op_ended(self, run: OpRun, outputs: Any) -> None: ...

    def op_failed(self, run: OpRun, error: BBError) -> None: ...

    def polled(self, now: int, steps: list[Step]) -> None: ...

    def op_of(self, index: int) -> OpRun | None:
        """The op that gave a Step of the last poll, by its index there."""
        return next((run for at, run in reversed(self._began) if at <= index), None)

    def forget(self) -> None:
        """Begin another poll."""
        self._began.clear()


def _named(run: OpRun) -> str:
    op = f"{run.slot}.{run.op}" if run.slot else run.op
    return f"{op} of {run.target}, Frame {run.exec_id}" + (f" ({places.short(run.where)})" if run.where else "")


def _begin(found: Replay, trace: _Trace, entry: list[Any]) -> None:
    _, version, release, op_budget, snapshot = entry
    if version != FORMAT:
        raise RecordingError(f"the recording has format {version}", hint=f"replay it with release {release}")
    node = found.node
    node._config = replace(node._config, op_budget=op_budget)
    node._restore(snapshot, None, is_replaying=True)


def _input(found: Replay, trace: _Trace, entry: list[Any]) -> None:
    found.node._replay_input(*unpacked(*entry[1:]))


def _answers(found: Replay, trace: _Trace, entry: list[Any]) -> None:
    laters = found.node._engine.laters
    for number, op, result, error in entry[2]:
        promised = laters.open.get((number, op))
        if promised is not None:
            promised.is_open = False
            laters.posted.append((promised, tuple(result) if isinstance(result, list) else result, error))


def _poll(found: Replay, trace: _Trace, entry: list[Any]) -> None:
    _, now, recorded = entry
    trace.forget()
    steps = found.node.poll(now).steps
    found.polls += 1
    found.last = [*found.last, *steps][-20:]
    for index in range(max(len(steps), len(recorded))):
        theirs = recorded[index] if index < len(recorded) else ["", "", b""]
        step = steps[index] if index < len(steps) else None
        if step is None or [type(step).__name__, digest(step)] != [theirs[0], theirs[2]]:
            ours = "" if step is None else f"{type(step).__name__} {title(step)}"
            was = f"{theirs[0]} {theirs[1]}".strip()
            ours += ", with other contents" if ours == was else ""
            found.divergence = Divergence(found.steps + 1, now, was, ours, trace.op_of(index))
            return
        found.steps += 1


def _lost(found: Replay, trace: _Trace, entry: list[Any]) -> None:
    raise RecordingError(f"an input could not be recorded: {entry[1]}", hint="the replay cannot go on from here")


_PLAY: dict[str, Callable[[Replay, _Trace, list[Any]], None]] = {
    "begin": _begin,
    "in": _input,
    "answers": _answers,
    "poll": _poll,
    "lost": _lost,
}
