"""Finds the declaration of any op that is not standard ONNX: the framework's, the Roles', Protocols' and plugins'."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from bb_core import keys
from bb_core.errors import DuplicateRegistration, InvalidConcrete, InvalidOp
from bb_core.ops.framework import FRAMEWORK_OPS
from bb_core.ops.spec import OpSpec
from bb_core.roles import ROLES
from bb_core.roles.contract import Role, declares_role, specs_of
from bb_core.roles.protocol import protocol_of

_declared: Final[dict[tuple[str, str], tuple[OpSpec, str]]] = {}
"""Ops of plugins and of this process, with who declares each."""
_role_owners: Final[dict[str, str]] = {}
"""Who has added each Role beside the eight."""


@cache
def op_table() -> dict[tuple[str, str], OpSpec]:
    """The framework's and the Roles' ops by (domain, name)."""
    role_ops = [spec for role in ROLES.values() for spec in specs_of(role).values()]
    return {spec.key: spec for spec in (*FRAMEWORK_OPS, *role_ops)}


def declare_role(role: type[Role], owner: str = "this process") -> None:
    """Add a Role beside the eight; its ops are found, and its Concretes can be bound, from now on.

    Raises:
        InvalidConcrete: it declares no Role, or one without ops, or under a name that is no word in small letters.
        DuplicateRegistration: another has the name.
    """
    name = role.role
    if not declares_role(role) or re.fullmatch(r"[a-z][a-z0-9_]*", name) is None:
        raise InvalidConcrete(
            f"{role.__name__} declares no Role that could be added: its name is {name!r}",
            expected='a subclass of bb.roles.Role with `role = "acme_scheduler"`, beginning with your own name',
        )
    if not specs_of(role):
        raise InvalidConcrete(f"the Role {name!r} has no op", hint="mark its methods: @bb.roles.op('Next')")
    known = ROLES.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (role.__module__, role.__qualname__):
        first = _role_owners.get(name, "bytesandbrains")
        raise DuplicateRegistration(f"the Role {name!r} is registered twice", where=f"{first} and {owner}")
    if known is not role:
        ROLES[name] = role
        _role_owners[name] = owner
        op_table.cache_clear()


def find_spec(domain: str, name: str) -> OpSpec | None:
    """Return the declaration of an op, or None."""
    found = op_table().get((domain, name))
    if found is not None or not domain:
        return found
    if (domain, name) in _declared:
        return _declared[domain, name][0]
    contract = protocol_of(domain)
    if contract is None:
        return None
    return next((s for s in specs_of(contract).values() if s.name == name), None)


def declare_op(spec: OpSpec, owner: str = "this process") -> OpSpec:
    """Add an op in a domain of one's own, and return it.

    Raises:
        InvalidOp: the domain is the framework's or ONNX's, or nothing runs the op.
        DuplicateRegistration: another declares it.
    """
    check_op(spec)
    known = _declared.get(spec.key)
    if known is not None and known[0] != spec:
        raise DuplicateRegistration(
            f"the op {spec.name!r} of {spec.domain!r} is declared twice", where=f"{known[1]} and {owner}"
        )
    _declared[spec.key] = (spec, owner)
    return spec


def check_op(spec: OpSpec) -> None:
    """Refuse a declaration that no program could use."""
    where = f"{spec.domain}: {spec.name}"
    if not spec.domain or spec.domain.startswith((keys.PREFIX, "ai.onnx")):
        raise InvalidOp(
            f"the op {spec.name!r} is declared in the domain {spec.domain!r}",
            where=where,
            expected="a domain of your own, such as 'acme.ops'",
        )
    if ":" not in spec.call:
        raise InvalidOp(
            f"the op {spec.name!r} names nothing that runs it", where=where, expected='call="module:function"'
        )
    names = [p.name for p in spec.inputs] + [a.name for a in spec.attributes] + [s.name for s in spec.slots]
    for name in sorted({n for n in names if names.count(n) > 1}):
        raise InvalidOp(f"the op {spec.name!r} has two ports or attributes {name!r}", where=where)


def declared_in(domain: str) -> list[OpSpec]:
    """The ops that plugins or this process declare in a domain, in order of name."""
    return [spec for key, (spec, _) in sorted(_declared.items()) if key[0] == domain]


def declared_domains() -> list[str]:
    """The domains in which plugins or this process declare ops."""
    return sorted({domain for domain, _ in _declared})


def owner_of(domain: str, name: str) -> str:
    """Who declares an op that is not the framework's; empty for those."""
    found = _declared.get((domain, name))
    return "" if found is None else found[1]
