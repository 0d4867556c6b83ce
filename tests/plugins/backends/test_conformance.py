"""CpuBackend against ONNX's own node tests, and the networks that the onnx package has with their outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from bb_plugins.backends.cpu.backend import CpuBackend
from bb_plugins.backends.cpu.graph import Model
from bb_plugins.backends.cpu.plans.planned import Planned
from bb_plugins.backends.cpu.table import NEWEST, OLDEST, OPS
from bb_plugins.bench import node_tests
from bb_plugins.bench.node_tests import Case

UNCOVERED = {
    "ImageDecoder": "it would need an image library",
}
"""ONNX's own ops without a kernel. This may only shrink."""

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = sorted(p.stem for p in LIGHT.glob("*.onnx"))
LARGE = {"light_vgg19"}


@pytest.fixture(scope="session")
def cases() -> dict[str, list[Case]]:
    by_op = defaultdict(list)
    for case in node_tests.cases():
        by_op[case.op].append(case)
        if case.body:
            by_op["bodies"].append(case)
    return by_op


def failures(some: Sequence[Case]) -> dict[str, str]:
    backend = CpuBackend(CpuBackend.Config())
    found = {}
    for case in some:
        assert not node_tests.reason_to_skip(backend, case.model), case.name
        why = node_tests.failure(backend, case)
        if why:
            found[case.name] = why
    return found


@pytest.mark.parametrize("op", [*sorted(CpuBackend.ops), "bodies"])
def test_an_op_passes_all_node_tests_of_onnx(op: str, cases: dict[str, list[Case]]) -> None:
    assert failures(cases[op]) == {}


def test_hardly_a_node_test_is_left_out(cases: dict[str, list[Case]]) -> None:
    ours = sum(len(v) for op, v in cases.items() if op in CpuBackend.ops)
    total = sum(not c.body for c in node_tests.cases())
    assert ours >= min(1387, total)


def test_every_op_of_onnx_has_a_kernel_or_a_reason() -> None:
    every = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    assert every - CpuBackend.ops == set(UNCOVERED)
    assert CpuBackend.ops >= {name for domain, name in OPS if not domain}


def versions() -> dict[tuple[str, str], set[int]]:
    found = defaultdict(set)
    for schema in onnx.defs.get_all_schemas_with_history():
        found[schema.domain, schema.name].add(schema.since_version)
    return found


def test_rows_begin_at_opsets_in_which_onnx_changed_the_op() -> None:
    known = versions()
    assert {key: sorted(set(row) - known[key]) for key, row in OPS.items() if set(row) - known[key]} == {}


def test_every_form_of_an_op_since_opset_13_has_a_kernel() -> None:
    known = versions()
    assert {key: min(row) for key, row in OPS.items() if min(row) > max(min(known[key]), 13)} == {}
    assert OLDEST < 13
    assert min(onnx.defs.onnx_opset_version(), 28) == NEWEST


class ForOnnx(Backend):
    """CpuBackend as ONNX's own runner wants a backend."""

    class Rep(BackendRep):
        def __init__(self, model: Model) -> None:
            self.model = model

        def run(self, inputs, **kwargs):
            return tuple(self.model.run(inputs))

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return cls.Rep(Model(model))

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the runner's own, when it makes its cases and when it compares bfloat16
def test_onnxs_own_runner_agrees() -> None:
    """All but what draws, image files, classical models, and one that the runner itself cannot compare."""
    runner = BackendTest(ForOnnx, __name__)
    runner.include(r"^test_.*_cpu$")
    for left_out in ("bernoulli", "image_decoder", "ai_onnx_ml", "loop16_seq_none"):
        runner.exclude(f"test_{left_out}.*")
    (tests,) = (c for c in runner.test_cases.values() if c.__name__ == "OnnxBackendNodeModelTest")
    count = 0
    for name in dir(tests):
        if name.startswith("test_") and not getattr(getattr(tests, name), "__unittest_skip__", False):
            getattr(tests(name), name)()
            count += 1
    assert count > 1800


@pytest.mark.parametrize("kind", ["simple", "pytorch-converted", "pytorch-operator"])
def test_models_of_old_opsets_give_the_outputs_that_are_stored_with_them(kind: str) -> None:
    for test in load_model_tests(kind=kind):
        if "gradient" in test.name:
            continue  # Gradient is no op but a transformation
        model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
        sets = test.data_sets or [
            (stored(folder, "input"), stored(folder, "output"))
            for folder in Path(test.model_dir).glob("test_data_set_*")
        ]
        for inputs, due in sets:
            Runner.assert_similar_outputs(due, Model(model).run(inputs), test.rtol, test.atol, test.name)


def stored(folder: Path, half: str) -> list[np.ndarray]:
    files = [folder / f"{half}_{i}.pb" for i in range(len(list(folder.glob(f"{half}_*.pb"))))]
    return [numpy_helper.to_array(onnx.TensorProto.FromString(f.read_bytes())) for f in files]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in NETWORKS])
def test_a_network_gives_the_output_that_is_stored_with_it(name: str) -> None:
    proto = onnx.load(LIGHT / f"{name}.onnx")
    due = numpy_helper.to_array(onnx.TensorProto.FromString((LIGHT / f"{name}_output_0.pb").read_bytes()))
    if name == "light_squeezenet":
        # Its logits are near 1e10, so a Softmax tells their last bits: that all are equal is told without it.
        assert proto.graph.node.pop().op_type == "Softmax"
        proto.graph.output[0].name = proto.graph.node[-1].output[0]
    model = Model(proto)
    (entry,) = (v for v in proto.graph.input if v.name == model.inputs[0])
    (found,) = model.run([Runner.generate_dummy_data(entry)])
    if name == "light_squeezenet":
        found = found / found.mean() / found.size
    np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_plans_pass_all_node_tests_of_onnx_too() -> None:
    """Twice each: a plan's second run finds memory that its first has left."""
    backend, found = CpuBackend(CpuBackend.Config()), {}
    planned = 0
    for case in node_tests.cases():
        if node_tests.reason_to_skip(backend, case.model):
            continue
        model = Model(case.model)
        run = Planned(model.graph)
        for inputs, due in case.data:
            given = [*inputs, *[None] * (len(model.inputs) - len(inputs))]
            for _ in range(2):
                why = node_tests.difference(case, due, run(*given))
                if why:
                    found[case.name] = why
        planned += bool(run.plans)
    assert found == {}
    assert planned > 500
