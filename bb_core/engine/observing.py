"""What an observer of a Node is told: each op as it begins and ends, and each poll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bb_core.errors import BBError
from bb_core.ids import ExecId
from bb_core.steps import OpCompleted, Step

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Dispatcher, Frame, Handler


@dataclass(frozen=True, slots=True)
class OpRun:
    """One op in one Frame.

    Attributes:
        target: Function of the Frame.
        exec_id: The Frame.
        name: Name of the op in its function; with `exec_id` it names this run.
        op: Op type.
        slot: Slot that serves it; empty for the framework's own.
        where: The author's line.
    """

    target: str
    exec_id: ExecId
    name: str
    op: str
    slot: str
    where: str


class Observer(Protocol):
    """Watches a Node; see `Node.observe`. It is called inside `poll`, must not call the Node, and must not raise.

    What it raises is no fault of the op, and comes out of the poll. An op that answers later has begun in one poll and
    ends in another. One whose Frame is cancelled does not end.
    """

    wants_steps: bool
    """Whether the Node also gives an `OpCompleted` Step for each op that has run."""

    def op_began(self, run: OpRun, inputs: tuple[Any, ...]) -> None:
        """An op is about to run with these inputs."""

    def op_ended(self, run: OpRun, outputs: Any) -> None:
        """An op has given its outputs, as its body returned them."""

    def op_failed(self, run: OpRun, error: BBError) -> None:
        """An op has failed."""

    def polled(self, now: int, steps: list[Step]) -> None:
        """A poll at a time in nanoseconds has given these Steps."""


class Watch:
    """The observers of a Node, as its dispatch loop sees them."""

    def __init__(self, observers: tuple[Observer, ...], dispatcher: Dispatcher) -> None:
        self.observers = observers
        self._dispatcher = dispatcher
        self._wants_steps = any(o.wants_steps for o in observers)

    def op_began(self, frame: Frame, handler: Handler, inputs: tuple[Any, ...]) -> None:
        """Pass on that an op is about to run."""
        run = _run(frame, handler)
        for observer in self.observers:
            observer.op_began(run, inputs)

    def op_ended(self, frame: Frame, handler: Handler, outputs: Any) -> None:
        """Pass on that an op has given its outputs."""
        run = _run(frame, handler)
        for observer in self.observers:
            observer.op_ended(run, outputs)
        if self._wants_steps:
            self._dispatcher.steps.append(OpCompleted(run.target, run.name, run.exec_id))

    def op_failed(self, frame: Frame, handler: Handler, error: BBError) -> None:
        """Pass on that an op has failed."""
        run = _run(frame, handler)
        for observer in self.observers:
            observer.op_failed(run, error)

    def polled(self, now: int, steps: list[Step]) -> None:
        """Pass on what a poll has given."""
        for observer in self.observers:
            observer.polled(now, steps)


def _run(frame: Frame, handler: Handler) -> OpRun:
    info = handler.info
    return OpRun(frame.table.name, ExecId(frame.exec_id), info.name, info.op_type, info.slot, info.source)
