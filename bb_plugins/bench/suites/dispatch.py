"""What it costs to dispatch an op, to begin and end a Frame, and to poll a Node that has nothing to do.

An op's cost is the slope between a long chain and a short one, so that neither what begins and ends a run nor the
reading of the clock is in it. Peers: onnxruntime, one thread and every graph optimisation off, on a graph of the same
ops; onnx's own evaluator; and a plain Python loop over the same tables, which any embedding would write first. Where
the question is what else the Node holds, the peer is the same Node holding less.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_plugins.bench.harness import Call, Measure, slope
from bb_plugins.bench.instructions import Counted

_SHORT, _LONG, _MOST = 100, 1000, 100_000
_POLLS = 1000
_FRAMES = 10_000
_BRIEF, _BRIEF_LONG = 10, 100  # chains beside many Frames, each of which holds tables of both
_X = np.zeros(4, np.float32)
_X.flags.writeable = False


# --- ours -------------------------------------------------------------------------------------------------------------


def _same(x: Any) -> Any:
    return x


_KERNELS: Final[dict[str, Callable[..., Any]]] = {"Identity": _same, "Add": np.add}


@bb.concrete("bytesandbrains.bench.NoopBackend")
class NoopBackend(bb.roles.Backend):
    """Return the input of an Identity from Python, and add with numpy."""

    ops = frozenset(_KERNELS)

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the function."""
        return _KERNELS[name]


@bb.concrete("bytesandbrains.bench.SilentView")
class SilentView(bb.roles.PeerSelector):
    """Promise an answer that never comes."""

    def current_view(self, ctx: bb.Context, *, peer_class: str = "") -> bb.PeerList:
        """Answer later."""
        return ctx.later()  # type: ignore[return-value]


class Chain(bb.Module):
    """One op in a row."""

    backend = bb.BackendSlot()

    def __init__(self, op: str, length: int) -> None:
        self.op = op
        self.length = length

    def body(self, g: bb.Graph) -> None:
        """Record the chain."""
        x = value = g.input("x", bb.f32[4])
        for _ in range(self.length):
            value = _RECORD[self.op](self, g, value, x)
        g.output("y", value)


_RECORD: Final[dict[str, Callable[[Chain, bb.Graph, Any, Any], Any]]] = {
    "PassThrough": lambda chain, g, value, x: bb.syscalls.pass_through(g, value),
    "Identity": lambda chain, g, value, x: chain.backend.identity(g, value),
    "Add": lambda chain, g, value, x: chain.backend.add(g, value, x),
}


class Crowd(bb.Module):
    """Chains of the engine's own ops, and an input that begins a Frame which waits for ever."""

    view = bb.PeerSelectorSlot()

    def body(self, g: bb.Graph) -> None:
        """Record an entry for each."""
        g.output("never", self.view.current_view(g, after=g.input("wait", bb.types.TRIGGER)))
        for name, length in (("short", _BRIEF), ("long", _BRIEF_LONG)):
            value = g.input(name, bb.f32[4])
            for _ in range(length):
                value = bb.syscalls.pass_through(g, value)
            g.output(f"{name}_end", value)


def _node(module: bb.Module, bindings: dict[str, Any]) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    options = bb.NodeConfig(op_budget=100 * _MOST, ingress=_FRAMES, laters=_FRAMES)  # one poll does all that is begun
    return bb.install(bb.PeerId.from_int(0), [], artefact, [type(module).__name__], options=options)


@cache
def _chain(op: str, length: int) -> Call:
    node = _node(Chain(op, length), {"backend": NoopBackend} if op in _KERNELS else {})

    def run() -> list[Any]:
        node.invoke("Chain", {"x": _X}, 0)
        return node.poll(0).steps

    (event,) = run()
    assert np.array_equal(event.value, _X), event
    return run


def _idle(count: int) -> Call:
    node = _node(Chain("Identity", 1), {"backend": NoopBackend})
    assert node.poll(0).steps == []

    def run() -> None:
        for now in range(count):
            node.poll(now)

    return run


def _frames(count: int) -> Call:
    """Return what begins so many Frames of two ops, an Identity and the output, and ends them in one poll."""
    node = _node(Chain("Identity", 1), {"backend": NoopBackend})

    def run() -> None:
        for _ in range(count):
            node.invoke("Chain", {"x": _X}, 0)
        assert len(node.poll(0).steps) == count

    return run


def _crowd(waiting: int) -> bb.Node:
    node = _node(Crowd(), {"view": SilentView})
    for _ in range(waiting):
        node.invoke("Crowd", {"wait": bb.TRIGGER}, 0)
    assert node.poll(0).steps == []
    assert node.stats()["frames"] == waiting
    return node


def _per_op(node: bb.Node, frames: int = 1) -> Call:
    """Tell the nanoseconds of an op in Frames that are begun together."""

    def run(name: str) -> Call:
        def begin_and_end() -> None:
            for _ in range(frames):
                node.invoke("Crowd", {name: _X}, 0)
            assert len(node.poll(0).steps) == frames

        return begin_and_end

    return slope(run("long"), run("short"), frames * (_BRIEF_LONG - _BRIEF))


# --- peers and limits -------------------------------------------------------------------------------------------------


def _graph(op: str, length: int) -> onnx.ModelProto:
    helper = onnx.helper
    names = ["x", *(f"v{i}" for i in range(length - 1)), "y"]
    nodes = [helper.make_node(op, [a, "x"] if op == "Add" else [a], [b]) for a, b in pairwise(names)]
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in ("x", "y"))
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(helper.make_graph(nodes, "chain", [x], [y]), opset_imports=opsets, ir_version=10)


