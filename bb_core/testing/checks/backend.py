"""What is asked of a Backend: each of its ops against ONNX's reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_core.errors import BBError
from bb_core.testing.checks import Check, checks, expect
from bb_core.testing.kernels import Case, cases, kernel_of, oracle
from bb_core.testing.subject import Call, Skip, Subject, Tour
from bb_core.testing.traits import BackendTraits
from bb_core.testing.values import short

TRAITS = BackendTraits


def _call(op: str, case: Case) -> Call:
    def run(instance: Any, ctx: Any, *inputs: Any) -> Any:
        return kernel_of(instance, op, case.attributes)(*inputs)

    return Call(op, case.inputs, run=run)


def tour(subject: Subject) -> Tour:
    """Call each op once."""
    for op in sorted(subject.cls.ops):  # type: ignore[attr-defined]  # it is a Backend
        for case in cases(op, ("float32",), subject.random())[:1]:
            yield _call(op, case)


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """Ops that it does not have."""

    def kernel(instance: Any, ctx: Any) -> Any:
        return instance.kernel("NoSuchOp", {})

    def primitive(instance: Any, ctx: Any) -> Any:
        return instance.primitive("no_such_primitive")

    found = [("an op that it does not have", Call("kernel", run=kernel))]
    if "primitive" in {n for c in subject.cls.__mro__ for n in vars(c) if c.__module__ != "bb_core.roles.backend"}:
        found.append(("a primitive that it does not have", Call("primitive", run=primitive)))
    return found


def unknown_ops_are_refused(subject: Subject) -> None:
    """An op that it does not have is refused when it is asked for, not when it would run."""
    try:
        subject.make().kernel("NoSuchOp", {})
    except Exception:  # which error is another check's question
        return
    expect(False, "kernel('NoSuchOp', {}) is answered")


def kernel_checks(subject: Subject) -> tuple[Check, ...]:
    """Make a check for each op: it agrees with ONNX's reference on a table of shapes, element types and attributes."""
    ops = sorted(getattr(subject.cls, "ops", ()))
    return tuple(Check(f"kernel_{op}", _kernel_check(op)) for op in ops)


def _kernel_check(op: str) -> Any:
    def check(subject: Subject) -> None:
        table = cases(op, subject.traits.dtypes, subject.random(len(op)))
        if not table:
            raise Skip(f"the kit's table has no cases of {op}")
        instance = subject.make()
        for case in table:
            _agrees(subject, instance, op, case)

    check.__doc__ = f"{op} agrees with ONNX's reference implementation."
    return check


def _agrees(subject: Subject, instance: Any, op: str, case: Case) -> None:
    try:
        wanted = oracle(op, case)
    except Exception:  # the reference has gaps of its own, such as scalars
        return
    inputs = tuple(v.copy() if isinstance(v, np.ndarray) else v for v in case.inputs)
    for value in inputs:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    try:
        found = kernel_of(instance, op, case.attributes)(*inputs)
    except Exception as error:  # a kernel may raise anything
        kind = type(error).__name__
        expect(False, f"{op}{case} raises {kind}: {error.message if isinstance(error, BBError) else error}")
    outputs = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(outputs, wanted, strict=False):
        got, target = np.asarray(ours), np.asarray(theirs)
        alike = (got.dtype, got.shape) == (target.dtype, target.shape)
        expect(alike, f"{op}{case} gives {got.dtype}{list(got.shape)}; expected {target.dtype}{list(target.shape)}")
        expect(_near(got, target, subject.traits.tolerance), f"{op}{case} gives {short(got)}; expected {short(target)}")


def _near(got: Any, wanted: Any, tolerance: float) -> bool:
    if not np.issubdtype(wanted.dtype, np.floating):
        return bool(np.array_equal(got, wanted))
    wide = {"float16": 1e3, "bfloat16": 1e4}.get(wanted.dtype.name, 1.0)
    return bool(np.allclose(got, wanted, rtol=tolerance * wide, atol=tolerance * wide, equal_nan=True))


CHECKS = checks(unknown_ops_are_refused)
