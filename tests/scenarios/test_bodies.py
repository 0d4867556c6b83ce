"""`If` and `Loop` run on a Backend that has them: here by ONNX's own reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import bb_core as bb
from bb_core import errors
from bb_core.ir.schemas import OPSET
from bb_core.steps import AppEvent, OpFailed
from bb_plugins.backends.cpu.backend import CpuBackend
from tests.support import NumpyBackend, peer


@bb.concrete("tests.ReferenceBackend")
class ReferenceBackend(bb.roles.Backend):
    """Every op that is used here, by `onnx.reference`."""

    ops = frozenset({"Add", "Mul", "Neg", "If", "Loop", "Identity", "Less", "Gather", "Greater"})

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        taken = attributes.get("captures", ())
        attributes = {k: v for k, v in attributes.items() if k not in ("captures", "outputs")}

        def run(*inputs: Any) -> Any:
            names = [f"in{i}" for i in range(len(inputs) - len(taken))]
            n_out = len(attributes["body"].output) - 1 if name == "Loop" else 1
            outs = [f"out{i}" for i in range(n_out)]
            node = onnx.helper.make_node(name, names, outs, **attributes)
            given = dict(zip([*names, *taken], inputs, strict=True))
            infos = [onnx.helper.make_tensor_value_info(k, 1, None) for k in given]
            graph = onnx.helper.make_graph(
                [node], "one", infos, [onnx.helper.make_empty_tensor_value_info(o) for o in outs]
            )
            model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
            found = [np.asarray(v) for v in ReferenceEvaluator(model).run(None, given)]
            return found[0] if len(found) == 1 else tuple(found)

        return run


class Choosing(bb.Module):
    """Doubles or negates; the scale is captured from around the branches."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])
        scale = x[0] + 1
        y = self.backend.if_(
            g, x[0] > 0, then_branch=lambda: x * scale, else_branch=lambda: self.backend.neg(g, scale) + x
        )
        g.output("y", y)


class Counting(bb.Module):
    """Adds x three times, and keeps every sum."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[2])

        def step(i: bb.Output, going: bb.Output, total: bb.Output) -> tuple[bb.Output, ...]:
            total = total + x
            return going, total, total

        total, history = self.backend.loop(g, 3, True, x, body=step)
        g.output("total", total)
        g.output("history", history)


class Nested(bb.Module):
    """A child with branches, called twice: its bodies are inlined with it."""

    def __init__(self) -> None:
        self.child = Choosing()

    def body(self, g: bb.Graph) -> None:
        once = self.child(g, x=g.input("x", bb.f32[2])).y
        g.output("y", self.child(g, x=once).y)


@pytest.fixture(params=[ReferenceBackend, CpuBackend])
def backend(request: pytest.FixtureRequest) -> type[bb.roles.Backend]:
    return request.param


def run(module: bb.Module, x: list[float], backend: type[bb.roles.Backend], slot: str = "backend") -> dict[str, Any]:
    artefact = bb.Compiler().bind({slot: backend}).compile(module)
    onnx.checker.check_model(artefact)
    node = bb.install(peer(0), [], artefact, [module.name])
    node.invoke(module.name, {"x": np.asarray(x, np.float32)}, 0)
    steps = node.poll(0).steps
    assert [s for s in steps if isinstance(s, OpFailed)] == []
    return {s.port: s.value.tolist() for s in steps if isinstance(s, AppEvent)}


@pytest.mark.parametrize(("x", "y"), [([2.0, 3.0], [6.0, 9.0]), ([-2.0, 3.0], [-1.0, 4.0])])
def test_a_branch_is_chosen_by_a_value(x: list[float], y: list[float], backend: type[bb.roles.Backend]) -> None:
    assert run(Choosing(), x, backend) == {"y": y}


def test_a_loop_carries_its_state(backend: type[bb.roles.Backend]) -> None:
    found = run(Counting(), [1.0, 2.0], backend)
    assert found == {"total": [4.0, 8.0], "history": [[2.0, 4.0], [3.0, 6.0], [4.0, 8.0]]}


def test_bodies_are_inlined_with_their_module(backend: type[bb.roles.Backend]) -> None:
    assert run(Nested(), [1.0, 1.0], backend, "child.backend") == {"y": [6.0, 6.0]}


def test_an_op_of_a_body_must_be_there_too() -> None:
    @bb.concrete("tests.OnlyIf")
    class OnlyIf(NumpyBackend):
        ops = frozenset({"If", "Gather", "Add", "Greater", "Mul"})

    with pytest.raises(errors.MissingCapability, match="no kernel for Neg") as caught:
        bb.Compiler().bind({"backend": OnlyIf}).compile(Choosing())
    assert "test_bodies.py:" in str(caught.value)
