"""ONNX's own backend node tests, run against any Backend by the contract of its Role alone.

A test is a model of one op, or of the body of one, with inputs and the outputs that are due. Those of which a Backend
has every op are applicable, and all of them must pass.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bb_core.roles import Backend

if TYPE_CHECKING:
    import onnx
    from onnx import defs

DRAWN: Final = frozenset({"Bernoulli", "RandomUniformLike"})
"""Ops whose outputs are drawn: type and shape are compared, and no element."""


@dataclass(frozen=True, slots=True)
class Case:
    """One node test.

    Attributes:
        op: What it is a test of.
        body: It has the op's body, as the schema writes it, in place of the op.
    """

    name: str
    op: str
    body: bool
    model: onnx.ModelProto
    data: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float


@dataclass(slots=True)
class Row:
    """What the tests of one op have shown. `failures` and `skipped` tell why, by name of the test."""

    op: str
    total: int = 0
    passed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def applicable(self) -> int:
        """Tests that were run."""
        return self.total - len(self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self) | {"applicable": self.applicable}


@cache
def cases() -> tuple[Case, ...]:
    """Return all node tests of the installed onnx package; making them takes it some seconds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    return tuple(_case(c) for c in found)


def _case(test: Any) -> Case:
    body = "_expanded" in test.name
    ops = [qualified(n.domain, n.op_type) for n in test.model.graph.node]
    op = test.name.partition("_expanded")[0].removeprefix("test_") if body else ops[-1]
    data = [tuple([_plain(v) for v in half] for half in pair) for pair in test.data_sets]
    return Case(test.name, op, body, test.model, data, test.rtol, test.atol)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    import onnx
    from onnx import numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def qualified(domain: str, op: str) -> str:
    """Name an op as `Backend.ops` does: those of ONNX's own domain by their name alone."""
    return f"{domain}.{op}" if domain else op


def run(backend: Backend, some: Iterable[Case]) -> Iterator[Row]:
    """Run tests, and give a row for each op."""
    rows: dict[str, Row] = {}
    for case in some:
        title = "bodies of functions" if case.body else case.op
        row = rows.setdefault(title, Row(title))
        row.total += 1
        why = reason_to_skip(backend, case.model)
        if why:
            row.skipped[case.name] = why
            continue
        error = failure(backend, case)
        if error:
            row.failures[case.name] = error
        else:
            row.passed += 1
    return iter(rows.values())


def failure(backend: Backend, case: Case) -> str:
    """Run one test; return what is wrong, or nothing."""
    from bb_plugins.backends.cpu.graph import Model, of_backend

    try:
        model = Model(case.model, of_backend(backend))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for inputs, due in case.data:
                why = difference(case, due, model.run([_frozen(v) for v in inputs]))
                if why:
                    return why
    except Exception as error:  # a kernel may raise anything
        return f"{type(error).__name__}: {str(error).strip()}"
    return ""


def difference(case: Case, due: Sequence[Any], found: Sequence[Any]) -> str:
    """Compare outputs with those that are due; return what differs, or nothing."""
    compare = _same_form if any(n.op_type in DRAWN for n in case.model.graph.node) else _same
    try:
        for i, (a, b) in enumerate(zip(due, found, strict=True)):
            compare(a, b, case, f"output {i}")
    except Exception as error:  # a value may be of any kind
        return f"{type(error).__name__}: {str(error).strip()}"
    return ""


def _frozen(value: Any) -> Any:
    """Return an input that a kernel cannot write to."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return [_frozen(v) for v in value] if isinstance(value, list) else value


def _same_form(due: Any, found: Any, case: Case, where: str) -> None:
    assert type(found) is type(due), f"{where} is a {type(found).__name__}, expected a {type(due).__name__}"
    if isinstance(due, np.ndarray):
        textual = due.dtype.kind in "OU" and found.dtype.kind in "OU"
        assert textual or found.dtype == due.dtype, f"{where} has {found.dtype}, expected {due.dtype}"
        assert found.shape == due.shape, f"{where} has shape {found.shape}, expected {due.shape}"


def _same(due: Any, found: Any, case: Case, where: str) -> None:
    """Compare as ONNX's runner does, and sequences of scalars too, which it cannot."""
    if isinstance(due, np.generic):
        due = np.asarray(due)
    _same_form(due, found, case, where)
    if isinstance(due, list):
        assert len(due) == len(found), f"{where} has {len(found)} elements, expected {len(due)}"
        for i, (a, b) in enumerate(zip(due, found, strict=True)):
            _same(a, b, case, f"{where}[{i}]")
    elif isinstance(due, np.ndarray) and due.dtype.kind in "OU":
        np.testing.assert_array_equal(found, due, where)
    elif isinstance(due, np.ndarray):
        rtol = max(case.rtol, 2.0**-6) if due.dtype.name == "bfloat16" else case.rtol
        if due.dtype.kind not in "fciub":  # numpy compares ml_dtypes' types only when they are wide
            due, found = due.astype(np.float32), found.astype(np.float32)
        np.testing.assert_allclose(found, due, rtol, case.atol, err_msg=where)


def reason_to_skip(backend: Backend, model: onnx.ModelProto) -> str:
    """Say why a model cannot be asked of a Backend: it lacks an op, or knows only another form of it."""
    from bb_plugins.backends.cpu.graph import opsets_of

    opsets, local = opsets_of(model.opset_import), {(f.domain, f.name) for f in model.functions}
    for domain, op in sorted(set(_ops(model.graph.node)) - local):
        name = qualified(domain, op)
        if name not in backend.ops | {"Constant"}:
            return f"it has no {name}"
        if not domain and not _known_form(backend, op, opsets[""]):
            return f"{op} has another form in opset {opsets['']}"
    return ""


def _ops(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        yield node.domain, node.op_type
        for attribute in node.attribute:
            yield from _ops(attribute.g.node)


def _known_form(backend: Backend, op: str, opset: int) -> bool:
    nearest = min(max(opset, backend.opsets[0]), backend.opsets[-1])
    return nearest == opset or _form(op, nearest) == _form(op, opset)


@cache
def _form(op: str, opset: int) -> Any:
    """Return all of a schema that a kernel can tell apart, beside the types of elements."""
    from onnx import defs

    try:
        schema = defs.get_schema(op, opset)
    except defs.SchemaError:
        return None
    return (
        tuple((p.name, p.option) for p in schema.inputs),
        tuple((p.name, p.option) for p in schema.outputs),
        tuple((n, a.required, a.default_value.SerializeToString()) for n, a in sorted(_attributes(schema).items())),
    )


def _attributes(schema: defs.OpSchema) -> Mapping[str, defs.OpSchema.Attribute]:
    return schema.attributes
