"""The conformance kit: holds a Concrete to the promises of its Role.

    from bb_core.testing import parametrize_checks
    from bb_trimmed import TrimmedMean

    @parametrize_checks(TrimmedMean)
    def test_conformance(check):
        check()

Which checks there are follows from the Role's declaration and from what the Concrete declares of itself (`traits`),
never from its name. A check that cannot hold is named in `expected_failures`, with the reason; when it holds after all,
that is a failure too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import Any, Literal

import numpy as np

from bb_core.errors import InvalidConcrete, NotConforming, UsageError, did_you_mean
from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES
from bb_core.roles.contract import Role, roles_of
from bb_core.testing.checks import Check, Failed
from bb_core.testing.checks.common import COMMON
from bb_core.testing.subject import Skip, Subject, factory
from bb_core.testing.traits import Traits

Status = Literal["passed", "failed", "skipped", "xfailed"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check came to.

    Attributes:
        name: `role-check`, such as `aggregator-order_of_arrival_does_not_matter`.
        status: `xfailed` for a failure that was expected.
        promise: What is promised, in a sentence.
        reason: Why it was skipped, or was expected to fail; what does not hold when it failed.
        error: What was raised, when it failed or was expected to.
        seconds: How long it took.
    """

    name: str
    role: str
    status: Status
    promise: str
    reason: str = ""
    error: BaseException | None = None
    seconds: float = 0.0


class BoundCheck:
    """One check of one Concrete; call it in a test."""

    def __init__(self, check: Check, subject: Subject, role: str, expected: str | None) -> None:
        self._check = check
        self._subject = subject
        self.role = role
        self.name = f"{role}-{check.name}"
        self.promise = check.promise
        self.expected = expected
        """Why it is expected to fail; None when it is not."""

    def __repr__(self) -> str:
        return self.name

    def result(self) -> CheckResult:
        """Run it, and say what came of it; nothing is raised but KeyboardInterrupt and the like."""
        began = perf_counter()
        status, reason, error = self._run()
        if self.expected is not None and status != "skipped":
            if status == "failed":
                status, reason = "xfailed", self.expected
            else:
                status, reason = "failed", f"it was expected to fail ({self.expected}), and holds: strike it out"
                error = Failed(reason)
        return CheckResult(self.name, self.role, status, self.promise, reason, error, perf_counter() - began)

    def _run(self) -> tuple[Status, str, BaseException | None]:
        try:
            with _own_global_generators():
                if self._check.tours and self._subject.broken:
                    return "skipped", "its ops do not run: see ops_run", None
                self._check.run(self._subject)
        except Skip as skip:
            return "skipped", str(skip), None
        except Failed as failed:
            return "failed", str(failed), failed
        except Exception as error:  # a Concrete may raise anything
            return "failed", f"{type(error).__name__}: {error}", error
        return "passed", "", None

    def __call__(self) -> None:
        """Run it in a test of pytest: skips, fails, or is an expected failure."""
        import pytest

        found = self.result()
        if found.status == "skipped":
            pytest.skip(found.reason)
        if found.status == "xfailed":
            pytest.xfail(found.reason)
        if found.status == "failed":
            raise NotConforming(
                f"{self._subject.title} breaks a promise of its Role: {found.reason}",
                expected=self.promise,
                check=self.name,
            ) from found.error


@contextmanager
def _own_global_generators() -> Iterator[None]:
    """Leave the process's generators as they were: checks seed them, and a Concrete may draw from them."""
    import random

    plain, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(numpy)


