"""`bb replay`: a recording is run again, and every Step compared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bb_core.commands.loading import load_node, read_bytes
from bb_core.errors import UsageError

if TYPE_CHECKING:
    from bb_core.node.replaying import Replay


def replay_recording(
    log: Annotated[Path, typer.Argument(help="What Node.record has written.")],
    what: Annotated[
        str,
        typer.Argument(help="The artefact (.onnx); or app.py:make_node, a function that installs the Node as it was."),
    ],
    until: Annotated[int | None, typer.Option("--until", help="Stop after this many Steps.")] = None,
    break_at: Annotated[
        str | None,
        typer.Option("--break", help="Stop before this op: Op, slot.Op, its name in the function, or file:line."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a recording again and verify every Step. Ends with status 1 and names the op when one differs."""
    from bb_core.node.recording import first_snapshot
    from bb_core.node.replaying import replay
    from bb_core.node.snapshots import header

    if until is not None and until < 1:
        raise UsageError(f"--until {until}", expected="a number of Steps, 1 or more")
    data = read_bytes(log)
    found = replay(data, load_node(what, header(first_snapshot(data))), until=until, break_at=break_at)
    if as_json:
        typer.echo(json.dumps(_as_data(found), indent=1))
    else:
        _tell(found, break_at)
    if found.divergence is not None:
        raise typer.Exit(1)


def _as_data(found: Replay) -> dict[str, object]:
    divergence = None
    if found.divergence is not None:
        divergence = asdict(found.divergence)
    return {
        "steps": found.steps,
        "polls": found.polls,
        "divergence": divergence,
        "stopped": None if found.stopped is None else asdict(found.stopped),
        "waiting": [str(w) for w in found.waiting],
    }


def _tell(found: Replay, break_at: str | None) -> None:
    out = Console(highlight=False)

    def line(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    if found.divergence is not None:
        line(f"{found.steps} Steps in {found.polls} polls are as recorded; then")
        line(str(found.divergence))
        return
    line(f"{found.steps} Steps in {found.polls} polls are as recorded")
    if found.stopped is not None:
        line(f"stopped before {found.stopped.name} of {found.stopped.target}, Frame {found.stopped.exec_id}, given")
        for value in found.inputs:
            line(f"  {_brief(value)}")
    elif break_at is not None:
        line(f"no op {break_at!r} has run")
    for waiting in found.waiting:
        line(f"  {waiting}")


def _brief(value: object) -> str:
    shape = getattr(value, "shape", None)
    text = repr(value)
    if shape is not None:
        text = f"{getattr(value, 'dtype', '')}{list(shape)} {' '.join(text.split())}"
    return text if len(text) <= 200 else text[:197] + "..."
