"""Finds plugins by entry point and asks each what it registers.

Plugins load in order of (distribution, entry point). Each fills a registry of its own, which is taken over whole or not
at all, so that a plugin that fails half-way leaves nothing behind.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from bb_core import hooks
from bb_core.ops.table import check_op, declare_op
from bb_core.registry import Ops, Registry, Stages, Suites, Types
from bb_core.roles.contract import Role


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One row of `bb plugins`.

    Attributes:
        error: Empty when it is loaded; otherwise why it is not.
    """

    name: str
    distribution: str
    version: str
    target: str
    error: str = ""

    @property
    def title(self) -> str:
        """Name it as `distribution version (entry point)`."""
        return f"{self.distribution} {self.version} ({self.name})"


@dataclass(slots=True)
class Plugins:
    """All that the installed plugins have registered."""

    manager: pluggy.PluginManager
    registry: Registry = field(default_factory=Registry)
    suites: Suites = field(default_factory=Suites)
    stages: Stages = field(default_factory=Stages)
    statuses: list[PluginStatus] = field(default_factory=list)

    def resolve(self, name: str) -> type[Role]:
        """Import and return the Concrete of a name; the error of an unknown one quotes plugins that failed."""
        return self.registry.resolve(name, {s.title: s.error for s in self.statuses if s.error})

    def add_commands(self, app: Any) -> list[tuple[str, str]]:
        """Let every plugin add its commands to `bb`. Returns (plugin, why) of those that raised; the others count."""
        failed = []
        plugins = self.manager.get_plugins()
        for plugin in sorted(plugins, key=lambda p: str(self.manager.get_name(p))):
            try:
                self.manager.subset_hook_caller("bb_register_commands", plugins - {plugin})(app=app)
            except Exception as error:  # a plugin may raise anything, and must stop no one but itself
                failed.append((str(self.manager.get_name(plugin)), f"{type(error).__name__}: {error}"))
        return failed

    def distribution_of(self, name: str) -> str:
        """Return `distribution version` of the plugin that registers a Concrete; empty for one of this process."""
        entry = self.registry.find(name)
        return "" if entry is None else entry.owner.partition(" (")[0]


@cache
def installed_plugins() -> Plugins:
    """Load the installed plugins, once in a process. `BB_DISABLE_PLUGINS=a,b` leaves entry points out by name."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    found = Plugins(manager)
    disabled = {name.strip() for name in os.environ.get("BB_DISABLE_PLUGINS", "").split(",") if name.strip()}
    for entry_point in sorted(entry_points(group=hooks.PROJECT), key=_order):
        _load(found, entry_point, entry_point.name in disabled)
    return found


def _order(entry_point: EntryPoint) -> tuple[str, str]:
    return (entry_point.dist.name if entry_point.dist else "", entry_point.name)


def _load(found: Plugins, entry_point: EntryPoint, disabled: bool) -> None:
    distribution = entry_point.dist.name if entry_point.dist else "unknown"
    version = entry_point.dist.version if entry_point.dist else "0"
    status = PluginStatus(entry_point.name, distribution, version, entry_point.value)
    error = "disabled by BB_DISABLE_PLUGINS" if disabled else ""
    if not disabled:
        try:
            _register(found, entry_point.load(), status)
        except Exception as raised:  # a plugin may raise anything, and must stop no one but itself
            error = f"{type(raised).__name__}: {raised}"
    found.statuses.append(PluginStatus(status.name, distribution, version, status.target, error))


def _register(found: Plugins, plugin: Any, status: PluginStatus) -> None:
    manager = found.manager
    manager.register(plugin, name=f"{status.distribution}:{status.name}")
    others = [p for p in manager.get_plugins() if p is not plugin]
    registry, suites = Registry(owner=status.title), Suites(owner=status.title)
    ops = Ops(owner=status.title)
    stages, types = Stages(owner=status.title), Types(owner=status.title)
    try:
        manager.check_pending()
        manager.subset_hook_caller("bb_register_concretes", others)(registry=registry)
        manager.subset_hook_caller("bb_register_suites", others)(suites=suites)
        manager.subset_hook_caller("bb_register_stages", others)(stages=stages)
        manager.subset_hook_caller("bb_register_ops", others)(ops=ops)
        manager.subset_hook_caller("bb_register_types", others)(types=types)
        for name in suites.modules:
            if name in found.suites.modules:
                found.suites.add(name, suites.modules[name])  # raises, naming the suite
        for spec in ops.specs:
            check_op(spec)
        types.apply()
        for spec in ops.specs:
            declare_op(spec, status.title)
        found.stages.take(stages)
        found.registry.take(registry)
    except Exception:
        manager.unregister(plugin)
        raise
    found.suites.modules.update(suites.modules)
