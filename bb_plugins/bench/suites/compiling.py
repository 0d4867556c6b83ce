"""What it costs to compile: a chain of requests and answers over four classes of peers, with tensor ops between.

Peers: what ONNX itself needs to check the same artefact and to infer its shapes, in C++; and for growth ten times the
time of a tenth of the ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import onnx

import bb_core as bb
from bb_plugins.bench.harness import Measure

_CLASSES = 4
_BETWEEN = 10  # tensor ops between two sends


@bb.concrete("bytesandbrains.bench.AnyBackend")
class AnyBackend(bb.roles.Backend):
    """Has the ops of the synthetic program, and would compute nothing."""

    ops = frozenset({"Add", "Mul", "Relu"})

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return nothing useful: the program is only compiled."""
        raise NotImplementedError


class Relay(bb.Module):
    """A value goes from class to class, and each computes on it."""

    one = bb.PeerSelectorSlot(peer_class="one")
    two = bb.PeerSelectorSlot(peer_class="two")
    three = bb.PeerSelectorSlot(peer_class="three")
    backend = bb.BackendSlot()

    def __init__(self, ops: int) -> None:
        self.ops = ops

    def body(self, g: bb.Graph) -> None:
        """Record about `ops` ops."""
        start = value = g.input("x", bb.f32["N", 64])
        slots = (self.one, self.two, self.three)
        recorded = 0
        while recorded < self.ops:
            value = start
            for slot in slots:
                value = g.send(value, to=slot.sample(g, n=3, after=value))
                for i in range(_BETWEEN):
                    value = self.backend.relu(g, value) if i % 3 == 2 else value * 2 + 1 if i % 3 else value + value
                recorded += _BETWEEN + 6
            g.output(f"y{recorded}", value)


@cache
def program(ops: int) -> onnx.ModelProto:
    """A built program of about this many ops over four classes."""
    return Relay(ops).build()


def compile_it(ops: int) -> onnx.ModelProto:
    """Compile such a program."""
    bindings = {"one": "bytesandbrains.ConstantView", "two": "bytesandbrains.ConstantView"}
    bindings |= {"three": "bytesandbrains.ConstantView"}
    return bb.Compiler().bind({**bindings, "backend": AnyBackend}).compile(program(ops))


def test_500_ops(row: Measure) -> None:
    """A large program of today."""
    artefact = compile_it(500)
    row("compile 500 ops, 4 classes", lambda: compile_it(500), peer=("onnx.checker", _check(artefact)))


def test_record_500_ops(row: Measure) -> None:
    """Recording alone: `Module.build`."""
    built = program(500)
    row("record 500 ops", lambda: Relay(500).build(), peer=("onnx shape inference", _infer(built)))


def test_growth(row: Measure) -> None:
    """Ten times the ops against ten times the time of a tenth."""
    compile_it(500), compile_it(5000)

    def ten_small() -> None:
        for _ in range(10):
            compile_it(500)

    row("compile 5,000 ops", lambda: compile_it(5000), peer=("10 x 500 ops", ten_small))


def _check(model: onnx.ModelProto) -> Callable[[], Any]:
    return lambda: onnx.checker.check_model(model)


def _infer(model: onnx.ModelProto) -> Callable[[], Any]:
    return lambda: onnx.shape_inference.infer_shapes(model)
