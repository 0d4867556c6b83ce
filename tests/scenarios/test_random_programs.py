"""Random well-typed programs, compiled and run on real Nodes, against a direct evaluation of the same plan."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

import bb_core as bb
from bb_core.steps import AppEvent, OpFailed
from bb_core.testing import Loopback
from tests.support import Everyone, peer

CLASSES = ("a", "b")
WIDTH = 3


@bb.concrete("tests.PlanBackend")
class PlanBackend(bb.roles.Backend):
    """The ops of the plans, by numpy."""

    ops = frozenset({"Add", "Mul", "Neg", "Gather"})
    _BODIES: Mapping[str, Callable[..., Any]] = {
        "Add": np.add,
        "Mul": np.multiply,
        "Neg": np.negative,
        "Gather": lambda x, i: np.take(x, int(i), axis=0),
    }

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        return self._BODIES[name]


class Mixing(bb.Module):
    """A child that only computes: x * y - x, on a Backend of its own."""

    compute = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32[WIDTH]), g.input("y", bb.f32[WIDTH])
        g.output("out", x * y + -x)


class Asking(bb.Module):
    """A child that asks peers: they negate and add one, the first answer counts. It holds a child itself."""

    peers = bb.PeerSelectorSlot(peer_class="b")
    compute = bb.BackendSlot()

    def __init__(self) -> None:
        self.mixing = Mixing()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[WIDTH])
        asked = g.send(x, to=self.peers.sample(g, n=9, after=x))
        answer = g.reply(-self.mixing(g, x=asked, y=asked).out + 1, to=asked)
        g.output("out", g.stack(g.gather(answer, deadline="5s"))[0])


@dataclass
class Context:
    """Values that are in one Frame: where it runs, what began it, and who asked for it."""

    home: str
    values: list[tuple[Any, np.ndarray]]
    received: Any = None
    asker: Context | None = None
    gathered: bool = False


@dataclass
class Plan:
    """A list of numbers, read as steps; `play` records it and evaluates it at once."""

    steps: list[tuple[int, int, int]]
    direct: dict[str, np.ndarray] = field(default_factory=dict)

    def play(self, module: Program, g: bb.Graph) -> None:
        start = np.arange(1, WIDTH + 1, dtype=np.float32)
        contexts = [Context("", [(g.input("x", bb.f32[WIDTH]), start)])]
        for kind, i, j in self.steps:
            context = contexts[i % len(contexts)]
            step = (self._compute, self._compute, self._child, self._send, self._reply, self._gather)[kind % 6]
            made = step(module, g, context, i, j)
            if made is not None:
                contexts.append(made)
        for n, context in enumerate(contexts):
            value, direct = context.values[-1]
            g.output(f"y{n}", value)
            self.direct[f"y{n}"] = direct

    def _compute(self, module: Program, g: bb.Graph, context: Context, i: int, j: int) -> None:
        backend = (module.left, module.right)[i % 2]
        (a, x), (b, y) = context.values[j % len(context.values)], context.values[i % len(context.values)]
        made = (
            (backend.add(g, a, b), x + y),
            (backend.mul(g, a, b), x * y),
            (backend.neg(g, a), -x),
            (backend.add(g, a, np.float32(0.5)), x + np.float32(0.5)),
        )[j % 4]
        context.values.append(made)

    def _child(self, module: Program, g: bb.Graph, context: Context, i: int, j: int) -> None:
        value, x = context.values[j % len(context.values)]
        if j % 2 or context.home == "b":
            child = module.mixing[i % 2]
            context.values.append((child(g, y=value, x=value).out, x * x + -x))
        elif context.home == "":
            context.values.append((module.asking(g, x=value).out, -(x * x + -x) + np.float32(1)))

    def _send(self, module: Program, g: bb.Graph, context: Context, i: int, j: int) -> Context | None:
        to = CLASSES[j % 2]
        if to == context.home:
            return None
        value, x = context.values[i % len(context.values)]
        received = g.send(value, to=module.slot_of(to).sample(g, n=9, after=value))
        return Context(to, [(received, x)], received, context)

    def _reply(self, module: Program, g: bb.Graph, context: Context, i: int, j: int) -> Context | None:
        if context.received is None or context.asker is None or context.gathered:
            return None
        value, x = context.values[j % len(context.values)]
        back = g.reply(value, to=context.received)
        answer = Context(context.asker.home, [(back, x)])
        if j % 3 == 0:
            return answer
        context.gathered = True
        context.asker.values.append((g.stack(g.gather(back, deadline="5s"))[0], x))
        return None

    def _gather(self, module: Program, g: bb.Graph, context: Context, i: int, j: int) -> Context | None:
        return self._reply(module, g, context, i, 1)


class Program(bb.Module):
    """Plays a plan."""

    to_a = bb.PeerSelectorSlot(peer_class="a")
    to_b = bb.PeerSelectorSlot(peer_class="b")
    left = bb.BackendSlot()
    right = bb.BackendSlot()

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.mixing = [Mixing(), Mixing()]
        self.asking = Asking()

    def slot_of(self, name: str) -> Any:
        return self.to_a if name == "a" else self.to_b

    def default_backend(self, g: bb.Graph) -> Any:
        return self.left

    def body(self, g: bb.Graph) -> None:
        self.plan.play(self, g)


def run(artefact: onnx.ModelProto, sizes: dict[str, int]) -> dict[str, list[np.ndarray]]:
    """What every Node gives, by output."""
    targets = [f.name for f in artefact.functions]
    nodes: list[bb.Node] = []
    classes: list[str] = []
    for target in targets:
        name = target.partition("@")[2]
        for _ in range(sizes.get(name, 1)):
            nodes.append(bb.install(peer(len(nodes)), [], artefact, [target]))
            classes.append(name)
    for node in nodes:
        for number, name in enumerate(classes):
            if peer(number) != node.peer_id:
                node.add_peer(peer(number), peer_class=name)
    loopback = Loopback(nodes)
    loopback.invoke(peer(0), "Program", {"x": np.arange(1, WIDTH + 1, dtype=np.float32)})
    loopback.run_until_quiet()
    given: dict[str, list[np.ndarray]] = defaultdict(list)
    for seen in loopback.seen:
        assert not isinstance(seen.step, OpFailed), seen.step
        if isinstance(seen.step, AppEvent):
            given[seen.step.port].append(seen.step.value)
    return given


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=14),
    st.integers(1, 2),
    st.integers(1, 2),
)
def test_what_nodes_compute_is_what_the_plan_says(steps: list[tuple[int, int, int]], n_a: int, n_b: int) -> None:
    plan = Plan(steps)
    model = Program(plan).build()
    slots = [p.key.rpartition("slot_role.")[2] for p in model.metadata_props if "slot_role." in p.key]
    bindings = {s: Everyone if s.rpartition(".")[2] in ("to_a", "to_b", "peers") else PlanBackend for s in slots}
    compiler = bb.Compiler().bind(bindings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random programs compute what nobody reads
        artefact = compiler.compile(model)
    onnx.checker.check_model(artefact)
    given = run(artefact, {"a": n_a, "b": n_b})
    for port, direct in plan.direct.items():
        assert given[port], f"{port} is never given"
        for value in given[port]:
            np.testing.assert_array_equal(value, direct)
