"""Why a Node waits: what each open Frame stands at, from whom it wants something, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bb_core import places
from bb_core.ids import ExecId, PeerId
from bb_core.ops.spec import Answer

if TYPE_CHECKING:
    from bb_core.engine.answers import Promised
    from bb_core.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a Node waits for.

    Attributes:
        target: Function of the Frame.
        exec_id: The Frame; 0 for what waits before it has one.
        what: What is waited for, in words.
        op: Op that waits; empty when it is not an op.
        slot: Its slot.
        where: The author's line.
        until: Time in nanoseconds at which the waiting ends by itself; None when it does not.
        peers: Who has not answered yet.
    """

    target: str
    exec_id: ExecId
    what: str
    op: str = ""
    slot: str = ""
    where: str = ""
    until: int | None = None
    peers: tuple[PeerId, ...] = ()

    def __str__(self) -> str:
        op = f"{self.slot}.{self.op}" if self.slot else self.op
        frame = f", Frame {self.exec_id}" if self.exec_id else ""
        who = f"{self.target}{frame}: {op} waits for " if op else f"{self.target}{frame} waits for "
        until = "" if self.until is None else f", until {self.until} ns"
        line = f" ({places.short(self.where)})" if self.where else ""
        return f"{who}{self.what}{until}{line}"


def explain(engine: Engine) -> list[Waiting]:
    """Return what an engine waits for, the oldest Frame first."""
    found = [*_laters(engine), *_claims(engine), *_gated(engine)]
    found.sort(key=lambda w: (w.exec_id, w.op, w.where))
    return found


def _laters(engine: Engine) -> list[Waiting]:
    found = []
    for promised in engine.laters.open.values():
        frame, info = promised.frame, promised.frame.handlers[promised.op].info
        peers = _missing(promised)
        answer = info.spec.answer if info.spec is not None else Answer.LATER
        what = {Answer.TIME: "its time", Answer.NETWORK: "answers"}.get(answer, "its answer")
        if peers:
            what += f" of {', '.join(map(str, peers))}"
        until = promised.timer.when if promised.timer is not None else None
        target, number = frame.table.name, ExecId(frame.exec_id)
        found.append(Waiting(target, number, what, info.op_type, info.slot, info.source, until, peers))
    return found


def _missing(promised: Promised) -> tuple[PeerId, ...]:
    """Who has not answered, as far as the Concrete can say."""
    if promised.missing is None or not promised.is_open:
        return ()
    try:
        return tuple(sorted(promised.missing()))
    except Exception:  # a Concrete may raise anything; what is asked for an explanation reports no failure
        return ()


def _claims(engine: Engine) -> list[Waiting]:
    found = []
    for frame, owners in engine.dispatcher.held_back():
        held = ", ".join(f"Frame {o.exec_id}" for o in owners)
        why = f"which {held} holds" if owners else "for which an older Frame waits too"
        what = f"the slots {', '.join(frame.claims)}, {why}"
        found.append(Waiting(frame.table.name, ExecId(frame.exec_id), what))
    return found


def _gated(engine: Engine) -> list[Waiting]:
    found = []
    for frame in engine.dispatcher.live.values():
        for op in frame.gated or ():
            handler = frame.handlers[op]
            info = handler.info
            slots = handler.touched.union(frame.plan.claims if handler.exclusive else ())
            what = f"the bootstrap of {', '.join(engine.bootstraps.waited_for(slots))}"
            found.append(Waiting(frame.table.name, ExecId(frame.exec_id), what, info.op_type, info.slot, info.source))
    return found
