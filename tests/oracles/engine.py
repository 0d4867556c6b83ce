"""One Node, slow and plain, written from DESIGN sections 6 and 9: values by name, and readiness by looking.

A Frame is a dict of values by name. After each write all ops are looked at; nothing is counted, compiled into tables or
handed on. What a Concrete does it does itself: the oracle has instances of its own, and gives them a plain `ctx`.

DESIGN leaves open which Frame goes first when several could go on: targets take turns, and how long a turn is must be
free to change. So the oracle does not guess. It is told the order in which the real Node has run ops, and follows it,
checking that each was lawful at its time:

* within a Frame, ops run in the order in which they became ready; those that one write makes ready, in order of the
  function (so the events of one Frame are compared exactly, and in order);
* a Frame begins its exclusive part when all exclusive slots of its entry are free, and no older Frame has been waiting
  for one of them since the Node last came to rest (so what an exclusive Concrete sees is compared exactly);
* nothing else decides: a poll that does not say `more` must leave nothing that could run.

Since the order across Frames is then given, all that a poll gives is compared as one list, with shared slots and named
queues in it. Without an order to follow, the oldest Frame that can go on does.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.ir.proto import attribute, attributes, control_inputs, data_inputs, metadata, order_inputs
from bb_core.ops.spec import Answer, OpSpec
from bb_core.ops.table import find_spec
from bb_core.values import TRIGGER, Composite

EXCLUSIVE: Final = frozenset({"model", "data_source", "codec"})
SOURCES: Final = {"Interval": "timer", "EventSource": "event", "LifecyclePhase": "lifecycle"}

Event = tuple[str, Any, ...]  # type: ignore[misc]  # a kind, then what belongs to it
Done = tuple[int, str, str]
"""An op that has begun: the Frame's id, the function, the op's name."""


class Unlawful(AssertionError):
    """The order that the oracle was told to follow breaks a rule."""


# --- the program ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlainOp:
    """One op of a function, as the artefact has it."""

    index: int
    node: onnx.NodeProto
    roles: Mapping[str, str]

    @cached_property
    def name(self) -> str:
        return str(self.node.name)

    @cached_property
    def kind(self) -> str:
        return str(self.node.op_type)

    @cached_property
    def spec(self) -> OpSpec | None:
        return find_spec(self.node.domain, self.kind)

    @cached_property
    def slot(self) -> str:
        return metadata(self.node).get(keys.SLOT, "")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.node)

    @cached_property
    def touched(self) -> tuple[str, ...]:
        extra = [self.attributes[s.name] for s in (self.spec.slots if self.spec else ())]
        return tuple(dict.fromkeys([self.slot, *extra])) if self.slot else ()

    @cached_property
    def exclusive(self) -> bool:
        return any(self.roles[s] in EXCLUSIVE for s in self.touched)

    @cached_property
    def takes_one(self) -> bool:
        return self.spec is not None and self.spec.any_of

    @cached_property
    def waits_outside(self) -> bool:
        """Whether it waits for peers or for a time, and not for work on this Node."""
        return self.spec is not None and self.spec.answer in (Answer.NETWORK, Answer.TIME)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        return tuple(data_inputs(self.node))

    @cached_property
    def controls(self) -> frozenset[str]:
        return frozenset(control_inputs(self.node))

    @cached_property
    def order(self) -> frozenset[str]:
        """Values whose makers must be over before it runs."""
        return frozenset(order_inputs(self.node))

    @cached_property
    def reads(self) -> frozenset[str]:
        """Values that it cannot run without."""
        return frozenset(filter(None, self.arguments)) | self.controls - self.order

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.node.output)

    @cached_property
    def begins(self) -> str:
        return SOURCES.get(self.kind, "") if self.node.domain == keys.SYSCALL else ""

    @cached_property
    def watches(self) -> bool:
        return self.kind == "OnFailure" and self.node.domain == keys.SYSCALL


class PlainFunction:
    """One target: its ops in order, its inputs, and the values that every Frame has."""

    def __init__(self, proto: onnx.FunctionProto, roles: Mapping[str, str]) -> None:
        self.name = str(proto.name)
        self.inputs = tuple(proto.input)
        fixed = [n for n in proto.node if n.op_type == "Constant" and not n.domain]
        self.constants = {n.output[0]: attribute(n, "value") for n in fixed}
        self._entries: dict[frozenset[str], frozenset[int]] = {}
        self.ops = [PlainOp(i, n, roles) for i, n in enumerate(n for n in proto.node if n not in fixed)]

    @cached_property
    def makers(self) -> dict[str, PlainOp]:
        """Which op writes a value."""
        return {v: op for op in self.ops for v in op.outputs if v}

    @cached_property
    def read(self) -> set[str]:
        """Values that some op needs."""
        return {v for op in self.ops for v in op.reads}

    @cached_property
    def passive(self) -> set[str]:
        """Values that need nothing from outside: constants, and what is made of those alone."""
        still = set(self.constants)
        for op in self.ops:
            if not op.begins and not op.watches and op.reads <= still:
                still |= {v for v in op.outputs if v}
        return still

    def entry(self, seeds: frozenset[str]) -> frozenset[int]:
        """Which ops belong to an entry: all that its seeds reach, and what those need that needs nothing itself."""
        if seeds not in self._entries:
            self._entries[seeds] = self._reach(seeds)
        return self._entries[seeds]

    def _reach(self, seeds: frozenset[str]) -> frozenset[int]:
        alive, found = set(seeds), set()
        for op in self.ops:
            asked = [v for v in op.reads if v not in self.passive]
            if op.begins or not asked:
                continue
            if (any if op.takes_one else all)(v in alive for v in asked):
                found.add(op.index)
                alive |= set(op.outputs)
        for op in reversed(self.ops):
            read = {v for i in found for v in self.ops[i].reads}
            if not op.begins and set(op.outputs) & read & self.passive:
                found.add(op.index)
        return frozenset(found)

    def upstream(self, value: str) -> set[int]:
        """The ops that a value needs."""
        found: set[int] = set()
        queue = [value]
        while queue:
            op = self.makers.get(queue.pop())
            if op is not None and op.index not in found:
                found.add(op.index)
                queue += op.reads
        return found


# --- what runs --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class PlainFrame:
    """One execution of one entry."""

    exec_id: int
    function: PlainFunction
    entry: frozenset[int]
    values: dict[str, Any]
    """By name, in the order in which they were written."""
    ready: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Ops that have been ready."""
    ended: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Ops that have ended, and those that never run since what they need is never made."""
    open: dict[int, PlainLater] = field(default_factory=dict)
    holds: bool = False
    waited: bool = False
    """It wanted its exclusive slots when the Node last came to rest."""
    over: bool = False

    @cached_property
    def claims(self) -> frozenset[str]:
        """The exclusive slots of its entry."""
        ops = [self.function.ops[i] for i in self.entry]
        return frozenset(s for op in ops if op.exclusive for s in op.touched)

    @property
    def next(self) -> PlainOp | None:
        """The op that is to run first."""
        return self.function.ops[self.ready[0]] if self.ready else None

    @property
    def wants(self) -> bool:
        """Whether it can only go on with its exclusive slots, and does not hold them."""
        return self.next is not None and self.next.exclusive and not self.holds

    def look(self) -> None:
        """Look at every op, and list those that have become ready."""
        for op in self.function.ops:
            if op.index in self.entry and op.index not in self.seen and not op.watches and self._is_ready(op):
                self.seen.add(op.index)
                self.ready.append(op.index)

    def _is_ready(self, op: PlainOp) -> bool:
        ahead = {self.function.makers[v].index for v in op.order} & self.entry
        if not ahead <= self.gone:
            return False
        if op.takes_one:
            return op.controls <= self.values.keys() and any(v in self.values for v in op.arguments)
        return op.reads <= self.values.keys()

    def write(self, name: str, item: Any) -> None:
        """Write a value."""
        if name:
            self.values[name] = item
            self.look()

    def end(self, op: PlainOp) -> None:
        """Take in that an op has run, or failed."""
        self.ended.add(op.index)
        self.gone.add(op.index)
        self.look()

    def forsake(self, op: PlainOp) -> None:
        """Take in that an op has not made all its outputs: who needs one is over, and who needs theirs."""
        queue, found = [v for v in op.outputs if v not in self.values], set()
        while queue:
            value = queue.pop(0)
            for reader in self.function.ops:
                lacks = value in reader.reads and not reader.takes_one and not reader.watches
                if lacks and reader.index not in found:
                    found.add(reader.index)
                    queue += reader.outputs
                    self.gone.add(reader.index)
                    self.look()

    def lets_go(self) -> bool:
        """Whether it has no more use for its exclusive slots, or none for now."""
        exclusive = {i for i in self.entry if self.function.ops[i].exclusive}
        outside = all(self.function.ops[i].waits_outside for i in self.open)
        return exclusive <= self.ended or (not self.ready and outside)


@dataclass(eq=False)
class PlainLater:
    """An op's promise."""

    node: PlainNode
    frame: PlainFrame
    op: PlainOp
    on_deadline: Callable[[Any], None] | None = None
    on_cancel: Callable[[], None] | None = None
    timer: PlainTimer | None = None
    is_open: bool = True
    early: tuple[Any, BaseException | None] | None = None

    def complete(self, *outputs: Any) -> None:
        if self.is_open:
            self.node._post(self, outputs[0] if len(outputs) == 1 else (outputs or None), None)

    def fail(self, error: BaseException) -> None:
        if self.is_open:
            self.node._post(self, None, error)


