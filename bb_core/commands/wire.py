"""`bb wire`: what crosses the network, looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from bb_core.commands.loading import load, read_bytes
from bb_core.errors import EnvelopeError, LoadError

if TYPE_CHECKING:
    from bb_core.inspection.envelopes import Names, Part

wire = typer.Typer(name="wire", help="Look at what crosses the network.", no_args_is_help=True)


@wire.callback()
def _wire() -> None:  # a group that stays one while it has a single command
    pass


@wire.command("decode")
def decode_envelope(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The bytes of one Envelope; - reads standard input.")],
    artefact: Annotated[
        str | None, typer.Option("--artefact", help="The program (.onnx), to name sites and slots by.")
    ] = None,
    is_hex: Annotated[
        bool, typer.Option("--hex", help="The bytes are hexadecimal digits; white space and # comments do not count.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an Envelope field by field: where each begins, what it holds, and what is wrong with it.

    An Envelope that a Node would refuse is shown as far as it can be read, and ends with the error and status 2. The
    status is 1 when the Envelope is legal and an address or a payload in it is not.
    """
    from bb_core.inspection.envelopes import read_envelope
    from bb_core.wire.codec import decode

    raw = sys.stdin.buffer.read() if file == "-" else read_bytes(Path(file))
    data = _from_hex(raw) if is_hex else raw
    parts = read_envelope(data, _names(artefact))
    refused = None
    try:
        decode(data)
    except EnvelopeError as error:
        refused = error
    if as_json:
        typer.echo(json.dumps(_as_data(data, parts, refused), indent=1))
    else:
        _show(data, parts)
    if refused is not None:
        raise refused
    if any(part.errors for part in parts):
        raise typer.Exit(1)


def _from_hex(text: bytes) -> bytes:
    lines = text.decode("ascii", "replace").splitlines()
    digits = "".join("".join(line.partition("#")[0].split()) for line in lines)
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise LoadError(
            f"this is not hexadecimal: {error}", expected="an even number of the digits 0-9 and a-f"
        ) from error


def _names(artefact: str | None) -> Names:
    """Find the names in an artefact; without one, only what is the same on every Node has a name."""
    import onnx

    from bb_core.engine.backpressure import NOTICE_SITE
    from bb_core.inspection import read_program
    from bb_core.inspection.envelopes import Names
    from bb_core.wire.chunks import RECEIPT_SITE, RECEIPT_WANTED_SITE

    known = Names()
    if artefact is not None:
        loaded = load(artefact)
        if not isinstance(loaded.program, onnx.ModelProto) or not loaded.is_compiled:
            raise LoadError(f"{artefact} is not compiled", hint=f"bb compile {artefact} makes an artefact of it")
        known = Names.of(read_program(loaded.program))
    everywhere: dict[int, str] = {
        NOTICE_SITE: "a notice of backpressure",
        RECEIPT_SITE: "a receipt",
        RECEIPT_WANTED_SITE: "asks for a receipt",
    }
    return Names({**known.sites, **everywhere}, known.components)


# --- shown ------------------------------------------------------------------------------------------------------------


def _show(data: bytes, parts: tuple[Part, ...]) -> None:
    out = Console(highlight=False)
    out.print(Text(f"Envelope of {len(data)} bytes"))
    for line in _lines(parts, 0, len(str(len(data)))):
        out.print(line, soft_wrap=True)


def _lines(parts: tuple[Part, ...], depth: int, width: int) -> Iterator[Text]:
    for part in parts:
        place = "" if part.at is None else str(part.at)
        text = f"{part.text} [{part.error}]" if part.error else part.text
        yield Text.assemble(
            (f"{place:>{width + 2}}  " + "  " * depth, "dim"),
            (f"{part.name}  " if part.name else "", "cyan"),
            (text, "bold red" if part.error else ""),
        )
        yield from _lines(part.parts, depth + 1, width)


def _as_data(data: bytes, parts: tuple[Part, ...], refused: EnvelopeError | None) -> dict[str, Any]:
    error = None
    if refused is not None:
        error = {
            "code": refused.code,
            "name": type(refused).__name__,
            "message": refused.message,
            "where": refused.where,
            "expected": refused.expected,
        }
    return {"bytes": len(data), "fields": [_part(part) for part in parts], "error": error}


def _part(part: Part) -> dict[str, Any]:
    place = {} if part.at is None else {"at": part.at, "end": part.end}
    found: dict[str, Any] = {**place, "name": part.name, "text": part.text}
    if part.parts:
        found["fields"] = [_part(inner) for inner in part.parts]
    if part.error:
        found["error"] = part.error
    return found
