"""Gradient rules that others bring: of ONNX's ops that have none, and of functions that models bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from bb_core.errors import DuplicateRegistration, InvalidConcrete, NotDifferentiable, PluginLoadError
from bb_core.plugins import installed_plugins
from bb_core.registry import Gradients
from bb_plugins.models.graph import GraphModel
from bb_plugins.training.plugin import FAMILIES
from bb_plugins.training.rules import RULES
from tests.plugins.fake_context import FakeContext

RANDOM = np.random.Generator(np.random.Philox(3))
X = RANDOM.standard_normal((16, 4), np.float32)
Y = RANDOM.integers(0, 3, 16)


def atan(t: Any, node: onnx.NodeProto, grads: Sequence[str | None]) -> Sequence[str | None]:
    x = node.input[0]
    return [t.op("Div", grads[0], t.op("Add", t.number(1, x), t.op("Mul", x, x, like=x), like=x), like=x)]


def straight_through(t: Any, node: onnx.NodeProto, grads: Sequence[str | None]) -> Sequence[str | None]:
    return [grads[0], *([None] * (len(node.input) - 1))]


def too_many(t: Any, node: onnx.NodeProto, grads: Sequence[str | None]) -> Sequence[str | None]:
    return [grads[0], grads[0], grads[0]]


TABLE = {"Atan": atan}
NO_RULE = 5


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Gradients:
    """A plugin's registry, which takes part in what is registered while the test runs."""
    gradients = installed_plugins().gradients
    monkeypatch.setattr(gradients, "_entries", dict(gradients._entries))

    class Taking(Gradients):
        def add(self, op: str, target: str, *, domain: str = "") -> None:
            before = set(self)
            Gradients.add(self, op, target, domain=domain)
            gradients.take(set(self) - before)

    return Taking(owner="bb-other 1.0 (rules)")


def here(name: str) -> str:
    return f"{__name__}:{name}"


def network(text: str, **arrays: np.ndarray) -> onnx.ModelProto:
    """A model from text; `functions` of the domain `other.ops` stand after its graph."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21, "other.ops": 1]>\n{text}')
    for name, value in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def weights() -> dict[str, np.ndarray]:
    random = np.random.Generator(np.random.Philox(1))
    return {"w": random.standard_normal((4, 3), np.float32), "b": random.standard_normal(3, np.float32)}


PLAIN = """net (float[n,4] batch) => (float[n,3] logits) {
    sum = Gemm(batch, w, b)
    logits = Identity(sum)
}"""
BENT = PLAIN.replace("Identity", "Atan")
ROUNDED = (
    PLAIN.replace("Identity(sum)", "other.ops.Quantised<step = 0.5>(sum)")
    + """