@dataclass(eq=False)
class PlainTimer:
    """What is due at a time: a tick of a source, or the deadline of a Later."""

    when: int
    of: PlainLater | tuple[PlainFunction, PlainOp]


class PlainContext:
    """What a Concrete is given."""

    def __init__(self, node: PlainNode, frame: PlainFrame, op: PlainOp, told: Any) -> None:
        self._node, self._frame, self._op = node, frame, op
        self.now, self.exec_id, self.slot, self.peer_id = node.now, frame.exec_id, op.slot, node.peer_id
        self.rng = Told(told)

    def later(
        self,
        deadline: int | None = None,
        on_deadline: Callable[[Any], None] | None = None,
        missing: Any = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> PlainLater:
        made = PlainLater(self._node, self._frame, self._op, on_deadline, on_cancel)
        if deadline is not None:
            made.timer = self._node._set_timer(self.now + deadline, made)
        self._node.fresh.append(made)
        return made

    def publish(self, kind: str) -> None:
        self._node._begin_sources("event", kind)


class Told:
    """Random numbers are the engine's own affair: the oracle takes what it has drawn, and asks for numbers."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def random(self) -> float:
        return 0.0 if self._told is None else float(np.asarray(self._told).reshape(-1)[0])


@dataclass
class Order:
    """The ops that the Node has begun in one poll, in order: which, with what, and what came back at once."""

    done: deque[Done] = field(default_factory=deque)
    inputs: deque[tuple[Any, ...]] = field(default_factory=deque)
    outputs: deque[Any] = field(default_factory=deque)


class PlainNode:
    """A Node, slow and plain.

    Args:
        artefact: What `Compiler.compile` returned.
        targets: Which of its functions run here.
        peer_id: Given to Concretes as it is.
        components: An instance of a Concrete by slot.
        budget: How many ops and timers one poll may run.
        equal: Says whether two values are the same; inputs of ops are compared by it.
    """

    def __init__(
        self,
        artefact: onnx.ModelProto,
        targets: Sequence[str],
        peer_id: Any,
        components: Mapping[str, Any],
        budget: int = 100_000,
        equal: Callable[[Any, Any], bool] = lambda a, b: True,
    ) -> None:
        bindings = json.loads(metadata(artefact)[keys.BINDINGS])
        roles = {slot: binding["role"] for slot, binding in bindings.items()}
        found = {f.name: PlainFunction(f, roles) for f in artefact.functions}
        self.functions = {name: found[name] for name in targets}
        self.roles, self.components, self.peer_id, self.budget = roles, components, peer_id, budget
        self.equal = equal
        self.now = 0
        self.started = False
        self.frames: dict[int, PlainFrame] = {}
        self.last_exec = 0
        self.inputs: deque[tuple[int, Callable[[], None]]] = deque()
        self.answers: deque[tuple[PlainLater, Any, BaseException | None]] = deque()
        self.fresh: list[PlainLater] = []
        self.timers: list[PlainTimer] = []
        """In the order in which they were set."""
        self.polling = False
        self.events: list[Event] = []
        self.inside: Counter[str] = Counter()
        self.queues: dict[str, list[Any]] = {}
        self.stash: dict[str, Any] = {}
        self.rings: dict[str, list[Any]] = {}
        self.counters: Counter[str] = Counter()
        self.tallies: Counter[str] = Counter()
        self.groups: set[str] = set()
        self.tokens: set[int] = set()

    # --- what comes from outside --------------------------------------------------------------------------------------

    def _take(self, now: int, what: Callable[[], None]) -> None:
        self.now = max(self.now, now)
        self.inputs.append((self.now, what))

    def _next_exec(self) -> int:
        self.last_exec += 1
        return self.last_exec

    def invoke(self, target: str, inputs: Mapping[str, Any], now: int) -> int:
        exec_id = self._next_exec()
        given = dict(inputs)
        self._take(now, lambda: self._begin(self.functions[target], given, exec_id))
        return exec_id

    def publish(self, kind: str, now: int) -> None:
        self._take(now, lambda: self._begin_sources("event", kind))

    def fire_lifecycle(self, phase: str, now: int) -> None:
        def fire() -> None:
            self.events.append(("lifecycle", phase))
            self._begin_sources("lifecycle", phase)

        self._take(now, fire)

    def cancel(self, exec_id: int, now: int) -> None:
        self._take(now, lambda: self._cancel(exec_id))

    def records(self, name: str) -> list[Any]:
        return self.rings.get(name, [])[-1024:]

    def _cancel(self, exec_id: int) -> None:
        frame = self.frames.pop(exec_id, None)
        if frame is not None:
            frame.over, frame.holds = True, False
            for later in list(frame.open.values()):
                self._close(later)

    def _close(self, later: PlainLater) -> None:
        """Nobody waits for it any more."""
        later.is_open = False
        self._unset(later)
        if later.on_cancel is not None:
            later.on_cancel()

    # --- polling ------------------------------------------------------------------------------------------------------

    def poll(self, now: int, order: Order | None = None) -> list[Event]:
        """Do what can be done at a time; what was done is counted, and a poll stops at the budget."""
        self.now = max(self.now, now)
        self.polling = True
        for later, result, error in self._drain():
            self._settle(later, result, error)
        if not self.started:
            self._start()
        self.left = self.budget
        while True:
            self._take_in()
            while self.left > 0 and (frame := self._choose(order)) is not None:
                self._run(frame, order)
            due = self._due()
            if self.left <= 0 or due is None:
                break
            self._fire(due)
        if order is not None and order.done:
            raise Unlawful(f"{order.done[0]} has run, and could not have")
        self._rest()
        self.polling = False
        given, self.events = self.events, []
        return given

    @property
    def next_wakeup(self) -> int | None:
        return min((t.when for t in self.timers), default=None)

    def has_more(self) -> bool:
        """Whether there is something to do at this time."""
        return bool(self.inputs or self._due() or any(self._may_go(f) for f in self.frames.values()))

    def _drain(self) -> Iterator[tuple[PlainLater, Any, BaseException | None]]:
        for _ in range(len(self.answers)):
            yield self.answers.popleft()

    def _rest(self) -> None:
        """Take note of who waits for exclusive slots when everyone who could has gone on."""
        if not self.has_more():
            for frame in self.frames.values():
                frame.waited = frame.wants

    def _take_in(self) -> None:
        """What came before a deadline counts."""
        while self.inputs and ((due := self._due()) is None or self.inputs[0][0] <= due.when):
            self.inputs.popleft()[1]()

    def _choose(self, order: Order | None) -> PlainFrame | None:
        able = [f for f in self.frames.values() if self._may_go(f)]
        if order is None or not able:
            return min(able, key=lambda f: f.exec_id, default=None)
        if not order.done:
            raise Unlawful(f"{[(f.exec_id, f.next.name) for f in able if f.next]} could have run, and did not")
        exec_id, function, name = order.done[0]
        frame = self.frames.get(exec_id)
        if frame is None or frame.function.name != function:
            raise Unlawful(f"{name} has run in Frame {exec_id} of {function}, which is not there")
        if frame.next is None or frame.next.name != name:
            raise Unlawful(f"{name} has run in Frame {exec_id}, where {frame.next and frame.next.name} was next")
        if not self._is_lawful(frame):
            raise Unlawful(f"{name} has run in Frame {exec_id}, which could not have {sorted(frame.claims)}")
        return frame

    def _is_free(self, frame: PlainFrame) -> bool:
        return not any(f.holds and f is not frame and f.claims & frame.claims for f in self.frames.values())

    def _may_go(self, frame: PlainFrame) -> bool:
        """Whether a Frame can go on when everyone who wants exclusive slots has asked for them."""
        if frame.next is None:
            return False
        older = [f for f in self.frames.values() if f.exec_id < frame.exec_id and f.wants]
        return not frame.wants or (self._is_free(frame) and not any(f.claims & frame.claims for f in older))

    def _is_lawful(self, frame: PlainFrame) -> bool:
        """Whether a Frame may go on, if some have not asked yet."""
        older = [f for f in self.frames.values() if f.exec_id < frame.exec_id and f.wants and f.waited]
        return not frame.wants or (self._is_free(frame) and not any(f.claims & frame.claims for f in older))

    def _start(self) -> None:
        self.started = True
        for function in self.functions.values():
            for op in function.ops:
                if op.begins == "timer":
                    self._set_timer(self.now + op.attributes["period"], (function, op))

    # --- timers -------------------------------------------------------------------------------------------------------

    def _set_timer(self, when: int, of: PlainLater | tuple[PlainFunction, PlainOp]) -> PlainTimer:
        self.timers.append(PlainTimer(when, of))
        return self.timers[-1]

    def _unset(self, later: PlainLater) -> None:
        if later.timer in self.timers:
            self.timers.remove(later.timer)

    def _due(self) -> PlainTimer | None:
        due = [t for t in self.timers if t.when <= self.now]
        return min(due, key=lambda t: t.when, default=None)  # the first that was set, among equals

    def _fire(self, timer: PlainTimer) -> None:
        self.left -= 1
        self.timers.remove(timer)
        if isinstance(timer.of, PlainLater):
            self._expire(timer.of)
            return
        function, op = timer.of
        period = op.attributes["period"]
        last = timer.when + (self.now - timer.when) // period * period
        self._set_timer(last + period, timer.of)
        self._begin(function, {op.outputs[0]: np.asarray(last, np.int64)})

    def _expire(self, later: PlainLater) -> None:
        if later.on_deadline is not None:
            later.on_deadline(PlainContext(self, later.frame, later.op, None))
        if later.is_open:
            later.fail(TimeoutError("did not answer by its deadline"))
            if later.on_cancel is not None:
                later.on_cancel()

    # --- Frames -------------------------------------------------------------------------------------------------------

    def _begin_sources(self, kind: str, key: str) -> None:
        for function in self.functions.values():
            for op in function.ops:
                if op.begins == kind and key in (op.attributes.get("kind"), op.attributes.get("phase")):
                    self._begin(function, {op.outputs[0]: TRIGGER})

    def _begin(self, function: PlainFunction, seeds: Mapping[str, Any], exec_id: int | None = None) -> None:
        entry = function.entry(frozenset(seeds))
        number = self._next_exec() if exec_id is None else exec_id
        frame = self.frames[number] = PlainFrame(number, function, entry, dict(function.constants))
        frame.look()
        for name, item in seeds.items():
            frame.write(name, item)
        self._tidy(frame)

    def _tidy(self, frame: PlainFrame) -> None:
        """End a Frame in which nothing is ready or open; let go of what it does not need."""
        if not frame.ready and not frame.open:
            frame.over = True
            self.frames.pop(frame.exec_id, None)
        if frame.over or frame.lets_go():
            frame.holds = False

    def _run(self, frame: PlainFrame, order: Order | None) -> None:
        self.left -= 1
        op = frame.function.ops[frame.ready.pop(0)]
        given = tuple(frame.values.get(v) if v else None for v in op.arguments)
        told = None
        if order is not None:
            order.done.popleft()
            inputs, told = order.inputs.popleft(), order.outputs.popleft()
            if not self.equal(inputs, given):
                raise Unlawful(f"{op.name} of Frame {frame.exec_id} was given {inputs}, expected {given}")
        if op.exclusive:
            frame.holds, frame.waited = True, False
        try:
            result = self._call(frame, op, given, told)
            if isinstance(result, PlainLater):
                frame.open[op.index] = result
                self.fresh.remove(result)
                if result.early is not None:
                    self._settle(result, *result.early)
                self._tidy(frame)
                return
            self._write(frame, op, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a Concrete may raise anything
            self._failed(frame, op, error)
        while self.fresh:  # made, and not returned
            later = self.fresh.pop(0)
            if later.is_open:
                self._close(later)
        frame.end(op)
        self._tidy(frame)

    def _write(self, frame: PlainFrame, op: PlainOp, result: Any) -> None:
        results = _outputs(op, result)
        for name, item in zip(op.outputs, results, strict=True):
            if item is not None:
                frame.write(name, item)
        if any(item is None and name in frame.function.read for name, item in zip(op.outputs, results, strict=True)):
            frame.forsake(op)

    def _failed(self, frame: PlainFrame, op: PlainOp, error: BaseException) -> None:
        role = self.roles[op.slot] if op.slot else ""
        self.events.append(("failed", frame.function.name, op.kind, op.slot, role, frame.exec_id, str(error)))
        for watch in frame.function.ops:
            waits = watch.watches and watch.index in frame.entry and watch.outputs[0] not in frame.values
            if waits and op.index in frame.function.upstream(watch.arguments[0]):
                frame.write(watch.outputs[0], TRIGGER)
        frame.forsake(op)

    # --- Laters -------------------------------------------------------------------------------------------------------

    def _post(self, later: PlainLater, result: Any, error: BaseException | None) -> None:
        later.is_open = False
        if not self.polling:
            self.answers.append((later, result, error))
        elif later.op.index in later.frame.open:
            self._settle(later, result, error)
        else:
            later.early = (result, error)

    def _settle(self, later: PlainLater, result: Any, error: BaseException | None) -> None:
        frame, op = later.frame, later.op
        self._unset(later)
        if frame.over:
            return
        del frame.open[op.index]
        try:
            if error is not None:
                raise error
            self._write(frame, op, result)
        except KeyboardInterrupt:
            raise
        except BaseException as found:  # a Concrete may answer, or raise, anything
            self._failed(frame, op, found)
        frame.end(op)
        self._tidy(frame)

    # --- ops ----------------------------------------------------------------------------------------------------------

    def _call(self, frame: PlainFrame, op: PlainOp, given: tuple[Any, ...], told: Any) -> Any:
        if op.slot and op.node.domain == keys.ONNX:
            return self.components[op.slot].kernel(op.kind, op.attributes)(*given)
        ctx = PlainContext(self, frame, op, told)
        if op.slot:
            assert op.spec is not None
            slots = [self.components[op.attributes[s.name]] for s in op.spec.slots]
            keywords = {a.name: op.attributes.get(a.name, a.default) for a in op.spec.attributes}
            return getattr(self.components[op.slot], op.spec.method)(ctx, *slots, *given, **keywords)
        return self._BODIES[op.kind](self, ctx, *given)

    def _again(self, ctx: PlainContext, value: Any) -> None:
        self._begin(ctx._frame.function, {ctx._op.attributes["port"]: value})

    def _sleep(self, ctx: PlainContext, value: Any) -> PlainLater:
        wait = ctx._op.attributes["delay" if ctx._op.kind == "After" else "duration"]
        later = ctx.later(wait, lambda _: later.complete(value))
        return later

    def _first(self, ctx: PlainContext, *values: Any) -> Any:
        """The first that was written, if its group has let nothing through."""
        group = ctx._op.attributes.get("group", "")
        if group and group in self.groups:
            return None
        self.groups.add(group)
        arguments = ctx._op.arguments
        return next(item for name, item in ctx._frame.values.items() if name in arguments)

    def _race(self, ctx: PlainContext, *values: Any) -> Any:
        then, timeout = ctx._op.arguments
        first = next(name for name in ctx._frame.values if name in (then, timeout))
        return (TRIGGER, None) if first == then else (None, TRIGGER)

    def _threshold(self, ctx: PlainContext, value: Any) -> Any:
        name = ctx._op.attributes.get("name") or f"{ctx._frame.function.name}/{ctx._op.name}"
        self.tallies[name] += 1
        if self.tallies[name] < ctx._op.attributes["n"]:
            return None
        self.tallies[name] = 0
        return TRIGGER

    def _acquire(self, ctx: PlainContext, value: Any) -> Any:
        name = ctx._op.attributes.get("name", "")
        if self.inside[name] >= ctx._op.attributes.get("n", 1):
            return None
        self.inside[name] += 1
        return TRIGGER

    def _release(self, ctx: PlainContext, value: Any) -> Any:
        name = ctx._op.attributes.get("name", "")
        self.inside[name] = max(0, self.inside[name] - 1)
        return TRIGGER

    def _enqueue(self, ctx: PlainContext, value: Any) -> Any:
        self.queues.setdefault(ctx._op.attributes.get("queue", ""), []).append(value)
        return TRIGGER

    def _dequeue(self, ctx: PlainContext, value: Any) -> Any:
        queue = self.queues.get(ctx._op.attributes.get("queue", ""))
        return queue.pop(0) if queue else None

    def _put_away(self, ctx: PlainContext, value: Any) -> Any:
        self.stash[ctx._op.attributes.get("slot", "")] = value
        return TRIGGER

    def _flush(self, ctx: PlainContext, value: Any) -> Any:
        return self.stash.pop(ctx._op.attributes.get("slot", ""), None)

    def _record(self, ctx: PlainContext, value: Any) -> Any:
        self.rings.setdefault(ctx._op.attributes["name"], []).append(value)
        return TRIGGER

    def _count(self, ctx: PlainContext, value: Any) -> Any:
        self.counters[ctx._op.attributes["name"]] += ctx._op.attributes.get("delta", 1)
        return TRIGGER

    def _emit(self, ctx: PlainContext, port: str, value: Any) -> None:
        self.events.append(("event", ctx._frame.function.name, port, value, ctx.exec_id))

    def _output(self, ctx: PlainContext, value: Any) -> Any:
        self._emit(ctx, ctx._op.outputs[0], value)
        return value

    def _app_emit(self, ctx: PlainContext, value: Any) -> Any:
        self._emit(ctx, ctx._op.attributes["name"], value)
        return TRIGGER

    def _app_notify(self, ctx: PlainContext, value: Any) -> Any:
        self._emit(ctx, ctx._op.attributes["name"], TRIGGER)
        return TRIGGER

    def _tag(self, ctx: PlainContext, *values: Any) -> Any:
        """A number that was not given before: the engine's own, if there is one to follow."""
        told = ctx.rng._told
        token = len(self.tokens) + 1 if told is None else int(told)
        assert token not in self.tokens, f"the token {token} was given before"
        self.tokens.add(token)
        return np.asarray(token, np.uint64)

    def _random(self, ctx: PlainContext, *values: Any) -> Any:
        return np.asarray(0 if ctx.rng._told is None else ctx.rng._told, np.uint64)

    def _unbundle(self, ctx: PlainContext, bundle: Composite) -> Any:
        parts = tuple(bundle)
        return parts if len(parts) > 1 else parts[0]

    _BODIES: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "Gate": lambda self, ctx, value: value,
        "PassThrough": lambda self, ctx, value: value,
        "Tee": lambda self, ctx, value: (value,) * len(ctx._op.outputs) if len(ctx._op.outputs) > 1 else value,
        "Pulse": lambda self, ctx: TRIGGER,
        "OnTrigger": lambda self, ctx, value: TRIGGER,
        "All": lambda self, ctx, *values: TRIGGER,
        "Any": _first,
        "DeadlineMatch": _race,
        "Threshold": _threshold,
        "Limit.Acquire": _acquire,
        "Limit.Release": _release,
        "Serialize.Enqueue": _enqueue,
        "Serialize.Dequeue": _dequeue,
        "Hold.Stash": _put_away,
        "Hold.Flush": _flush,
        "Again": _again,
        "Sleep": _sleep,
        "After": _sleep,
        "Clock": lambda self, ctx, *values: np.asarray(self.now, np.int64),
        "RngU64": _random,
        "CorrelateTag": _tag,
        "Record": _record,
        "IncrMetric": _count,
        "Output": _output,
        "AppEmit": _app_emit,
        "AppNotify": _app_notify,
        "Cast": lambda self, ctx, value: value.astype(_DTYPES[t.named(ctx._op.attributes["to"])]),
        "Bundle": lambda self, ctx, *parts: Composite(parts),
        "Unbundle": _unbundle,
        "Stack": lambda self, ctx, bundle: np.stack(bundle),
    }


_DTYPES: Final = {t.f32: np.float32, t.f64: np.float64, t.i64: np.int64}


def _outputs(op: PlainOp, result: Any) -> tuple[Any, ...]:
    """What an op has returned, output by output; None stands for a Trigger where nothing else is declared."""
    optional = [p.optional for p in op.spec.outputs] if op.spec is not None else []
    if result is None and not any(optional):
        return (TRIGGER,) * len(op.outputs)
    results = (result,) if len(op.outputs) == 1 else result
    if not isinstance(results, tuple) or len(results) != len(op.outputs):
        raise TypeError("returned")
    for item in results:
        if type(item) in (str, tuple):  # no port is declared as either, though a Composite is a tuple
            raise TypeError(f"returned a {type(item).__name__}")
    return tuple(np.asarray(item) if isinstance(item, np.generic) else item for item in results)
