"""Which files a new package has."""

from __future__ import annotations

from importlib import import_module
from string import Template

from bb_core.commands.scaffold import app, plugin
from bb_core.commands.scaffold.sketch import Sketch
from bb_core.roles import ROLES
from bb_core.version import __version__


def plugin_files(name: str, package: str, role: str) -> dict[str, str]:
    """Return the files of a plugin with a Concrete of one of the eight Roles, by path."""
    sketch: Sketch = import_module(f"bb_core.commands.scaffold.sketches.{role}").SKETCH
    names = _names(name, package) | {
        "role": role,
        "Role": ROLES[role].__name__,
        "says": sketch.says,
        "traits": sketch.traits,
        "module": sketch.module,
    }
    own = {
        f"$package/{sketch.module}.py": sketch.code,
        "$package/bench.py": sketch.bench,
        f"tests/test_{sketch.module}.py": sketch.test,
    }
    return _filled({**plugin.FILES, **own}, names)


def app_files(name: str, package: str) -> dict[str, str]:
    """Return the files of a program of one's own, by path."""
    return _filled(app.FILES, _names(name, package))


def short(package: str) -> str:
    """Return what a package calls itself among plugins: `bb_trimmed` -> `trimmed`."""
    return package.removeprefix("bb_") or package


def _names(name: str, package: str) -> dict[str, str]:
    title = "".join(part.capitalize() for part in short(package).split("_"))
    return {"name": name, "package": package, "version": __version__, "short": short(package), "Class": title}


def _filled(files: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    return {Template(p).substitute(names): Template(text.lstrip("\n")).substitute(names) for p, text in files.items()}
