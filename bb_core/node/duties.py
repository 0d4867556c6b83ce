"""What the Loop of a Node asks for now and then: checks of what comes in, and what a poll does only sometimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bb_core.engine.backpressure import Action, Cause
from bb_core.engine.dispatch import Loop
from bb_core.engine.engine import Engine, Route
from bb_core.errors import UnknownInput, UnknownModule, did_you_mean
from bb_core.ids import PeerId
from bb_core.node.config import NodeConfig
from bb_core.node.inputs import BLOCKED, TAKE
from bb_core.steps import BudgetSpent, PeerHeard, PollResult
from bb_core.types import Type, python_class

_LEAST_EACH: Final = 64  # Envelopes of one peer that may wait, however few may in all
_FRAME_BYTES: Final = 512  # what an open Frame takes at least, however small what began it was
_TOLD: Final = 16_384
"""Peers whose dropped Envelopes are counted each for itself between two polls, as many as an address book holds."""
_OF_MORE: Final = "of more peers than are told apart"


class Duties:
    """Those of one Node with one Engine."""

    def __init__(self, engine: Engine, targets: Sequence[str], config: NodeConfig) -> None:
        self._engine = engine
        self._targets = targets
        self._config = config
        self._most_each = config.peer_ingress or max(_LEAST_EACH, config.ingress // 4)
        self._most_bytes_each = config.peer_bytes or max(config.limits.total_bytes, config.ingress_bytes // 4)
        self.loop: Final = Loop(engine, TAKE, self, config.ingress, config.op_budget)
        self.loop.is_started = engine.is_started

    # --- of an invoke -------------------------------------------------------------------------------------------------

    def find(self, target: str, given: Mapping[str, Any]) -> Route:
        """Check an invoke that is made for the first time, and return what it begins."""
        if target not in self._targets:
            raise UnknownModule(f"the target {target!r} is not installed", hint=did_you_mean(target, self._targets))
        types = self._engine.program.functions[target].input_types
        check_inputs(target, types, given)
        if not given:
            raise UnknownInput(f"{target} was invoked without an input", expected=f"at least one of {sorted(types)}")
        return self._engine.route(target, (target, *given))

    def check(self, target: str, given: Mapping[str, Any]) -> None:
        """Refuse an invoke whose values are not of the declared types."""
        check_inputs(target, self._engine.program.functions[target].input_types, given)

    # --- of a poll ----------------------------------------------------------------------------------------------------

    def wake_up(self) -> None:
        """Begin the first poll, and take in what was dropped and what Laters have been answered since the last."""
        engine, loop = self._engine, self.loop
        self.tell_dropped()
        engine.laters.enter()
        if not engine.is_started:
            engine.start()
            loop.is_started = True
        answers = engine.laters.take()
        engine.laters.leave()
        if loop.recorder is not None:
            loop.recorder.answered(loop.now, answers)

    def result(self, more: bool) -> PollResult:
        """Make the result of a poll that somebody watches, that was cut short, or after which peers are judged."""
        engine, now = self._engine, self.loop.now
        dispatcher, health, overload = engine.dispatcher, engine.health, engine.overload
        if health.heap or health.recovered:
            engine.judge()
        if overload.is_troubled:
            self._relieve()
        steps = dispatcher.steps
        if more:
            steps.append(BudgetSpent(self._config.op_budget))
        dispatcher.steps = []
        if dispatcher.observer is not None:
            dispatcher.observer.polled(now, steps)
        if self.loop.recorder is not None:
            self.loop.recorder.polled(now, steps)
        return PollResult(steps, min((when for when, _ in self.wakeups()), default=None), more)

    def wakeups(self) -> list[tuple[int, str]]:
        """Return for what the Node wants to be woken, and when, in nanoseconds."""
        engine, now = self._engine, self.loop.now
        timer = engine.timers.next()
        judged, heard = engine.health.next_change(now), engine.overload.next_wakeup(now)
        found = [] if timer is None else [(timer.when, timer.reason)]
        if judged is not None:
            found.append((judged, "a peer that has been silent is judged"))
        if heard is not None:
            found.append((heard, "a peer that was silenced is heard again"))
        return found

    def tell_dropped(self) -> None:
        """Make one input of each peer's Envelopes that found no room, so that they are told of and recorded."""
        loop = self.loop
        for (source, reason), count in loop.dropped.items():
            loop.put("drop", loop.now, (source, reason, count))
        loop.dropped.clear()

    # --- of too much --------------------------------------------------------------------------------------------------

    def admits(self, source: PeerId, size: int, now: int) -> bool:
        """Whether a peer that sends so many bytes is heard; it may be told to wait."""
        engine, config = self._engine, self._config
        if not engine.governor.is_quiet and not engine.governor.is_allowed(source):
            self._drop(source, BLOCKED)
            return False
        if config.peer_rate is not None and not engine.rates.admits(source, config.peer_rate, now):
            self._drop(source, "it sends more in a second than one peer may")
            return False
        if self._has_too_much(source, size):
            self._drop(source, "more of this peer waits than one may have")
            return False
        dispatcher = engine.dispatcher
        held = self.loop.held + max(dispatcher.charged, _FRAME_BYTES * len(dispatcher.live)) + size
        if self.loop.waiting >= config.ingress or held > config.ingress_bytes:
            self._drop(source, "the Node has too much to take in")
            return False
        cause, load, capacity = self._load(size)
        overload = self._engine.overload
        verdict = overload.observe(source, load, capacity, now)
        if verdict.action is Action.NOTIFY:
            silent_until = overload.silent_until(source)
            self.loop.put("notify", now, (source, verdict.min_backoff_ns, cause.value, silent_until))
        return verdict.is_admitted

    def _has_too_much(self, source: PeerId, more: int) -> bool:
        """Whether a peer has as much waiting, and in open Frames, as one may, with so many bytes more."""
        sender, holder = self.loop.senders.get(source), self._engine.dispatcher.holders.get(source)
        count, held = (0, more) if sender is None else (sender.count, sender.held + more)
        if holder is not None:
            count, held = count + holder.frames, held + holder.charge
        return count >= self._most_each or held > self._most_bytes_each

    def _drop(self, source: PeerId, reason: str) -> None:
        dropped = self.loop.dropped
        if len(dropped) >= _TOLD and (source, reason) not in dropped:
            source, reason = self._engine.peer_id, _OF_MORE
        dropped[source, reason] = dropped.get((source, reason), 0) + 1

    def _relieve(self) -> None:
        """End the silences that have lasted long enough, now that something may have been taken in."""
        overload, now = self._engine.overload, self.loop.now
        _, load, capacity = self._load(0)
        overload.relieve(load, capacity, now)
        self._engine.steps.extend(PeerHeard(peer) for peer in overload.recovered(now))

    def _load(self, more: int) -> tuple[Cause, int, int]:
        """Say what of this Node is fullest, how much of it is used, with so many bytes more, and how much there is."""
        config, loop = self._config, self.loop
        waiting, held = loop.waiting + bool(more), loop.held + self._engine.dispatcher.charged + more
        if held * config.ingress > waiting * config.ingress_bytes:
            return Cause.BYTES, held, config.ingress_bytes
        return Cause.QUEUE, waiting, config.ingress


def check_inputs(what: str, types: Mapping[str, Type], given: Mapping[str, Any]) -> None:
    """Refuse inputs that something does not have, or whose values are of other types."""
    for name, value in given.items():
        if name not in types:
            raise UnknownInput(f"{what} has no input {name!r}", hint=did_you_mean(name, types))
        wanted = python_class(types[name])
        if wanted is not None and not isinstance(value, wanted):
            raise UnknownInput(
                f"the input {name!r} of {what} was given a {type(value).__name__}", expected=str(types[name])
            )
