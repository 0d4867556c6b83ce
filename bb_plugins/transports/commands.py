"""`bb certs`: the certificates of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

certs = typer.Typer(name="certs", help="Make the certificates by which Nodes prove to each other who they are.")

_FOLDER = Annotated[Path, typer.Option("--dir", help="Where the authority's files are.")]


@certs.command("init")
def init(
    folder: _FOLDER = Path("certs"),
    days: Annotated[int, typer.Option(help="How long the authority is good.")] = 3650,
) -> None:
    """Make an authority. Keep its key apart: who has it can make members."""
    from bb_plugins.transports.certificates import make_authority

    path = make_authority(folder, days)
    typer.echo(f"{path} goes to every Node; {path.with_suffix('.key')} to none")


@certs.command("issue")
def issue_one(
    name: Annotated[str, typer.Argument(help="What the Node's files are called.")],
    folder: _FOLDER = Path("certs"),
    days: Annotated[int, typer.Option(help="How long the certificate is good.")] = 365,
) -> None:
    """Make a key and a certificate for one Node, and print its peer id."""
    from bb_plugins.transports.certificates import issue

    typer.echo(str(issue(folder, name, days)))
