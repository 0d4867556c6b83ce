"""Random programs on one Node, driven by random hosts, against the plain interpreter of `tests.oracles.engine`."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import onnx
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import bb_core as bb
from bb_core import steps
from bb_core.errors import BBError, TypeSolveError
from bb_core.ids import ExecId
from bb_core.steps import Step
from tests.oracles.engine import Event, Order, PlainNode
from tests.support import NumpyBackend, peer

SNAPSHOTS: Final = True
"""Whether a run restores Nodes, from whole snapshots and from increments."""
RECORDING: Final = True
"""Whether a run is recorded, and replayed at its end."""

SECOND: Final = 10**9
TARGETS: Final = ("Program", "Program@client")
s = bb.syscalls

Key = tuple[str, int, str]
"""An open Later: slot, Frame, method."""


# --- Concretes --------------------------------------------------------------------------------------------------------


class Keeping:
    """What both Concretes have: a log of what they were asked, and their open Laters by Frame and method."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.log: list[str] = []
        self.open: dict[tuple[int, str], Any] = {}
        self.answered = 0
        self.drawn: dict[str, float] = {}

    def later(self, ctx: Any, method: str, deadline: int | None = None) -> Any:
        key = (int(ctx.exec_id), method)
        assert key not in self.open or not self.open[key].is_open, key  # in a replay the log answers
        self.open[key] = ctx.later(deadline, on_cancel=lambda: self.open.pop(key))
        return self.open[key]

    def noted(self, text: str) -> None:
        self.log.append(text)


class Panic(BaseException):
    """No `Exception`, as what an extension in Rust raises when it panics."""


@bb.concrete("tests.Ledger")
class Ledger(Keeping, bb.roles.Model):
    """An exclusive Concrete: one vector. Some of its ops answer later, some fail."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.value = np.arange(400, dtype=np.float32)

    def snapshot(self) -> bb.State:
        return {
            "value": self.value.copy(),
            "log": list(self.log),
            "answered": self.answered,
            "drawn": dict(self.drawn),
            "nested": {"mark": b"\x00\xff", "counts": [1, 2.5, "three", np.arange(3)]},
        }

    def restore(self, state: bb.State) -> None:
        assert state["nested"]["mark"] == b"\x00\xff"
        assert state["nested"]["counts"][3].tolist() == [0, 1, 2]
        self.value, self.log = np.array(state["value"]), list(state["log"])
        self.answered, self.drawn = state["answered"], dict(state["drawn"])

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        self.noted(f"load {_brief(params)}")
        self.value = np.array(params)

    def params(self, ctx: bb.Context) -> bb.Tensor:
        self.noted("params")
        return self.value.copy()

    def apply_delta(self, ctx: bb.Context, delta: bb.Tensor) -> None:
        self.noted(f"delta {_brief(delta)}")
        if float(delta[0]) < 0:
            raise Panic(f"a negative delta {_brief(delta)}")
        self.value = self.value + delta[0]

    def zero_grad(self, ctx: bb.Context) -> None:
        later = self.later(ctx, "zero_grad")
        self.noted("zero")
        self.value = self.value + 1
        self.drawn[f"zero {ctx.exec_id}"] = float(ctx.rng.random())
        return later  # type: ignore[no-any-return]

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        later = self.later(ctx, "loss_grad", 5 * SECOND)
        self.noted(f"loss {_brief(prediction)} {_brief(labels)}")
        return later  # type: ignore[no-any-return]

    def compute_loss(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> bb.Tensor:
        later = ctx.later(SECOND)
        self.noted("early")
        later.complete(prediction + self.value[0])
        return later  # type: ignore[return-value]

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        self.noted(f"forward {_brief(batch)}")
        return batch + self.value[:1]

    def grads(self, ctx: bb.Context) -> bb.Tensor:
        self.noted("grads")
        return "text"  # type: ignore[return-value]

    def delta(self, ctx: bb.Context) -> bb.Tensor:
        self.noted("drawn")
        return np.full(1, ctx.rng.random(), np.float32)

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        later = self.later(ctx, "train_epochs")
        batch, _, _ = data.next_batch(ctx)
        self.noted(f"train {_brief(batch)}")
        return later  # type: ignore[no-any-return]


@bb.concrete("tests.Pages")
class Pages(bb.roles.DataSource):
    """An exclusive Concrete that counts."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.page = 0
        self.log: list[str] = []
        self.open: dict[tuple[int, str], Any] = {}

    def snapshot(self) -> bb.State:
        return {"page": self.page, "log": list(self.log)}

    def restore(self, state: bb.State) -> None:
        self.page, self.log = state["page"], list(state["log"])

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        self.page += 1
        self.log.append(f"page {self.page}")
        return np.full(1, self.page, np.float32), np.zeros(1, np.int64), bb.Record(num_samples=1)


