"""What it costs to dispatch one op: a chain of ops that return their input.

Peers: a plain Python loop over the same tables, which any embedding would write first; onnx's own evaluator on the same
graph. The limit is to call the function as often, with nothing around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_plugins.bench.harness import Measure

_LENGTH = 1000
_X = np.ones(4, np.float32)
_X.flags.writeable = False


def _same(x: Any) -> Any:
    return x


@bb.concrete("bytesandbrains.bench.NoopBackend")
class NoopBackend(bb.roles.Backend):
    """Return the input of every op."""

    ops = frozenset({"Identity"})

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the identity."""
        return _same


class Chain(bb.Module):
    """Ops in a row."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        """Record the chain."""
        x = g.input("x", bb.f32[4])
        for _ in range(_LENGTH):
            x = self.backend.identity(g, x)
        g.output("y", x)


def _ours() -> Callable[[], None]:
    artefact = bb.Compiler().bind({"backend": NoopBackend}).compile(Chain())
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Chain"])

    def run() -> None:
        node.invoke("Chain", {"x": _X}, 0)
        node.poll(0)

    return run


def _plain_loop() -> Callable[[], None]:
    """Run the chain as a Python programmer would: counters, consumer lists and a queue."""
    calls = [_same] * _LENGTH
    consumers = [[i] for i in range(_LENGTH)] + [[]]

    def run() -> None:
        need = [1] * _LENGTH
        values: list[Any] = [None] * (_LENGTH + 1)
        values[0] = _X
        ready = [0]
        for op in ready:
            values[op + 1] = calls[op](values[op])
            for reader in consumers[op + 1]:
                need[reader] -= 1
                if need[reader] == 0:
                    ready.append(reader)
            values[op] = None

    return run


def _reference() -> Callable[[], Any]:
    helper = onnx.helper
    names = ["x", *(f"v{i}" for i in range(_LENGTH - 1)), "y"]
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in pairwise(names)]
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in ("x", "y"))
    model = helper.make_model(helper.make_graph(nodes, "chain", [x], [y]), opset_imports=[helper.make_opsetid("", 21)])
    evaluator = ReferenceEvaluator(model)
    return lambda: evaluator.run(None, {"x": _X})


def _bare() -> None:
    x = _X
    for _ in range(_LENGTH):
        x = _same(x)


def test_against_plain_loop(row: Measure) -> None:
    """Against what one would write first."""
    row("dispatch an op", _ours(), peer=("plain Python loop", _plain_loop()), limit=("bare calls", _bare), per=_LENGTH)


def test_against_onnx_reference(row: Measure) -> None:
    """Against another evaluator of ONNX in Python."""
    row("dispatch an op", _ours(), peer=("onnx.reference", _reference()), limit=("bare calls", _bare), per=_LENGTH)
