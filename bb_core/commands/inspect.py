"""`bb inspect`: a program as text, as a picture, after any pass, and compared with another."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bb_core.commands.compile import Bind, Late, Set
from bb_core.errors import ProtocolWarning, UsageError, did_you_mean

if TYPE_CHECKING:
    import onnx

    from bb_core.commands.loading import Loaded
    from bb_core.compiler.driver import Observation

_LAST = "stamp_compilation_metadata"


def inspect_program(
    what: Annotated[str, typer.Argument(help="A .onnx file, app.py:Module, or package.module:Module.")],
    after: Annotated[str, typer.Option("--after", help="Show it as it is after this pass, or after `build`.")] = _LAST,
    bind: Bind = [],  # noqa: B006  # typer's way of a repeatable option
    options: Set = [],  # noqa: B006
    late: Late = [],  # noqa: B006
    ops: Annotated[bool, typer.Option("--ops/--no-ops", help="List every op.")] = True,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the protocol into this file.")] = None,
    dot: Annotated[Path | None, typer.Option("--dot", help="Write Graphviz text into this file.")] = None,
    diff: Annotated[str | None, typer.Option("--diff", help="Say what differs in this other program.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at a program: what runs where, what crosses between peers, what fills the slots.

    Slots that nothing binds are left late, so that a program can be looked at without any Concrete. With --diff the
    status is 1 when the two differ.
    """
    from bb_core.commands.loading import load
    from bb_core.inspection import differences, read_program, tell, to_dot, to_svg

    program = read_program(_at(load(what), after, bind, options, late))
    if diff is not None:
        lines = differences(program, read_program(_at(load(diff), after, bind, options, late)))
        typer.echo(json.dumps(lines, indent=1) if as_json else "\n".join(lines) or "no difference")
        raise typer.Exit(1 if lines else 0)
    for path, text in ((svg, to_svg), (dot, to_dot)):
        if path is not None:
            path.write_text(text(program), encoding="utf-8")
            typer.echo(f"wrote {path}", err=True)
    if as_json:
        typer.echo(json.dumps(program.as_data(), indent=1, default=str))
    elif svg is None and dot is None:
        typer.echo(tell(program, ops=ops))


def _at(loaded: Loaded, after: str, bind: list[str], options: list[str], late: list[str]) -> onnx.ModelProto:
    """Compile as far as a pass; an artefact is shown as it is."""
    import onnx

    from bb_core.commands.loading import compiler_for
    from bb_core.compiler.passes import PASSES

    names = ["build", *(p.name for p in PASSES)]
    if after not in names:
        raise UsageError(f"--after {after}: there is no such pass", hint=did_you_mean(after, names))
    if loaded.is_compiled:
        if after != _LAST:
            raise UsageError(
                f"--after {after}: an artefact holds only the end of its compilation",
                hint="inspect the Module or the built model: bb inspect app.py:Module --after ...",
            )
        assert isinstance(loaded.program, onnx.ModelProto)
        return loaded.program
    compiler = compiler_for(loaded, bind, options)
    bound = {text.partition("=")[0] for text in bind} | set(loaded.bindings)
    found = onnx.ModelProto()

    def keep(seen: Observation) -> None:
        if seen.name == after:
            found.CopyFrom(seen.model)
            raise _Enough

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProtocolWarning)
        with suppress(_Enough):
            compiler.compile(loaded.program, late={*late, *(s for s in loaded.slots if s not in bound)}, observe=keep)
    return found


class _Enough(Exception):  # stops a compilation that has gone as far as it is wanted
    pass
