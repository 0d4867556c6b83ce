"""`bb new`: writes a package that installs, passes its tests and runs without an edit."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bb_core.errors import UsageError, did_you_mean

new = typer.Typer(name="new", help="Write a package to start from.", no_args_is_help=True)

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_WRITTEN = ("backend", "model", "index", "aggregator", "codec", "data_source", "peer_selector", "protocol")
_TAKEN = {"bb", "bb_core", "bb_plugins", "bytesandbrains", "bench", "test", "tests"}

Into = Annotated[Path, typer.Option("--into", help="Folder in which the package's own is made.")]


@new.command("plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as bb-trimmed.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(_WRITTEN)}.")],
    into: Into = Path(),
) -> None:
    """Write a plugin with one Concrete: entry point, conformance test, a test of its own, benchmark."""
    from bb_core.commands.scaffold.packages import plugin_files, short

    package = package_of(name)
    wanted = role.replace("-", "_").lower()
    if wanted not in _WRITTEN:
        raise UsageError(f"there is no Role {role!r} to start from", hint=did_you_mean(role, _WRITTEN))
    folder = _write(into / name, plugin_files(name, package, wanted))
    _tell(folder, 'pip install -e ".[test]"', "bb plugins", "python -m pytest", f"bb bench {short(package)}")


@new.command("app")
def new_app(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as my-study.")],
    into: Into = Path(),
) -> None:
    """Write a program: a Module, what fills its slots, a run in one process, tests."""
    from bb_core.commands.scaffold.packages import app_files

    package = package_of(name)
    folder = _write(into / name, app_files(name, package))
    _tell(folder, 'pip install -e ".[test]"', f"python -m {package}", "python -m pytest")


def package_of(name: str) -> str:
    """Return the import package of a distribution, `bb-trimmed` -> `bb_trimmed`.

    Raises:
        UsageError: the name is none, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a package",
            expected="small letters, digits and single dashes, beginning with a letter: bb-trimmed",
        )
    package = name.replace("-", "_")
    if package in _TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package):
        raise UsageError(f"the name {name!r} is taken", hint=f"call it bb-{name.removeprefix('bb-')}s, or what it does")
    return package


def _write(folder: Path, files: dict[str, str]) -> Path:
    """Write files into a folder that is not there yet."""
    if folder.exists():
        raise UsageError(f"{str(folder)!r} is there already", hint="nothing was written; choose another name or --into")
    if not folder.parent.is_dir():
        raise UsageError(f"there is no folder {str(folder.parent)!r}", hint="make it first, or choose another --into")
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def _tell(folder: Path, *commands: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"wrote {folder}", markup=False)
    console.print("next:", markup=False)
    for command in (f"cd {folder}", *commands):
        console.print(f"  {command}", markup=False)