def checks_of(
    make: Any,
    *,
    traits: Traits | Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[BoundCheck]:
    """Return the checks of a Concrete, those of each of its Roles, to be run one by one.

    Args:
        make: What makes one: its class, its stable name, `bb.use(...)`, or a function without arguments.
        traits: What it declares of itself: the Role's traits, or a dict of those that differ from the defaults.
        expected_failures: By check, with or without the Role before it, the reason why it cannot hold.

    Raises:
        UsageError: a trait or check of that name does not exist, or a reason is empty.
        InvalidConcrete: what is made has no Role.
    """
    cls = type(factory(make)())
    roles = roles_of(cls)
    if not roles:
        raise InvalidConcrete(f"{cls.__name__} has no Role among its bases", expected="a subclass of one of bb.roles")
    expected = dict(expected_failures or {})
    found = [bound for role in roles for bound in _of_role(make, role, traits, expected, len(roles) > 1)]
    known = {name for bound in found for name in (bound.name, bound.name.partition("-")[2])}
    for name, reason in expected.items():
        if name not in known:
            raise UsageError(f"expected_failures names the check {name!r}", hint=did_you_mean(name, known))
        if not reason.strip():
            raise UsageError(f"the check {name!r} is expected to fail without a reason", expected="a sentence")
    return found


def _of_role(make: Any, role: type[Role], traits: Any, expected: Mapping[str, str], several: bool) -> list[BoundCheck]:
    module = checks_module(role)
    subject = Subject(make, role, _traits(traits, getattr(module, "TRAITS", Traits), several))
    subject.plan(getattr(module, "tour", None), getattr(module, "bad_calls", None))
    made = getattr(module, "kernel_checks", None)
    own: tuple[Check, ...] = (*getattr(module, "CHECKS", ()), *(made(subject) if made else ()))
    return [
        BoundCheck(c, subject, role.role, expected.get(f"{role.role}-{c.name}", expected.get(c.name)))
        for c in (*COMMON, *own)
    ]


def checks_module(role: type[Role]) -> Any:
    """Return the module of a Role's checks; None for a Role that has none of its own.

    Raises:
        InvalidConcrete: nobody has registered the Role.
    """
    if ROLES.get(role.role) is not role:
        raise InvalidConcrete(f"nobody has registered the Role {role.__name__}", hint="bb_register_roles does")
    added = installed_plugins().roles.get(role.role)
    if added is not None:
        return import_module(added.checks) if added.checks else None
    return import_module(f"bb_core.testing.checks.{role.role}") if role.__module__.startswith("bb_core.") else None


def _traits(given: Any, cls: type[Traits], several: bool) -> Traits:
    if isinstance(given, Traits):
        if not isinstance(given, cls) and not several and type(given) is not Traits:
            raise UsageError(f"the traits are {type(given).__name__}", expected=cls.__name__)
        return given if isinstance(given, cls) else cls()
    legal = list(getattr(cls, "__dataclass_fields__"))  # noqa: B009  # mypy knows no such attribute of a type
    fields = dict(given or {})
    for name in fields:
        if name not in legal and not several:
            raise UsageError(f"{cls.__name__} has no trait {name!r}", hint=did_you_mean(name, legal))
    return cls(**{name: value for name, value in fields.items() if name in legal})


def check_concrete(
    make: Any,
    *,
    traits: Traits | Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    raises: bool = True,
) -> list[CheckResult]:
    """Run all checks of a Concrete, and return what each came to. Needs no pytest.

    Args:
        make: See `checks_of`, as for the next two.
        traits: What it declares of itself.
        expected_failures: Reasons by check.
        raises: Raise when a check fails, with a report of all that do.

    Raises:
        NotConforming: a check fails, or holds although it was expected to fail.
    """
    bound = checks_of(make, traits=traits, expected_failures=expected_failures)
    results = [check.result() for check in bound]
    failed = [r for r in results if r.status == "failed"]
    if failed and raises:
        title = type(factory(make)()).__name__
        raise NotConforming(
            f"{title} breaks {len(failed)} of {len(results)} promises\n\n{report(failed)}",
            hint='a check that cannot hold: expected_failures={"its name": "the reason"}',
            failed=[r.name for r in failed],
        ) from failed[0].error
    return results


def report(results: list[CheckResult]) -> str:
    """Write results as text, one block for each."""
    blocks = []
    for r in results:
        reason = "\n".join(f"    {line}" for line in r.reason.splitlines())
        blocks.append(f"  {r.status} {r.name}\n    promised: {r.promise}\n{reason}")
    return "\n".join(blocks)


def parametrize_checks(
    make: Any,
    *,
    traits: Traits | Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a test of pytest that takes `check`: it becomes one test for each check of a Concrete.

    Raises:
        MissingExtra: pytest is not installed.
    """
    try:
        import pytest
    except ImportError as missing:
        from bb_core.errors import MissingExtra

        raise MissingExtra("parametrize_checks needs pytest", hint='pip install "bytesandbrains[test]"') from missing
    bound = checks_of(make, traits=traits, expected_failures=expected_failures)
    return pytest.mark.parametrize("check", bound, ids=[b.name for b in bound])
