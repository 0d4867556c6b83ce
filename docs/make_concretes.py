"""Makes `docs/reference/concretes.md`: every first-party Concrete, from its class."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES

ROOT = Path(__file__).resolve().parent.parent


def concretes_page() -> str:
    """Make the page."""
    lines = [
        "# Concretes",
        "",
        "What fills a slot, of the parts that come with this package; made from their classes. Each is bound by its",
        'stable name, as in `{"aggregator": bb.use("bytesandbrains.TrimmedMean", trim=0.2)}`. `bb roles ROLE` lists',
        "those of other installed packages too, and the [toolkit](toolkit.md) has the ops of each Role.",
    ]
    plugins = installed_plugins()
    for role in ROLES.values():
        entries = sorted(
            (e for e in plugins.registry if e.role == role.role and e.target.startswith("bb_plugins.")),
            key=lambda e: e.name,
        )
        if entries:
            lines += ["", f"## {role.__name__}"]
        for entry in entries:
            lines += _concrete(entry.name, plugins.resolve(entry.name))
    return "\n".join(lines) + "\n"


def _concrete(name: str, cls: Any) -> list[str]:
    text = inspect.cleandoc(cls.__doc__ or "")
    text = re.sub(r"\n*Shape:\n((?:    .*\n?)+)", lambda m: "\n\n*Shape*: " + " ".join(m[1].split()), text)
    source = Path(inspect.getfile(cls)).resolve().relative_to(ROOT).as_posix()
    lines = ["", f"### {cls.__name__}", "", f"`{name}`, in [`{source}`](../../{source})", "", text]
    config = vars(cls).get("Config") or getattr(cls, "Config", None)
    fields = dataclasses.fields(config) if config is not None and dataclasses.is_dataclass(config) else ()
    if fields:
        docs = _field_docs(config)
        lines += ["", "| option | default | |", "|---|---|---|"]
        for field in fields:
            lines.append(f"| `{field.name}` | {_default(field)} | {docs.get(field.name, '')} |")
    return lines


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "*none*" if field.default_factory is dataclasses.MISSING else f"`{field.default_factory()!r}`"


def _field_docs(config: Any) -> dict[str, str]:
    """Read the strings below the fields of a configuration and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__[:-1]):
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        for match in re.finditer(r'^\s+(\w+): [^\n]*\n\s+"""(.*?)"""', source, re.MULTILINE | re.DOTALL):
            found[match[1]] = " ".join(match[2].split()).replace("|", "\\|")
    return found