<domain: "other.ops", opset_import: ["": 21, "other.ops": 1]>
Quantised <step: float = 1.0> (x) => (y) {
    size = Constant<value_float: float = @step>()
    parts = Div(x, size)
    whole = other.ops.Rounded(parts)
    y = Mul(whole, size)
}
<domain: "other.ops", opset_import: ["": 21]>
Rounded (x) => (y) { y = Round(x) }
"""
)


def trained(model: onnx.ModelProto, steps: int = 3) -> GraphModel:
    graph, ctx = GraphModel(GraphModel.Config(model.SerializeToString())), FakeContext()
    for _ in range(steps):
        graph.train_step(ctx, X, Y)
    return graph


def test_every_rule_is_registered_by_the_door_of_plugins() -> None:
    assert sorted(RULES) == sorted(op for ops in FAMILIES.values() for op in ops.split())
    owners = {e.owner.split()[0] for e in installed_plugins().gradients}
    assert owners == {"bytesandbrains"}


def test_an_op_without_a_rule_is_named_with_what_to_do() -> None:
    with pytest.raises(NotDifferentiable, match="Atan has no gradient rule") as caught:
        trained(network(BENT, **weights()))
    assert "add a rule by a plugin" in str(caught.value)


@pytest.mark.parametrize("name", ["atan", "TABLE"])
def test_a_plugin_gives_one_of_onnxs_ops_a_rule(others: Gradients, name: str) -> None:
    others.add("Atan", here(name))
    ours, ctx = GraphModel(GraphModel.Config(network(BENT, **weights()).SerializeToString())), FakeContext()
    prediction = ours.forward(ctx, X)
    _, grad = ours.loss_grad(ctx, prediction, Y)
    ours.backward(ctx, grad)
    w, b = weights().values()
    slope = grad / (1 + (X @ w + b) ** 2)
    np.testing.assert_allclose(ours.grads(ctx), np.concatenate([(X.T @ slope).ravel(), slope.sum(0)]), rtol=1e-4)


def test_a_function_of_a_model_is_trained_through_its_body() -> None:
    """Rounding has no slope: nothing before it learns."""
    with pytest.raises(NotDifferentiable, match="does not depend on"):
        trained(network(ROUNDED, **weights()))


@pytest.mark.parametrize("op", ["Quantised", "Rounded"])
def test_the_rule_of_a_function_takes_the_place_of_its_bodys(others: Gradients, op: str) -> None:
    """The outer function by its own rule, or by the rule of what its body calls: both are straight through."""
    others.add(op, here("straight_through"), domain="other.ops")
    model = network(ROUNDED, **weights())
    ours, ctx = GraphModel(GraphModel.Config(model.SerializeToString())), FakeContext()
    prediction = ours.forward(ctx, X)
    w, b = weights().values()
    np.testing.assert_array_equal(prediction, np.round((X @ w + b) / np.float32(0.5)) * np.float32(0.5))
    _, grad = ours.loss_grad(ctx, prediction, Y)
    ours.backward(ctx, grad)
    np.testing.assert_allclose(ours.grads(ctx), np.concatenate([(X.T @ grad).ravel(), grad.sum(0)]), rtol=1e-5)


def test_what_is_trained_is_exported_with_its_functions(others: Gradients, tmp_path: Any) -> None:
    others.add("Quantised", here("straight_through"), domain="other.ops")
    ours = trained(network(ROUNDED, **weights()))
    ours.export(str(tmp_path / "out.onnx"))
    written = onnx.load(tmp_path / "out.onnx")
    assert [f.name for f in written.functions] == ["Quantised", "Rounded"]
    onnx.checker.check_model(written, full_check=True)
    onnxruntime = pytest.importorskip("onnxruntime")
    (theirs,) = onnxruntime.InferenceSession(written.SerializeToString()).run(None, {"batch": X})
    ours.set_mode(FakeContext(), mode="eval")
    np.testing.assert_allclose(ours.forward(FakeContext(), X), theirs, rtol=1e-6)


def test_a_call_of_nothing_is_refused_with_what_is_missing(others: Gradients) -> None:
    model = network(ROUNDED, **weights())
    del model.functions[:]
    with pytest.raises(NotDifferentiable, match="neither ONNX's nor a function of the model"):
        trained(model)
    others.add("Quantised", here("straight_through"), domain="other.ops")
    with pytest.raises(NotDifferentiable, match="add a function Quantised of the domain"):
        trained(model)


def test_a_rule_that_gives_too_many_is_named(others: Gradients) -> None:
    others.add("Atan", here("too_many"))
    with pytest.raises(NotDifferentiable, match="rule of Atan gives 3 gradients") as caught:
        trained(network(BENT, **weights()))
    assert "too_many" in str(caught.value)


def test_a_target_that_is_no_rule_is_refused(others: Gradients) -> None:
    others.add("Atan", here("NO_RULE"))
    with pytest.raises(PluginLoadError, match="which is none"):
        trained(network(BENT, **weights()))
    with pytest.raises(InvalidConcrete, match="module:function"):
        others.add("Acos", "acos")


def test_two_rules_of_one_op_are_refused_with_both_owners(others: Gradients) -> None:
    with pytest.raises(DuplicateRegistration, match="'MatMul' is registered twice") as caught:
        others.add("MatMul", here("atan"))
    assert "bytesandbrains" in str(caught.value)
    assert "bb-other 1.0" in str(caught.value)


def test_backends_are_given_no_marks(others: Gradients) -> None:
    """Marks are for the walk alone: what Backends are given is plain ONNX."""
    from bb_plugins.training.calls import mark_of
    from bb_plugins.training.trainable import Trainable

    others.add("Quantised", here("straight_through"), domain="other.ops")
    trainable = Trainable(network(ROUNDED, **weights()))
    graphs = [trainable.predicts(), trainable.learns("cross_entropy")[0], trainable.flows_back()[0]]
    for graph in graphs:
        assert not any(mark_of(n) or n.domain for n in graph.node)
        onnx.checker.check_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
