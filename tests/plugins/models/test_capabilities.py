"""What Models say they can do, and the compiler's refusal of programs that ask for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bb_core as bb
from bb_core.errors import CompileError, MissingCapability
from bb_plugins.models.architectures import mlp
from bb_plugins.models.torch_model import TorchModel

SGD = bb.use("bytesandbrains.SklearnModel", estimator="sklearn.linear_model:SGDClassifier", features=4, classes=3)
FUNCTIONS = {name: f"tests.plugins.models.logistic:{name}" for name in ("init", "train")}
FUNCTION = bb.use("bytesandbrains.FunctionModel", **FUNCTIONS)
GRAPH = bb.use("bytesandbrains.GraphModel", graph=mlp(4, 8, 3))


class Recording(bb.Module):
    """Whatever a test records on a Model."""

    model = bb.ModelSlot()

    def __init__(self, record: Callable[[Any, bb.Graph], Any], kind: Any = bb.f32) -> None:
        self.record, self.kind = record, kind

    def body(self, g: bb.Graph) -> None:
        g.output("out", self.record(self.model, _Given(g, self.kind)))


class _Given:
    """The graph, with an input that is declared when it is asked for."""

    def __init__(self, g: bb.Graph, kind: Any) -> None:
        self.g, self.kind = g, kind

    @property
    def x(self) -> bb.Output:
        return self.g.input("x", self.kind)


def compiled(record: Callable[[Any, Any], Any], model: Any, kind: Any = bb.f32, strict: bool = False) -> Any:
    compiler = bb.Compiler().bind(
        {"model": model, **({"compute": "bytesandbrains.CpuBackend"} if model is GRAPH else {})}
    )
    return (compiler.with_determinism() if strict else compiler).compile(Recording(record, kind))


def refused(record: Callable[[Any, Any], Any], model: Any, kind: Any = bb.f32, strict: bool = False) -> str:
    with pytest.raises(CompileError) as caught:
        compiled(record, model, kind, strict)
    assert isinstance(caught.value, MissingCapability)
    assert "test_capabilities.py" in str(caught.value)  # the author's line
    return str(caught.value)


@pytest.mark.parametrize("model", [SGD, FUNCTION], ids=["sklearn", "functions"])
@pytest.mark.parametrize("op", ["backward", "backward_through"])
def test_backward_on_a_model_without_gradients_does_not_compile(model: Any, op: str) -> None:
    assert f"does not implement {op}" in refused(lambda m, given: getattr(m, op)(given.g, given.x), model)


class Declaring(TorchModel):
    """All methods are there; what it can do is what it says."""

    @classmethod
    def capabilities(cls, config: Any) -> bb.roles.Capabilities:
        return bb.roles.Capabilities(can_backward=False, can_delta=False, deterministic=False, dtypes=(bb.f32, bb.f16))


Declaring.__bb_name__ = "tests.Declaring"
DECLARING = bb.use(Declaring)


@pytest.mark.parametrize(
    ("record", "kind", "says"),
    [
        (lambda m, given: m.backward(given.g, given.x), bb.f32, "can_backward is False"),
        (lambda m, given: m.step(given.g, after=given.x), bb.f32, "can_backward is False"),
        (lambda m, given: m.apply_delta(given.g, given.x), bb.f32, "can_delta is False"),
        (lambda m, given: m.forward(given.g, given.x), bb.f64, "takes f32 or f16 as 'batch', and is given f64"),
    ],
)
def test_flags_refuse_what_a_class_has_methods_for(record: Any, kind: Any, says: str) -> None:
    assert says in refused(record, DECLARING, kind)


def test_flags_let_through_what_is_not_spoken_of() -> None:
    compiled(lambda m, given: m.forward(given.g, given.x), DECLARING, bb.f16)
    compiled(lambda m, given: m.forward(given.g, given.x), DECLARING, bb.types.TENSOR)
    compiled(lambda m, given: m.forward(given.g, given.x), DECLARING, bb.i64)  # indices into an embedding


def test_a_program_that_must_be_repeatable_refuses_a_model_that_is_not() -> None:
    def forward(m: Any, given: Any) -> Any:
        return m.forward(given.g, given.x)

    assert "may give other bytes" in refused(forward, DECLARING, strict=True)
    cuda = bb.use("bytesandbrains.TorchModel", module="tests.plugins.models.nets:Net", device="cuda")
    assert "may give other bytes" in refused(forward, cuda, strict=True)  # compiled where no such device is
    compiled(forward, bb.use("bytesandbrains.TorchModel", module="tests.plugins.models.nets:Net"), strict=True)
    compiled(forward, GRAPH, strict=True)


def test_a_missing_function_is_named_before_anything_runs() -> None:
    assert "no function 'predict'" in refused(lambda m, given: m.forward(given.g, given.x), FUNCTION)


def test_float64_is_refused_where_float32_is_what_a_model_takes() -> None:
    said = refused(lambda m, given: m.forward(given.g, given.x), GRAPH, bb.f64["b", 4])
    assert "it takes f32 as 'batch', and is given f64[b, 4]" in said
