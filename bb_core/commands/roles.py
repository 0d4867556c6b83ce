"""`bb roles`: what each Role can be asked for, what a Concrete of it declares, and which Concretes there are."""

from __future__ import annotations

import dataclasses
import inspect
import json
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
from rich.console import Console

from bb_core.errors import UsageError, did_you_mean
from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES
from bb_core.roles.contract import Role, specs_of


def list_roles(
    role: Annotated[str, typer.Argument(help="One Role, with what its ops do; without it all.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the Roles: their ops, the traits that the conformance kit asks for, and the Concretes that are installed."""
    installed_plugins()
    if role and role not in ROLES:
        raise UsageError(f"there is no Role {role!r}", hint=did_you_mean(role, ROLES))
    found = [describe(r) for name, r in ROLES.items() if role in ("", name)]
    if as_json:
        typer.echo(json.dumps({"roles": found}, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for each in found:
        _print(console, each, in_full=bool(role))


def describe(role: type[Role]) -> dict[str, Any]:
    """Say what there is to say of a Role."""
    specs = specs_of(role)
    return {
        "role": role.role,
        "class": role.__name__,
        "says": _first(role.__doc__),
        "ops": [{"op": s.name, "method": m, "signature": s.signature(), "doc": s.doc} for m, s in specs.items()],
        "traits": _traits(role),
        "concretes": [{"name": e.name, "owner": e.owner} for e in installed_plugins().registry if e.role == role.role],
    }


def _traits(role: type[Role]) -> list[dict[str, str]]:
    from bb_core.testing.kit import checks_module

    traits = getattr(checks_module(role), "TRAITS", None)
    if traits is None:
        return []
    common = {f.name for f in dataclasses.fields(import_module("bb_core.testing.traits").Traits)}
    docs = _field_docs(traits)
    return [
        {"trait": f.name, "default": _default(f), "doc": docs.get(f.name, "")}
        for f in dataclasses.fields(traits)
        if f.name not in common
    ]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return "a function" if callable(field.default) else repr(field.default)
    return "empty" if field.default_factory is not dataclasses.MISSING else "required"


def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field, as the source has it."""
    import ast

    try:
        tree = ast.parse(inspect.getsource(cls))
    except (OSError, SyntaxError, IndentationError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, doc in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(doc.value.value).split())
    return found


def _first(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").partition("\n")[0]


def _print(console: Console, role: dict[str, Any], *, in_full: bool) -> None:
    console.print(f"[bold]{role['role']}[/bold]  {role['says']}")
    for op in role["ops"]:
        console.print(f"  op        {op['signature']}", markup=False)
        if in_full:
            console.print(f"            {_first(op['doc'])}", markup=False)
    for trait in role["traits"]:
        doc = f"  {trait['doc']}" if in_full else ""
        console.print(f"  trait     {trait['trait']} = {trait['default']}{doc}", markup=False)
    for concrete in role["concretes"]:
        console.print(f"  concrete  {concrete['name']}  from {concrete['owner']}", markup=False)
    if not role["concretes"]:
        console.print("  concrete  none is installed", markup=False)
    console.print()
