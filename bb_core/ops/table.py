"""Finds the declaration of any op that is not standard ONNX."""

from __future__ import annotations

from functools import cache

from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.ops.spec import OpSpec
from bb_core.roles import ROLES
from bb_core.roles.contract import specs_of


@cache
def op_table() -> dict[tuple[str, str], OpSpec]:
    """All declared ops by (domain, name)."""
    role_ops = [spec for role in ROLES.values() for spec in specs_of(role).values()]
    return {spec.key: spec for spec in (*FRAMEWORK_OPS, *role_ops)}


def find_spec(domain: str, name: str) -> OpSpec | None:
    """Return the declaration of an op, or None."""
    return op_table().get((domain, name))