@bb.concrete("tests.Shelf")
class Shelf(Keeping, bb.roles.Index):
    """A shared Concrete: a sum."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.total = 0.0

    def snapshot(self) -> bb.State:
        return {"total": self.total, "log": list(self.log), "answered": self.answered}

    def restore(self, state: bb.State) -> None:
        self.total, self.log, self.answered = state["total"], list(state["log"]), state["answered"]

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        self.noted(f"add {_brief(vectors)} {'with' if ids is not None else 'without'}")
        self.total += float(vectors[0])
        return np.full(1, self.total, np.float32)

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        return self.later(ctx, "search", 3 * SECOND if k > 1 else None)  # type: ignore[no-any-return]

    def size(self, ctx: bb.Context) -> bb.Tensor:
        self.noted("size")
        ctx.publish("full")
        return np.full(1, len(self.log), np.float32)

    def remove(self, ctx: bb.Context, ids: bb.Tensor) -> None:
        self.noted("remove")
        raise KeyError("nothing is there")


def _brief(value: Any) -> str:
    return f"{float(value[0]):g}x{len(value)}"


BINDINGS: Final[Mapping[str, Any]] = {
    "ledger": Ledger,
    "other": Ledger,
    "pages": Pages,
    "shelf": Shelf,
    "backend": NumpyBackend,
}


# --- programs ---------------------------------------------------------------------------------------------------------

Values = list[Any]


@dataclass
class Root:
    """What one kind of Frame has: tensors and triggers, and the class of peers where it runs."""

    name: str
    tensors: Values
    triggers: Values
    home: str = ""

    def tensor(self, i: int) -> Any:
        return self.tensors[i % len(self.tensors)]

    def trigger(self, i: int) -> Any:
        return self.triggers[i % len(self.triggers)]

    def after(self, j: int) -> Any:
        """Something to wait for, in one case of four."""
        return self.trigger(j) if j % 4 == 3 else None


class Program(bb.Module):
    """Plays a list of numbers as steps."""

    ledger = bb.ModelSlot()
    other = bb.ModelSlot()
    pages = bb.DataSourceSlot()
    shelf = bb.IndexSlot()
    backend = bb.BackendSlot()

    def __init__(self, plan: Sequence[tuple[int, int, int, int]]) -> None:
        self.plan = plan

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32["N"]), g.input("y", bb.f32["M"])
        go = g.input("go", bb.types.TRIGGER)
        tick = s.interval(g, period="7s")
        roots = [
            Root("inputs", [x, y], [go]),
            Root("tick", [g.cast(tick, bb.f32)], [s.on_trigger(g, tick)]),
            self._event(g, "disk", ""),
            self._event(g, "full", ""),
        ]
        with g.place(on="client"):
            late = s.interval(g, period="11s")
            roots += [
                Root("late", [g.cast(late, bb.f32)], [s.on_trigger(g, late)], "client"),
                self._event(g, "disk", "client"),
                self._event(g, "shutdown", "client"),
            ]
        self.count = 0
        for kind, where, i, j in self.plan:
            root = roots[(0, 0, 0, 0, 1, 2, 3, 4, 5, 6)[where % 10]]
            STEPS[kind % len(STEPS)](self, g, root, i, j)
        for root in roots:
            for value in (root.tensors[-1], root.triggers[-1]):
                self._tell(g, value)

    def _event(self, g: bb.Graph, kind: str, home: str) -> Root:
        event = s.lifecycle(g, phase=kind) if kind == "shutdown" else s.event_source(g, kind=kind)
        return Root(kind, [g.cast(s.clock(g, event), bb.f32)], [event], home)

    def _tell(self, g: bb.Graph, value: Any) -> None:
        self.count += 1
        g.output(f"y{self.count}", value)

    def model(self, i: int) -> Any:
        return self.ledger if i % 3 else self.other


Play = Callable[[Program, bb.Graph, Root, int, int], None]


def tensor(make: Callable[[Program, bb.Graph, Root, int, int], Any]) -> Play:
    """A step that gives one tensor."""
    return lambda p, g, r, i, j: r.tensors.append(make(p, g, r, i, j))


def trigger(make: Callable[[Program, bb.Graph, Root, int, int], Any]) -> Play:
    """A step that gives one trigger."""
    return lambda p, g, r, i, j: r.triggers.append(make(p, g, r, i, j))


def _two(make: Callable[[Program, bb.Graph, Root, int, int], Any]) -> Play:
    return lambda p, g, r, i, j: r.tensors.extend(make(p, g, r, i, j))


def _train(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    loss, _ = p.model(i).train_epochs(g, p.pages, after=r.trigger(j))
    r.tensors.append(loss)


def _race(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    r.triggers.extend(s.deadline_match(g, r.trigger(i), r.trigger(j)))


def _limit(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    entered = s.limit.acquire(g, r.trigger(i), name="door", n=1 + j % 2)
    r.triggers.append(entered)
    if j % 3:
        r.triggers.append(s.limit.release(g, entered, name="door"))


def _queue(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    if j % 2:
        r.triggers.append(s.serialize.enqueue(g, r.tensor(i), queue="q", after=r.after(j)))
    else:
        r.tensors.append(s.serialize.dequeue(g, r.trigger(i), queue="q"))


def _hold(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    if j % 2:
        r.triggers.append(s.hold.stash(g, r.tensor(i), slot="h"))
    else:
        r.tensors.append(s.hold.flush(g, r.trigger(i), slot="h"))


def _tell(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    if j % 3 == 0:
        p._tell(g, r.tensor(i))
    elif j % 3 == 1:
        s.app_emit(g, r.tensor(i), name="topic")
    else:
        r.triggers.append(s.app_notify(g, r.trigger(i), name="done"))


def _bundle(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    bundle = g.bundle(r.tensor(i), r.tensor(j))
    r.tensors.extend(g.unbundle(bundle, bb.f32, bb.f32))


def _again(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    """Begin again, three times at the most in the life of a Node."""
    port, value = "xy"[j % 2], r.tensor(i)
    if not r.home and g.function.inputs[port].accepts(value.type):
        g.again(port, value, after=s.limit.acquire(g, r.trigger(j), name="again", n=3))


def _size(p: Program, g: bb.Graph, r: Root, i: int, j: int) -> None:
    """Ask for what publishes an event; not where that event leads, or it would go on for ever."""
    if r.name != "full":
        r.tensors.append(p.shelf.size(g, after=r.trigger(i)))


STEPS: Final[list[Play]] = [
    tensor(lambda p, g, r, i, j: p.backend.add(g, g.cast(r.tensor(i), bb.f32), np.float32(j), after=r.after(j))),
    tensor(lambda p, g, r, i, j: p.backend.neg(g, r.tensor(i))),
    trigger(lambda p, g, r, i, j: p.model(j).load_parameters(g, r.tensor(i), after=r.after(j))),
    tensor(lambda p, g, r, i, j: p.model(j).params(g, after=r.trigger(i))),
    trigger(lambda p, g, r, i, j: p.model(j).apply_delta(g, r.tensor(i))),
    trigger(lambda p, g, r, i, j: p.model(j).zero_grad(g, after=r.trigger(i))),
    _two(lambda p, g, r, i, j: p.model(j).loss_grad(g, r.tensor(i), r.tensor(j))),
    tensor(lambda p, g, r, i, j: p.model(j).compute_loss(g, r.tensor(i), r.tensor(j))),
    tensor(lambda p, g, r, i, j: p.model(j).forward(g, r.tensor(i), after=r.after(j))),
    tensor(lambda p, g, r, i, j: p.model(j).delta(g, after=r.trigger(i))),
    tensor(lambda p, g, r, i, j: p.model(j).grads(g, after=r.trigger(i))),
    _train,
    tensor(lambda p, g, r, i, j: p.pages.next_batch(g, after=r.trigger(i))[0]),
    tensor(lambda p, g, r, i, j: p.shelf.add(g, r.tensor(i), *([r.tensor(j)] if j % 2 else []))),
    _two(lambda p, g, r, i, j: p.shelf.search(g, r.tensor(i), k=1 + j % 2)),
    _size,
    trigger(lambda p, g, r, i, j: p.shelf.remove(g, r.tensor(i))),
    tensor(lambda p, g, r, i, j: s.sleep(g, r.tensor(i), duration=f"{j % 4}s")),
    trigger(lambda p, g, r, i, j: s.after(g, r.trigger(i), delay=f"{1 + j % 3}s")),
    tensor(lambda p, g, r, i, j: s.any(g, r.tensor(i), r.tensor(j), group=("", "", "once")[j % 3])),
    trigger(lambda p, g, r, i, j: s.all(g, r.trigger(i), r.tensor(j))),
    trigger(lambda p, g, r, i, j: s.on_trigger(g, r.tensor(i))),
    trigger(lambda p, g, r, i, j: s.threshold(g, r.trigger(i), n=1 + j % 3, name=("", "n")[j % 2])),
    _race,
    _limit,
    _queue,
    _hold,
    trigger(lambda p, g, r, i, j: s.record(g, r.tensor(i), name="ring")),
    trigger(lambda p, g, r, i, j: s.metric(g, r.trigger(i), name="metric", delta=j)),
    lambda p, g, r, i, j: r.tensors.extend(s.tee(g, r.tensor(i), fanout=2)),
    _bundle,
    tensor(lambda p, g, r, i, j: g.cast(r.tensor(i), bb.f64 if j % 2 else bb.f32)),
    _tell,
    trigger(lambda p, g, r, i, j: g.on_failure(r.tensor(i) if j % 2 else r.trigger(i))),
    _again,
    tensor(lambda p, g, r, i, j: g.cast(s.clock(g, r.trigger(i)), bb.f32)),
    tensor(lambda p, g, r, i, j: g.cast((s.rng, s.correlate_tag)[j % 2](g, r.trigger(i)), bb.f32)),
    tensor(lambda p, g, r, i, j: s.gate(g, r.tensor(i), after=r.trigger(j))),
    trigger(lambda p, g, r, i, j: s.pulse(g, after=r.trigger(i))),
]


def compiled(plan: Sequence[tuple[int, int, int, int]]) -> onnx.ModelProto:
    """A program, with what it happens not to use left unbound."""
    model = Program(plan).build()
    slots = {p.key.rpartition("slot_role.")[2] for p in model.metadata_props if "slot_role." in p.key}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random programs compute what nobody reads
        try:
            return bb.Compiler().bind({name: c for name, c in BINDINGS.items() if name in slots}).compile(model)
        except TypeSolveError:  # it races a number against a vector: a rare plan, and no program
            reject()


# --- what is equal ----------------------------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal: arrays with their types, Steps and errors by what they say."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        return both and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, BBError):
        names = ("code", "message", "where", "expected")
        return type(a) is type(b) and all(getattr(a, n) == getattr(b, n) for n in names)
    if hasattr(a, "__struct_fields__"):
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in a.__struct_fields__)
    return type(a) is type(b) and bool(a == b)


def told(step: Step) -> Event | None:
    """A Step as the oracle says it."""
    if isinstance(step, steps.AppEvent):
        return ("event", step.target, step.port, step.value, int(step.exec_id))
    if isinstance(step, steps.OpFailed):
        text = step.error.message
        return ("failed", step.target, step.op, step.slot, step.role, int(step.exec_id), text)
    if isinstance(step, steps.LifecycleFired):
        return ("lifecycle", step.phase)
    assert isinstance(step, steps.BudgetSpent), step
    return None


def agree(event: Event, expected: Event) -> bool:
    """Whether what a Node told is what the oracle has; of a failure, the Node's text holds the cause."""
    if event[0] == "failed" and expected[0] == "failed":
        return event[:-1] == expected[:-1] and expected[-1].strip("'\"") in event[-1]
    return same(event, expected)


