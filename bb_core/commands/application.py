"""`bb` as a typer application whose commands may be named first and imported when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer

from bb_core.errors import PluginLoadError


class Application(typer.Typer):
    """What the hook `bb_register_commands` is given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._later: dict[str, str] = {}

    def later(self, name: str, target: str) -> None:
        """Name a command, or a group of them, that is imported when it is asked for, or when help lists all.

        Args:
            name: What is typed.
            target: Where it stands, as `"module:attribute"`: a function, or a typer application for a group.
        """
        self._later[name] = target

    @property
    def names(self) -> Iterator[str]:
        """The commands and groups, imported or not."""
        for command in self.registered_commands:
            yield str(command.name or getattr(command.callback, "__name__", ""))
        for group in self.registered_groups:
            own = group.typer_instance.info.name if group.typer_instance is not None else ""
            yield group.name if isinstance(group.name, str) else str(own)
        yield from self._later

    def load(self, wanted: str | None = None) -> list[PluginLoadError]:
        """Import what was named: one command when it is there, otherwise all.

        Returns:
            Why some are missing, when all were asked for.

        Raises:
            PluginLoadError: the one that is wanted cannot be imported.
        """
        if wanted in self._later:
            self._add(wanted, self._later[wanted])
            self._later.clear()
            return []
        missing = []
        for name, target in () if wanted in {*self.names} else self._later.items():
            try:
                self._add(name, target)
            except PluginLoadError as error:
                missing.append(error)
        self._later.clear()
        return missing

    def _add(self, name: str, target: str) -> None:
        module, _, attribute = target.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except Exception as error:  # a plugin may raise anything
            raise PluginLoadError(
                f"the command {name!r} cannot be imported from {target}: {type(error).__name__}: {error}",
                hint="bb doctor looks at the installation",
            ) from error
        if isinstance(found, typer.Typer):
            self.add_typer(found, name=name)
        else:
            self.command(name)(found)
