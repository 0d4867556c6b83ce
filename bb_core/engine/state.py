"""An Engine as plain data and values, and back: what a snapshot holds.

Open Laters are kept as (Frame, op): when an Engine is revived, each such op is dispatched again, with the inputs that
its Frame still holds and the deadline that it had, on exclusive components as they were when the Later was made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_core.engine.answers import Promised
from bb_core.engine.context import origin_digest
from bb_core.engine.dispatch import Frame, Plan
from bb_core.engine.engine import Engine
from bb_core.engine.program import FunctionProgram
from bb_core.engine.receiving import Inbound
from bb_core.engine.requests import Requests
from bb_core.engine.sending import Held, Label
from bb_core.engine.timers import Timer
from bb_core.errors import SnapshotUnsupported
from bb_core.ids import ExecId, PeerId
from bb_core.ir.entries import INVOKE
from bb_core.wire.codec import Fill

State = dict[str, Any]


def capture(engine: Engine) -> State:
    """Return all that an Engine is, between two polls.

    Raises:
        SnapshotUnsupported: a Concrete holds state and does not say how to keep it.
    """
    return {
        "now": engine.now,
        "is_started": engine.is_started,
        "seed": engine.seed,
        "counts": [engine.dispatcher.frames, engine.dispatcher.origins],
        "components": _components(engine),
        "frames": [_frame(engine, frame) for frame in engine.dispatcher.live.values()],
        "queues": engine.dispatcher.queues(),
        "laters": [[*key, promised.is_open] for key, promised in engine.laters.open.items()],
        "posted": _posted(engine),
        "timers": [[t.when, t.sequence, t.kind, _key(t), t.reason] for t in engine.timers.in_order()],
        "timer_sequence": engine.timers.sequence,
        **{name: getattr(engine, name).state() for name in _SERVICES},
        "requests": engine.requests.state(),
        "deliveries": engine.deliveries.state(),
        "assemblies": engine.assemblies.state(),
        "bootstraps": engine.bootstraps.state(),
    }


def revive(engine: Engine, state: State, incarnation: int | None) -> None:
    """Make an Engine that has done nothing yet what a state says."""
    engine.now, engine.is_started, engine.seed = state["now"], state["is_started"], state["seed"]
    engine.dispatcher.frames, engine.dispatcher.origins = state["counts"]
    for slot, kept in state["components"].items():
        engine.components[slot].restore(kept)
    for name in _SERVICES:
        getattr(engine, name).load(state[name])
    frames = {one["id"]: _revive_frame(engine, one) for one in state["frames"]}
    laters: dict[tuple[int, int], Timer] = {}
    numbered: dict[str, dict[int, Timer]] = {"request": {}, "delivery": {}, "assembly": {}}
    for when, sequence, kind, key, reason in state["timers"]:
        timer = Timer(when, sequence, kind, key, reason)
        if kind == "later":
            laters[key[0], key[1]] = timer  # set again with its op
            continue
        if kind in ("interval", "component"):
            timer.key = tuple(key)
            if kind == "component":
                engine.alarms.load(timer)
        elif kind in numbered:
            numbered[kind][key] = timer
        engine.timers.put(timer)
    engine.requests.load(state["requests"], frames, numbered["request"], _ended(engine))
    engine.deliveries.load(state["deliveries"], numbered["delivery"])
    engine.assemblies.load(state["assemblies"], numbered["assembly"])
    if incarnation is not None:
        engine.requests.begin_anew(Requests(engine.peer_id, incarnation, engine.timers, engine.health))
    engine.bootstraps.load(state["bootstraps"], frames)
    for name, left, numbers in state["queues"]:
        engine.dispatcher.requeue(engine.functions[name][1], left, [frames[n] for n in numbers])
    _revive_laters(engine, state, frames, laters)
    engine.timers.sequence = state["timer_sequence"]


_SERVICES = (
    "address_book", "governor", "seen", "services", "gatherings", "outbox", "health", "round_trips", "overload",
    "rates",
)  # fmt: skip


# --- components -------------------------------------------------------------------------------------------------------


def _components(engine: Engine) -> State:
    before: State = {}
    for promised in engine.laters.open.values():
        if promised.is_open and promised.frame.handlers[promised.op].exclusive:
            before.update(promised.before or {})
    found = {}
    for slot, component in engine.components.items():
        if slot in before:
            found[slot] = dict(before[slot])
            continue
        try:
            found[slot] = dict(component.snapshot())
        except SnapshotUnsupported as error:
            raise SnapshotUnsupported(
                f"the slot {slot!r} cannot be kept: {error.message}", expected=error.expected, hint=error.hint
            ) from error
    return found


# --- Frames -----------------------------------------------------------------------------------------------------------


def _frame(engine: Engine, frame: Frame) -> State:
    inbound = frame.inbound
    return {
        "id": frame.exec_id,
        "function": frame.table.name,
        "plan": frame.plan.name,
        "inbound": None if inbound is None else _inbound(inbound),
        "origin": list(frame.origin),
        "requests": list(frame.requests or ()),
        "outgoing": [_outgoing(held) for held in frame.outgoing or ()],
        "generators": {key: _generator(engine, frame, drawn) for key, drawn in (frame.generators or {}).items()},
        "state": frame.state(),
    }


def _outgoing(held: Held) -> list[Any]:
    fills = [[f.dest_suffix, _joined(f.payload), f.trigger_only, f.type_hash.to_bytes(8, "big")] for f in held.fills]
    label = [held.label.kind, held.label.request.to_bytes(8, "big"), held.label.left]
    return [[peer.raw for peer in held.peers], fills, label, held.delivery]


def _held(one: list[Any]) -> Held:
    peers, fills, (kind, request, left), delivery = one
    return Held(
        tuple(PeerId(raw) for raw in peers),
        tuple(Fill(s, payload, trigger, int.from_bytes(h, "big")) for s, payload, trigger, h in fills),
        Label(kind, int.from_bytes(request, "big"), left),
        delivery,
    )


def _joined(payload: Any) -> bytes:
    return b"".join(payload) if isinstance(payload, tuple) else bytes(payload)


def _inbound(inbound: Inbound) -> list[Any]:
    return [inbound.source.raw, inbound.kind, inbound.request.to_bytes(8, "big"), inbound.deadline]


def _revive_frame(engine: Engine, one: State) -> Frame:
    function, lane = engine.functions[one["function"]]
    inbound = None
    if one["inbound"] is not None:
        source, kind, request, deadline = one["inbound"]
        inbound = Inbound(PeerId(source), kind, int.from_bytes(request, "big"), deadline)
    plan = _plan(function, one["plan"])
    frame = engine.dispatcher.revive(lane, plan, ExecId(one["id"]), inbound, tuple(one["origin"]), one["state"])
    frame.outgoing = [_held(one) for one in one["outgoing"]] or None
    digest = origin_digest(*frame.origin)
    for key, kept in one["generators"].items():
        if kept is not None:
            engine.dispatcher.context.revive_generator(frame, key, digest, _philox(kept))
    return frame


def _plan(function: FunctionProgram, name: str) -> Plan:
    if name not in function.entries and name.startswith(INVOKE + ":"):
        return function.invoke_plan(tuple(name.removeprefix(INVOKE + ":").split(",")))
    return function.entries[name]


def _ended(engine: Engine) -> Frame:
    """A Frame that is over, for requests whose own is."""
    function, lane = next(iter(engine.functions.values()))
    plan = next(iter(function.entries.values()), None) or Plan("", function.table, (), (), 0, frozenset())
    return Frame(lane, plan, 0, None, (b"", "", 0))


# --- random numbers ---------------------------------------------------------------------------------------------------


def _generator(engine: Engine, frame: Frame, drawn: Any) -> State | None:
    """The state of a generator; before an open op that has drawn from it, as it was before that op."""
    promised = engine.laters.open.get((frame.exec_id, drawn.op))
    state = drawn.before if promised is not None and promised.is_open else drawn.generator.bit_generator.state
    if state is None:
        return None
    return {
        "counter": state["state"]["counter"],
        "key": state["state"]["key"],
        "buffer": state["buffer"],
        "rest": [state["buffer_pos"], state["has_uint32"], state["uinteger"]],
    }


def _philox(kept: State) -> dict[str, Any]:
    position, has_uint32, uinteger = kept["rest"]
    return {
        "bit_generator": "Philox",
        "state": {"counter": np.array(kept["counter"]), "key": np.array(kept["key"])},
        "buffer": np.array(kept["buffer"]),
        "buffer_pos": position,
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


# --- Laters and timers ------------------------------------------------------------------------------------------------


def _key(timer: Timer) -> Any:
    return [timer.key.frame.exec_id, timer.key.op] if timer.kind == "later" else timer.key


def _revive_laters(
    engine: Engine, state: State, frames: dict[int, Frame], timers: dict[tuple[int, int], Timer]
) -> None:
    engine.laters.enter()
    for number, op, is_open in state["laters"]:
        if is_open:
            engine.dispatcher.context.dispatch_again(frames[number], op, timers.get((number, op)))
        else:
            _answered(engine, frames[number], op, timers.get((number, op)))
    engine.laters.leave()
    for number, op, result, error in state["posted"]:
        promised = engine.laters.open[number, op]
        engine.laters.posted.append((promised, tuple(result) if isinstance(result, list) else result, error))


def _posted(engine: Engine) -> list[list[Any]]:
    """The answers that wait to be taken in; not one to a Frame that was cancelled since, which nobody would hear."""
    return [
        [p.frame.exec_id, p.op, result, error]
        for p, result, error in engine.laters.posted
        if engine.laters.open.get((p.frame.exec_id, p.op)) is p
    ]


def _answered(engine: Engine, frame: Frame, op: int, timer: Timer | None) -> None:
    """Put a Later back whose answer waits to be taken in."""
    promised = Promised(engine.laters, frame, op, frame.handlers[op].info.waits_for_others)
    promised.is_open = False
    if timer is not None:
        timer.key, promised.timer = promised, timer
        engine.timers.put(timer)
    promised.park(frame, op)
