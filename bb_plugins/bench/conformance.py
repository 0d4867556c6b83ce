"""`bb conformance`: whether a Backend does what ONNX says, by ONNX's own node tests."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bb_core.errors import UnknownConcrete, UsageError, did_you_mean
from bb_core.plugins import installed_plugins
from bb_core.roles import Backend


def conformance(
    backend: Annotated[str, typer.Option(help="Stable name of the Backend.")] = "bytesandbrains.CpuBackend",
    op: Annotated[str, typer.Option(help="Run the tests of this op only.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run ONNX's node tests against a Backend, and tell passed, applicable and all of them. Fails if one does."""
    found = run_conformance(backend, op)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print(found)
    if found["passed"] < found["applicable"]:
        raise typer.Exit(1)


def run_conformance(name: str, op: str = "") -> dict[str, Any]:
    """Run the node tests and return their table.

    Args:
        name: Stable name of a registered Backend, which is made with the configuration that it has by itself.
        op: Run the tests of this op only.

    Raises:
        UsageError: there is no Backend of that name, or no test is about the op.
    """
    import onnx

    from bb_plugins.bench import node_tests

    plugins = installed_plugins()
    backends = sorted(e.name for e in plugins.registry if e.role == Backend.role)
    try:
        concrete = plugins.resolve(name)
    except UnknownConcrete as error:
        raise UsageError(f"there is no Backend {name!r}", hint=did_you_mean(name, backends)) from error
    if not issubclass(concrete, Backend):
        raise UsageError(f"{name} is no Backend", expected=f"one of: {', '.join(backends)}")
    chosen = node_tests.cases()
    if op:
        known = {c.op for c in chosen if not c.body}
        if op not in known:
            raise UsageError(f"no node test is about {op!r}", hint=did_you_mean(op, known))
        chosen = tuple(c for c in chosen if c.op == op and not c.body)
    rows = list(node_tests.run(concrete(concrete.Config()), chosen))
    return {
        "backend": name,
        "onnx": onnx.__version__,
        "passed": sum(r.passed for r in rows),
        "applicable": sum(r.applicable for r in rows),
        "total": sum(r.total for r in rows),
        "ops": [r.as_dict() for r in sorted(rows, key=lambda r: r.op)],
    }


def _print(found: dict[str, Any]) -> None:
    console = Console()
    table = Table(
        title=f"{found['backend']}: {found['passed']} of {found['applicable']} applicable node tests passed, "
        f"of {found['total']} in onnx {found['onnx']}",
        title_justify="left",
    )
    table.add_column("op")
    for column in ("passed", "applicable", "all"):
        table.add_column(column, justify="right")
    for row in found["ops"]:
        table.add_row(row["op"], str(row["passed"]), str(row["applicable"]), str(row["total"]))
    console.print(table)
    for row in found["ops"]:
        for test, why in row["failures"].items():
            console.print(f"failed {test}: {why}", markup=False, highlight=False, soft_wrap=True)
    for why, count in Counter(why for row in found["ops"] for why in row["skipped"].values()).most_common():
        console.print(f"skipped {count}: {why}", markup=False, highlight=False, soft_wrap=True)
