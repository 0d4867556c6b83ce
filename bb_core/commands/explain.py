"""`bb explain`: what the Node of a snapshot waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bb_core.commands.loading import read_bytes


def explain_snapshot(
    file: Annotated[Path, typer.Argument(help="What Node.snapshot returned.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell what the Node of a snapshot waits for: which op, for whom, until when, and where in your source."""
    from bb_core.node.snapshots import header

    found = header(read_bytes(file))
    if as_json:
        told = {
            "peer": found.peer,
            "targets": list(found.targets),
            "now_ns": found.now,
            "release": found.release,
            "digest": found.digest,
            "is_increment": bool(found.base),
            "waiting": list(found.waiting),
        }
        typer.echo(json.dumps(told, indent=1))
        return
    out = Console(highlight=False)
    kind = "an increment" if found.base else "whole"
    out.print(f"{', '.join(found.targets)} on peer {found.peer}, at {found.now} ns", markup=False, soft_wrap=True)
    out.print(f"{kind}, by release {found.release}, of artefact {found.digest[:16]}", markup=False, soft_wrap=True)
    for line in found.waiting or ("nothing is waited for",):
        out.print(f"  {line}", markup=False, soft_wrap=True)