def _onnxruntime(op: str, length: int) -> Call:
    reason = 'onnxruntime is not installed: pip install "bytesandbrains[bench]"'
    ort = pytest.importorskip("onnxruntime", reason=reason)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = _graph(op, length).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": _X})


def _onnx_reference(op: str, length: int) -> Call:
    evaluator = ReferenceEvaluator(_graph(op, length))
    return lambda: evaluator.run(None, {"x": _X})


def _plain_loop(op: str, length: int) -> Call:
    """Run the chain as a Python programmer would: counters, consumer lists and a queue."""
    calls = [_KERNELS[op]] * length
    consumers = [[i] for i in range(length)] + [[]]

    def run() -> None:
        need = [1] * length
        values: list[Any] = [None] * (length + 1)
        values[0] = _X
        ready = [0]
        for at in ready:
            values[at + 1] = calls[at](values[at])
            for reader in consumers[at + 1]:
                need[reader] -= 1
                if need[reader] == 0:
                    ready.append(reader)
            values[at] = None

    return run


def _bare(op: str, length: int) -> Call:
    call = _KERNELS[op]
    arguments = (_X, _X) if op == "Add" else (_X,)

    def run() -> None:
        for _ in range(length):
            call(*arguments)

    return run


class _Bare:
    def poll(self, now: int) -> None: ...


def _bare_method(count: int) -> Call:
    bare = _Bare()

    def run() -> None:
        for now in range(count):
            bare.poll(now)

    return run


def _slope(make: Callable[[str, int], Call], op: str) -> Call:
    return slope(make(op, _LONG), make(op, _SHORT), _LONG - _SHORT)


# --- rows -------------------------------------------------------------------------------------------------------------

INSTRUCTIONS: Final = (
    Counted("native op", lambda n: _chain("PassThrough", n)),
    Counted("Python Concrete's op", lambda n: _chain("Identity", n)),
    Counted("Frame begun and ended", _frames),
    Counted("idle poll", _idle),
)


def test_native_op(row: Measure) -> None:
    """An op of the engine's own that passes its input on."""
    peer = "onnxruntime Identity", _slope(_onnxruntime, "Identity")
    row("native op", _slope(_chain, "PassThrough"), peer=peer, timed=True)


@pytest.mark.parametrize(
    ("peer", "make"),
    [
        ("onnxruntime Identity", _onnxruntime),
        ("plain Python loop", _plain_loop),
        ("onnx.reference Identity", _onnx_reference),
    ],
)
def test_python_op(row: Measure, peer: str, make: Callable[[str, int], Call]) -> None:
    """An op that a Concrete runs in Python."""
    compared = peer, _slope(make, "Identity")
    limit = "bare calls", _slope(_bare, "Identity")
    row("Python Concrete's op", _slope(_chain, "Identity"), peer=compared, limit=limit, timed=True)


def test_numpy_op(row: Measure) -> None:
    """An op that a Concrete runs with numpy, on arrays so small that the op itself is little."""
    peer = "onnxruntime Add", _slope(_onnxruntime, "Add")
    limit = "bare calls", _slope(_bare, "Add")
    row("Python Concrete's op, numpy's add", _slope(_chain, "Add"), peer=peer, limit=limit, timed=True)


def test_idle_poll(row: Measure) -> None:
    """A poll with nothing to do."""
    row("idle poll", _idle(_POLLS), limit=("a Python method call", _bare_method(_POLLS)), per=_POLLS)


def test_invoke_to_event(row: Measure) -> None:
    """All of an execution: invoke, poll, one op, one AppEvent."""
    row("invoke to AppEvent, one op", _chain("Identity", 1), peer=("onnxruntime run", _onnxruntime("Identity", 1)))


@pytest.mark.parametrize("length", [10, _LONG, _MOST])
def test_an_op_among_many(row: Measure, length: int) -> None:
    """Whether an op costs the same in programs of any size."""

    def per_op(length: int) -> Call:
        return slope(_chain("PassThrough", length), _chain("PassThrough", 1), length - 1)

    peer = None if length == _LONG else (f"in a chain of {_LONG:,}", per_op(_LONG))
    row(f"native op in a chain of {length:,}", per_op(length), peer=peer, timed=True)


@pytest.mark.parametrize("waiting", [1, 100, _FRAMES])
def test_an_op_beside_waiting_frames(row: Measure, waiting: int) -> None:
    """Whether an op costs the same while other Frames wait for a Later."""
    peer = None if waiting == 1 else ("beside 1 waiting Frame", _per_op(_crowd(1)))
    frames = "Frame" if waiting == 1 else "Frames"
    row(f"native op beside {waiting:,} waiting {frames}", _per_op(_crowd(waiting)), peer=peer, timed=True)


def test_an_op_of_many_ready_frames(row: Measure) -> None:
    """Whether an op costs the same when many Frames are ready at once."""
    node = _crowd(0)
    peer = "in 1 ready Frame", _per_op(node)
    row(f"native op in {_FRAMES:,} ready Frames", _per_op(node, _FRAMES), peer=peer, timed=True)


def test_a_frame(row: Measure) -> None:
    """A Frame of two ops, from invoke to its end; many are taken in by one poll."""
    row("Frame begun and ended", _frames(_FRAMES), per=_FRAMES)


def test_memory_of_ended_frames(row: Measure) -> None:
    """What a Frame leaves behind."""
    each, times = 1000, 100
    run = _frames(each)
    tracemalloc.start()
    held = []
    for _ in range(2):  # the first time, containers find their size
        for _ in range(times):
            run()
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    row.memory("memory kept for an ended Frame", (held[1] - held[0]) / (each * times))
