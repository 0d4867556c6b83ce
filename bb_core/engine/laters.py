"""The open Laters of a Node: who may still answer, and how an answer comes in from any thread."""

from __future__ import annotations

from _thread import get_ident  # who calls, not a thread of our own
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bb_core.engine.answers import Promised
from bb_core.engine.timers import Timer
from bb_core.errors import BBError, DeadlinePassed, Overloaded, SnapshotUnsupported

if TYPE_CHECKING:
    from bb_core.engine.dispatch import Frame
    from bb_core.engine.engine import Engine

Answer = tuple[Promised, Any, BaseException | None]


class Laters:
    """The open Laters of one Node.

    An answer that an op gives inside a poll, to its own Later or another's, is written at once. One from outside, or
    from another thread, is kept in `posted` until the next poll begins, in the order in which they came; nothing limits
    how many, since each is one that was asked for.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine = engine
        self._most = most
        self.open: dict[tuple[int, int], Promised] = {}
        """By Frame and op."""
        self.posted: deque[Answer] = deque()
        self.wake: Callable[[], None] | None = None
        self.executor: Callable[[Callable[[], None]], Any] | None = None
        self.is_replaying = False
        """Answers from outside come from a log alone."""
        self.saved: Timer | None = None
        """The deadline of a Later of a snapshot whose op is dispatched again; its old place among the timers."""
        self.thread = 0
        """The thread that polls; 0 between polls."""
        self._fresh: list[Promised] = []
        """Made by the op that runs, and not yet returned by it."""

    def enter(self) -> None:
        """Take the present thread for that of the poll."""
        self.thread = get_ident()

    def leave(self) -> None:
        """Say that the poll is over."""
        self.thread = 0
        if self._fresh:
            self.drop()

    def promise(self, promised: Promised, wait: int | None, title: str) -> Promised:
        """Take in a Later that an op has made, with its deadline in nanoseconds from now.

        Raises:
            Overloaded: so many are open that another is refused.
        """
        if len(self.open) >= self._most:
            raise Overloaded(
                f"{self._most} ops of this Node have not answered yet",
                hint="give them deadlines, or raise NodeConfig(laters=...)",
            )
        handler = promised.frame.handlers[promised.op]
        if handler.exclusive:
            promised.before = self._states(handler.info.touched)
        if wait is not None:
            when = self._engine.now + wait
            if self.saved is None:
                promised.timer = self._engine.timers.set(when, "later", promised, f"deadline of {title}")
            else:
                promised.timer, self.saved = self.saved, None
                promised.timer.key = promised
                self._engine.timers.put(promised.timer)
        self._fresh.append(promised)
        return promised

    def drop(self) -> None:
        """Close the Laters that an op has made and did not return, since it raised or has answered at once."""
        while self._fresh:
            promised = self._fresh.pop(0)
            if promised.is_open:
                self._close(promised)

    def _states(self, slots: tuple[str, ...]) -> dict[str, Any] | None:
        try:
            return {s: self._engine.components[s].snapshot() for s in slots if self._engine.components[s].exclusive}
        except SnapshotUnsupported:
            return None

    def expect(self, promised: Promised) -> None:
        """Ask a Later that is about to be parked whose answers it waits for. A Concrete says so, and may raise."""
        if promised.missing is not None and promised.frame.handlers[promised.op].info.collects:
            missing = tuple(promised.missing())
            for number in promised.frame.requests or ():
                self._engine.requests.wait_for(number, missing, self._engine.now)

    def parked(self, promised: Promised) -> None:
        """Take in that the op's method has returned its Later."""
        self.open[promised.frame.exec_id, promised.op] = promised
        if promised in self._fresh:
            self._fresh.remove(promised)
        if promised.early is not None:
            self._settle(promised, *promised.early)

    def post(self, promised: Promised, result: Any, error: BaseException | None) -> None:
        """Take in an answer, from any thread."""
        if self.thread != get_ident():
            if not self.is_replaying:
                self.posted.append((promised, result, error))
                if self.wake is not None:
                    self.wake()
        elif promised.parked:
            self._settle(promised, result, error)
        else:
            promised.early = (result, error)

    def take(self) -> list[Answer]:
        """Write the outputs of those that have been answered from outside since the last poll; returns them."""
        taken = [self.posted.popleft() for _ in range(len(self.posted))]
        for promised, result, error in taken:
            self._settle(promised, result, error)
        return taken

    def _settle(self, promised: Promised, result: Any, error: BaseException | None) -> None:
        frame, op, engine = promised.frame, promised.op, self._engine
        if promised.timer is not None:
            engine.timers.cancel(promised.timer)
        if self.open.get((frame.exec_id, op)) is not promised:
            return  # its Frame is gone, or two threads have answered
        del self.open[frame.exec_id, op]
        if error is None:
            engine.dispatcher.answer(frame, op, result, promised.network)
        else:
            engine.failed(frame, op, frame.handlers[op], error)
            engine.dispatcher.abandon(frame, op, promised.network)
        promised.forget()

    def deadline(self, promised: Promised) -> None:
        """Do what a Later's deadline asks for."""
        if not promised.is_open:
            return
        engine, title = self._engine, promised.frame.handlers[promised.op].info.title
        if promised.on_deadline is not None:
            context = engine.dispatcher.context
            context.enter(promised.frame, promised.op)
            try:
                promised.on_deadline(context)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a Concrete may raise anything
                promised.fail(error)
        if promised.is_open:
            promised.fail(DeadlinePassed(f"{title} did not answer by its deadline"))
            self._tell(promised)

    def cancel(self, frame: Frame) -> None:
        """Close the Laters of a Frame; what answers them afterwards is not heard."""
        for key in [k for k in self.open if k[0] == frame.exec_id]:
            self._close(self.open.pop(key))

    def _close(self, promised: Promised) -> None:
        """Nobody waits for it any more."""
        promised.is_open = False
        if promised.timer is not None:
            self._engine.timers.cancel(promised.timer)
        self._tell(promised)
        promised.forget()

    def _tell(self, promised: Promised) -> None:
        """Tell whoever works on an answer that nobody waits for it any more."""
        if promised.on_cancel is None:
            return
        try:
            promised.on_cancel()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a Concrete may raise anything
            frame, op = promised.frame, promised.op
            blamed = error if isinstance(error, BBError) else RuntimeError(f"on_cancel raised: {error}")
            self._engine.report(frame, frame.handlers[op], blamed)
