"""Finds plugins by entry point and asks each what it registers.

Plugins load in order of (distribution, entry point). Each fills a registry of its own, which is taken over whole or not
at all, so that a plugin that fails half-way leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

from bb_core import hooks
from bb_core.errors import PluginLoadError, UsageError
from bb_core.ops.table import check_op, declare_op, declare_role
from bb_core.registry import Gradients, Ops, Recipes, Registry, RoleEntry, Roles, Stages, Suites, Transports, Types
from bb_core.roles.contract import Role


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One row of `bb plugins`.

    Attributes:
        error: Empty when it is loaded; otherwise why it is not.
        is_blocked: It was left out because somebody asked for it, which is no fault.
        adds: What it registers: the names by kind, such as `concretes`.
    """

    name: str
    distribution: str
    version: str
    target: str
    error: str = ""
    is_blocked: bool = False
    adds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
    roles: dict[str, RoleEntry] = field(default_factory=dict)
    transports: Transports = field(default_factory=Transports)
    gradients: Gradients = field(default_factory=Gradients)
    recipes: Recipes = field(default_factory=Recipes)
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


_blocked: Final[set[str]] = set()


def block(*names: str) -> None:
    """Leave plugins out of this process: entry points or whole distributions, by name. Call it before anything else.

    `BB_DISABLE_PLUGINS=a,b` does the same from outside.

    Raises:
        UsageError: the plugins are loaded already.
    """
    if installed_plugins.cache_info().currsize:
        raise UsageError("the plugins are loaded already", hint="block before the first compile, install or run")
    _blocked.update(names)


def asked_to_disable() -> set[str]:
    """The names in `BB_DISABLE_PLUGINS`."""
    return {name.strip() for name in os.environ.get("BB_DISABLE_PLUGINS", "").split(",") if name.strip()}


@cache
def installed_plugins() -> Plugins:
    """Load the installed plugins, once in a process, but those that `BB_DISABLE_PLUGINS=a,b` or `block` leave out."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    found = Plugins(manager)
    for entry_point in sorted(entry_points(group=hooks.PROJECT), key=_order):
        found.statuses.append(_load(found, entry_point))
    return found


def _order(entry_point: EntryPoint) -> tuple[str, str]:
    return (entry_point.dist.name if entry_point.dist else "", entry_point.name)


def _load(found: Plugins, entry_point: EntryPoint) -> PluginStatus:
    distribution = entry_point.dist.name if entry_point.dist else "unknown"
    version = entry_point.dist.version if entry_point.dist else "0"
    status = PluginStatus(entry_point.name, distribution, version, entry_point.value)
    for names, by in ((asked_to_disable(), "disabled by BB_DISABLE_PLUGINS"), (_blocked, "blocked by this program")):
        if names & {status.name, distribution}:
            return replace(status, error=by, is_blocked=True)
    try:
        return replace(status, adds=_register(found, entry_point.load(), status))
    except Exception as raised:  # a plugin may raise anything, and must stop no one but itself
        return replace(status, error=f"{type(raised).__name__}: {raised}")


def _check_version(plugin: Any, status: PluginStatus) -> None:
    wanted = getattr(plugin, "bb_api_version", hooks.API_VERSION)
    if wanted != hooks.API_VERSION:
        raise PluginLoadError(
            f"{status.title} is for version {wanted} of the hooks; this is version {hooks.API_VERSION}",
            hint=f"install a release of {status.distribution} that fits, or another of bytesandbrains",
        )


def _register(found: Plugins, plugin: Any, status: PluginStatus) -> dict[str, tuple[str, ...]]:
    """Ask a plugin what it registers, and take all of it over, or nothing. Returns the names, by kind."""
    _check_version(plugin, status)
    manager = found.manager
    manager.register(plugin, name=f"{status.distribution}:{status.name}")
    others = [p for p in manager.get_plugins() if p is not plugin]
    registry, suites = Registry(owner=status.title), Suites(owner=status.title)
    ops, roles = Ops(owner=status.title), Roles(owner=status.title)
    stages, types = Stages(owner=status.title), Types(owner=status.title)
    transports, gradients = Transports(owner=status.title), Gradients(owner=status.title)
    recipes = Recipes(owner=status.title)
    try:
        manager.check_pending()
        manager.subset_hook_caller("bb_register_concretes", others)(registry=registry)
        manager.subset_hook_caller("bb_register_roles", others)(roles=roles)
        manager.subset_hook_caller("bb_register_suites", others)(suites=suites)
        manager.subset_hook_caller("bb_register_stages", others)(stages=stages)
        manager.subset_hook_caller("bb_register_ops", others)(ops=ops)
        manager.subset_hook_caller("bb_register_types", others)(types=types)
        manager.subset_hook_caller("bb_register_transports", others)(transports=transports)
        manager.subset_hook_caller("bb_register_gradients", others)(gradients=gradients)
        manager.subset_hook_caller("bb_register_recipes", others)(recipes=recipes)
        for name in suites.modules:
            if name in found.suites.modules:
                found.suites.add(name, suites.modules[name])  # raises, naming the suite
        for spec in ops.specs:
            check_op(spec)
        found.transports.check(transports)
        found.gradients.check(gradients)
        found.recipes.check(recipes)
        for added in roles.entries:
            declare_role(added.role, status.title)
        types.apply()
        for spec in ops.specs:
            declare_op(spec, status.title)
        found.stages.take(stages)
        found.registry.take(registry)
        found.transports.take(transports)
        found.gradients.take(gradients)
        found.recipes.take(recipes)
    except Exception:
        manager.unregister(plugin)
        raise
    found.suites.modules.update(suites.modules)
    found.roles.update({added.role.role: added for added in roles.entries})
    adds = {
        "roles": [added.role.role for added in roles.entries],
        "concretes": [e.name for e in registry],
        "ops": [f"{spec.domain}.{spec.name}" for spec in ops.specs],
        "types": [e.name for e in types.entries],
        "stages": [e.name for e in stages],
        "suites": sorted(suites.modules),
        "gradients": [e.name for e in gradients],
        "recipes": [e.name for e in recipes],
    }
    return {kind: tuple(names) for kind, names in adds.items() if names}