# --- driving ----------------------------------------------------------------------------------------------------------


class Watcher:
    """Notes the order in which a Node begins its ops."""

    wants_steps = False

    def __init__(self) -> None:
        self.order = Order()

    def op_began(self, run: Any, inputs: tuple[Any, ...]) -> None:
        self.order.done.append((int(run.exec_id), run.target, run.name))
        self.order.inputs.append(inputs)
        self.order.outputs.append(None)

    def op_ended(self, run: Any, outputs: Any) -> None:
        if self.order.done and self.order.done[-1] == (int(run.exec_id), run.target, run.name):
            self.order.outputs[-1] = outputs

    def op_failed(self, run: Any, error: BBError) -> None: ...

    def polled(self, now: int, steps: list[Step]) -> None: ...

    def take(self) -> Order:
        taken, self.order = self.order, Order()
        return taken


@dataclass
class Run:
    """One Node, its twin that nobody watches, one that was restored, and the oracle; all are told the same."""

    artefact: onnx.ModelProto
    budget: int
    now: int = 0
    nodes: list[bb.Node] = field(default_factory=list)
    watchers: list[Watcher | None] = field(default_factory=list)
    logs: list[bytearray] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.take_on(self.installed(), watched=True)
        self.take_on(self.installed(), watched=False)
        made = {slot: cls(None) for slot, cls in BINDINGS.items()}
        self.plain = PlainNode(self.artefact, TARGETS, peer(0), made, self.budget, same)

    @cached_property
    def slots(self) -> list[str]:
        used = {op.slot for f in self.plain.functions.values() for op in f.ops}
        return sorted(slot for slot in BINDINGS if slot in used and slot != "backend")

    def installed(self) -> bb.Node:
        options = bb.NodeConfig(seed=7, op_budget=self.budget)
        return bb.install(peer(0), [], self.artefact, TARGETS, options=options)

    def take_on(self, node: bb.Node, *, watched: bool) -> None:
        watcher = Watcher() if watched else None
        if watcher is not None:
            node.observe(watcher)
        log = bytearray()
        if RECORDING:
            node.record(log.extend)
        self.nodes.append(node)
        self.watchers.append(watcher)
        self.logs.append(log)

    def let_go(self, n: int) -> None:
        """Part with a Node, after looking at what it was."""
        node, log = self.nodes.pop(n), self.logs.pop(n)
        self.watchers.pop(n)
        if RECORDING:
            node.record(None)
            self.replay(bytes(log))

    def replay(self, log: bytes) -> None:
        from bb_core.node.replaying import replay

        found = replay(log, self.installed)
        assert found.divergence is None, str(found.divergence)

    # --- what a host does ---------------------------------------------------------------------------------------------

    def each(self, call: Callable[[Any], Any]) -> Any:
        """Tell all Nodes and the oracle the same; they must answer alike."""
        answers = [call(node) for node in (*self.nodes, self.plain)]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def invoke(self, i: int, j: int) -> None:
        names = [n for bit, n in enumerate(("x", "y", "go")) if (1 + i % 7) >> bit & 1]
        if j % 2:
            names.reverse()
        size = 300 if j == 5 else 1
        given = {n: bb.TRIGGER if n == "go" else np.full(size, j - 2 + (n == "y"), np.float32) for n in names}
        self.each(lambda node: int(node.invoke("Program", given, self.now)))

    def publish(self, i: int, j: int) -> None:
        self.each(lambda node: node.publish(("disk", "full", "nothing")[i % 3], self.now))

    def lifecycle(self, i: int, j: int) -> None:
        self.each(lambda node: node.fire_lifecycle("shutdown", self.now))

    def cancel(self, i: int, j: int) -> None:
        self.each(lambda node: node.cancel(ExecId(1 + i + 8 * j), self.now))

    def wait(self, i: int, j: int) -> None:
        self.now += (1 + i) * SECOND // 2

    def leap(self, i: int, j: int) -> None:
        self.now += (10 + 13 * i) * SECOND
        self.poll()

    def to_wakeup(self, i: int, j: int) -> None:
        when = self.plain.next_wakeup
        if when is not None:
            self.now = max(self.now, when - (j == 0))
        self.poll()

    def back(self, i: int, j: int) -> None:
        self.poll(self.now - SECOND)

    def once(self, i: int, j: int) -> None:
        self.poll()

    def quiet(self, i: int, j: int) -> None:
        while self.poll():
            pass

    def poll(self, now: int | None = None) -> bool:
        results = [node.poll(self.now if now is None else now) for node in self.nodes]
        first = results[0]
        for other in results[1:]:
            assert same(first, other), f"{first}\n{other}"
        orders = [w.take() for w in self.watchers if w is not None]
        for order in orders[1:]:
            assert orders[0].done == order.done
        expected = self.plain.poll(self.now if now is None else now, orders[0])
        events = [e for e in map(told, first.steps) if e is not None]
        assert len(events) == len(expected), f"{events}\n{expected}"
        assert all(map(agree, events, expected)), f"{events}\n{expected}"
        assert first.next_wakeup == self.plain.next_wakeup
        assert not first.more or self.plain.left <= 0, "there is more, and the budget was not spent"
        assert first.more or not self.plain.has_more(), "there is more, and the Node does not say so"
        assert (first.steps[-1:] == [steps.BudgetSpent(self.budget)]) is first.more
        return first.more

    def opened(self) -> list[Key]:
        found = [
            sorted((slot, *key) for slot in self.slots for key in node_component(node, slot).open)
            for node in (*self.nodes, self.plain)
        ]
        assert all(keys == found[0] for keys in found), found
        return found[0]

    def answer(self, i: int, j: int) -> None:
        self._answer(i, lambda later, method: _complete(later, method, j))

    def fail(self, i: int, j: int) -> None:
        self._answer(i, lambda later, method: later.fail(OSError(f"failed {j}")))

    def spoil(self, i: int, j: int) -> None:
        self._answer(i, lambda later, method: later.complete("text", "text", "text"))

    def _answer(self, i: int, how: Callable[[Any, str], None]) -> None:
        keys = self.opened()
        if not keys:
            return
        slot, exec_id, method = keys[i % len(keys)]
        for node in (*self.nodes, self.plain):
            component = node_component(node, slot)
            later = component.open.pop((exec_id, method))
            component.answered += 1
            if node is self.plain:
                how(later, method)
            else:
                thread = threading.Thread(target=how, args=(later, method))
                thread.start()
                thread.join()

    # --- what a host keeps --------------------------------------------------------------------------------------------

    def restore(self, i: int, j: int) -> None:
        if SNAPSHOTS:
            self._restore([self.nodes[0].snapshot()])

    def keep(self, i: int, j: int) -> None:
        if SNAPSHOTS:
            self.chain = [self.nodes[0].snapshot()]

    def increment(self, i: int, j: int) -> None:
        if SNAPSHOTS and self.chain:
            self.chain.append(self.nodes[0].snapshot(since=self.chain[-1]))
            if j % 2:
                self._restore(self.chain)

    def _restore(self, data: list[bytes]) -> None:
        """Go on with a Node that was restored, beside the one that it was taken of; part with the eldest."""
        whole = self.nodes[0].snapshot()
        self.equal_snapshots()
        restored = self.installed()
        restored.restore(data[0] if len(data) == 1 else data)
        assert restored.snapshot() == whole
        self.take_on(restored, watched=True)
        self.nodes.insert(0, self.nodes.pop())
        self.watchers.insert(0, self.watchers.pop())
        self.logs.insert(0, self.logs.pop())
        while len(self.nodes) > 2:
            self.let_go(2)

    def equal_snapshots(self) -> None:
        first, *others = [node.snapshot() for node in self.nodes]
        assert all(other == first for other in others)

    # --- at the end ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Answer all, let some time pass, and compare what is left."""
        self.quiet(0, 0)
        for _ in range(4):
            while self.opened():
                self.answer(0, 1)
            self.quiet(0, 0)
            self.leap(0, 0)
            self.quiet(0, 0)
        for slot in self.slots:
            logs = [node_component(node, slot).log for node in (*self.nodes, self.plain)]
            assert all(log == logs[0] for log in logs), logs
        for node in self.nodes:
            assert same(node.records("ring"), self.plain.records("ring"))
            assert node.counters() == dict(sorted(self.plain.counters.items()))
            assert node.stats()["frames"] == len(self.plain.frames)
        if SNAPSHOTS:
            self.equal_snapshots()
        while self.nodes:
            self.let_go(0)


def node_component(node: Any, slot: str) -> Any:
    return node.components[slot] if isinstance(node, PlainNode) else node.component(slot)


def _complete(later: Any, method: str, j: int) -> None:
    value = np.full(1, j, np.float32)
    if method == "zero_grad":
        later.complete()
    elif method == "train_epochs":
        later.complete(value, bb.Record(num_samples=j))
    else:
        later.complete(value, value + 1)


ACTIONS: Final = [
    Run.invoke, Run.invoke, Run.invoke, Run.publish, Run.lifecycle, Run.cancel, Run.wait, Run.leap, Run.to_wakeup,
    Run.to_wakeup, Run.back, Run.once, Run.once, Run.quiet, Run.quiet, Run.answer, Run.answer, Run.answer, Run.fail,
    Run.spoil, Run.restore, Run.restore, Run.keep, Run.increment,
]  # fmt: skip

plans = st.lists(
    st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 9), st.integers(0, 7), st.integers(0, 7)), max_size=24
)
hosts = st.lists(st.tuples(st.sampled_from(range(len(ACTIONS))), st.integers(0, 7), st.integers(0, 7)), max_size=40)
budgets = st.sampled_from([1, 3, 100_000])


def check(plan: Any, host: Any, budget: int) -> None:
    run = Run(compiled(plan), budget)
    for action, i, j in host:
        ACTIONS[action](run, i, j)
    run.finish()


@settings(max_examples=100)
@given(plans, hosts, budgets)
def test_a_node_does_what_the_plain_interpreter_does(plan: Any, host: Any, budget: int) -> None:
    check(plan, host, budget)
